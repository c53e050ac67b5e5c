"""Headless Chromium, driven over the DevTools protocol: what a person with this browser would see and do."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --disable-dev-shm-usage --remote-debugging-port=0"
)
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40, "ArrowUp": 38}
_SECONDS = 30.0


class Page:
    """A tab: what it is told to do, what it shows, and what has gone wrong in it.

    ``errors`` are exceptions and messages of the console, ``requests`` the addresses that it has asked for.
    """

    def __init__(self, socket: ClientConnection) -> None:
        """Take the connection to the tab."""
        self._socket = socket
        self._ids = count(1)
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=_SECONDS))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def open(self, url: str) -> None:
        """Go to an address, as a new visit: a change behind the # alone would load nothing."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression, or the promise that it is, comes to."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true, and return what it comes to."""
        until = time.monotonic() + _SECONDS
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < until, f"{expression} did not become true: {self.text()[:2_000]}"
            time.sleep(0.05)
        return value

    def wait_for_tab(self, prefix: str) -> str:
        """Wait until another tab shows an address that begins so, close it, and return the address."""
        until = time.monotonic() + _SECONDS
        while True:
            targets = self.call("Target.getTargets")["targetInfos"]
            found = [target for target in targets if target["url"].startswith(prefix)]
            if found:
                self.call("Target.closeTarget", targetId=found[0]["targetId"])
                return str(found[0]["url"])
            assert time.monotonic() < until, [target["url"] for target in targets]
            time.sleep(0.05)

    def text(self, selector: str = "body") -> str:
        """Return the text that an element shows."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def focused(self) -> str:
        """Return the id of the element that has the focus, or its name."""
        return str(self.evaluate("document.activeElement.id || document.activeElement.tagName"))

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key."""
        code = _KEYS[key]
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code={" ": "Space"}.get(key, key),
                windowsVirtualKeyCode=code,
                modifiers=8 if shift else 0,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def write(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", text=text)

    def choose(self, selector: str, value: str) -> None:
        """Set a field to a value, as a person who picks it does."""
        self.evaluate(
            f"{{const field = document.querySelector({json.dumps(selector)}); field.value = {json.dumps(value)};"
            "field.dispatchEvent(new Event('change', {bubbles: true}))}"
        )

    def resize(self, width: int, height: int = 900, scale: float = 1) -> None:
        """Give the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def prefer(self, *, dark: bool) -> None:
        """Let the system prefer dark colours, or light ones."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Keep a picture of the page, whole or as much as the window shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(parameters["url"])


@contextmanager
def open_browser(folder: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile in a folder, and give its one tab."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
    with (folder / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with connect(_tab(folder, process), max_size=None, compression=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait()


def _tab(folder: Path, process: "subprocess.Popen[bytes]") -> str:
    """Return the address of the browser's tab, once it is up."""
    port_file = folder / "DevToolsActivePort"
    until = time.monotonic() + _SECONDS
    while True:
        assert process.poll() is None, (folder / "chromium.log").read_text()[-2_000:]
        assert time.monotonic() < until, "Chromium did not come up"
        lines = port_file.read_text().split() if port_file.exists() else []
        if len(lines) == 2:
            break
        time.sleep(0.05)
    with connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None) as browser:
        while True:
            browser.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(browser.recv(timeout=_SECONDS))["result"]["targetInfos"]
            pages = [target["targetId"] for target in targets if target["type"] == "page"]
            if pages:
                return f"ws://127.0.0.1:{lines[0]}/devtools/page/{pages[0]}"
