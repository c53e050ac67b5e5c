"""The commands ``token`` and ``serve``, and the examples of docs/api.md against a server that runs."""

import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from analytics_pipeline.api.token_cache import Tokens
from analytics_pipeline.cli import main
from analytics_pipeline.timescale.audit import list_acts
from analytics_pipeline_tests.api.conftest import HEADLINE, OTHER, Served
from analytics_pipeline_tests.commands import running

DOCS = Path(__file__).parents[2] / "docs" / "api.md"


def token(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments])


@pytest.mark.slow
def test_a_token_is_made_shown_once_listed_and_revoked(served: Served) -> None:
    made = json.loads(token("create", "Portal", "--company", OTHER, "--days", "7", "--json").output)
    listed = {each["id"]: each for each in json.loads(token("list", "--json").output)}
    assert listed[made["id"]].items() >= {"label": "Portal", "companyId": OTHER, "valid": True}.items()
    assert listed[made["id"]]["scopes"] == ["figures", "reports"]
    assert made["token"] not in token("list").output
    with served.database.connect(autocommit=True) as connection:
        stored = connection.execute("SELECT t::text FROM analytics_api_tokens AS t").fetchall()
        assert not any(made["token"] in row for (row,) in stored)
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert served.client.get("/analytics/users", headers=headers).json()["companyId"] == OTHER
    assert token("revoke", made["id"]).output == f"Token {made['id']} is revoked.\n"
    assert "was revoked before" in token("revoke", made["id"]).output
    with served.database.connect(autocommit=True) as connection:
        acts = [(act.act, act.subject) for act in list_acts(connection, subject=made["id"])]
    assert acts == [("token.revoke", made["id"]), ("token.create", made["id"])]


@pytest.mark.slow
def test_the_last_use_of_a_token_is_kept(served: Served) -> None:
    served.client.get("/analytics/users", headers=served.headers())
    portal = served.client.portal
    assert portal is not None
    tokens: Tokens = served.client.app.state.tokens  # type: ignore[attr-defined]
    portal.call(tokens.flush_uses)
    used = {each["companyId"]: each["lastUsedAt"] for each in json.loads(token("list", "--json").output)}
    assert used[HEADLINE.company] is not None


@pytest.mark.slow
@pytest.mark.usefixtures("served")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x"], "either --company X or --operator"),
        (["create", "x", "--company", OTHER, "--operator"], "either --company X or --operator"),
        (["create", " ", "--company", OTHER], "The label is empty"),
        (["create", "x" * 101, "--company", OTHER], "A label is one line of at most 100 characters"),
        (["create", "x\ty", "--company", OTHER], "A label is one line of at most 100 characters"),
        (["create", "x", "--company", "nobody"], "No such company is known"),
        (["revoke", "t0"], "There is no token t0"),
    ],
)
def test_a_token_that_makes_no_sense_is_one_line(arguments: list[str], said: str) -> None:
    result = token(*arguments)
    assert result.exit_code != 0
    assert said in result.output


@contextmanager
def serving(port: int, *arguments: str, scheme: str = "http", trusted: Path | None = None) -> Iterator[str]:
    """Run ``serve`` until the block ends and give its address."""
    address = f"{scheme}://localhost:{port}"
    context = ssl.create_default_context(cafile=trusted) if trusted else None
    with running("serve", "--port", str(port), *arguments) as command:

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{address}/readyz", context=context, timeout=5) as response:  # noqa: S310
                    return bool(response.status == 200)
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
                return False

        command.until(answers)
        yield address


@pytest.mark.slow
@pytest.mark.daemon
def test_the_examples_of_the_documentation_work(served: Served, port: int) -> None:
    examples = re.findall(r"^```sh curl\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(examples) == 5
    with serving(port) as address:
        for example in examples:
            script = example.replace("http://127.0.0.1:8000", address).replace("curl -s ", "curl -s --fail-with-body ")
            environment = {**os.environ, "TOKEN": served.tokens[HEADLINE.company]}
            result = subprocess.run(
                ["bash", "-ec", script], env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, (script, result.stdout, result.stderr)
            if "If-None-Match" in script:
                assert result.stdout == "304\n"


@pytest.mark.slow
@pytest.mark.daemon
@pytest.mark.usefixtures("served")
def test_an_address_that_can_not_be_listened_on_is_one_line(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for host, port in (("127.0.0.1", taken.getsockname()[1]), ("nowhere.invalid", 8000)):
            result = CliRunner().invoke(main, ["serve", "--host", host, "--port", str(port)])
            assert result.exit_code == 1
            assert result.output.startswith(f"Error: Can't listen on {host}:{port}: ")
            assert result.output.count("\n") == 1


@pytest.mark.slow
def test_it_serves_over_tls_with_a_certificate(port: int, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(files[0])
    certificate.cert_chain_pems[0].write_to_path(files[1])
    certificate.private_key_pem.write_to_path(files[2])
    arguments = ["--tls-cert", str(files[1]), "--tls-key", str(files[2])]
    with serving(port, *arguments, scheme="https", trusted=files[0]) as address:
        assert address.startswith("https")
    swapped = CliRunner().invoke(main, ["serve", "--tls-cert", str(files[2]), "--tls-key", str(files[1])])
    assert (swapped.exit_code, "are no certificate and its key" in swapped.output) == (1, True)
    alone = CliRunner().invoke(main, ["serve", "--tls-cert", str(files[1])])
    assert (alone.exit_code, "Give both --tls-cert and --tls-key" in alone.output) == (2, True)
