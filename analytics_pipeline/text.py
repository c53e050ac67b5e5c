"""Text of data, arguments and other programs, as a terminal, a log and a message may get it.

A control character in a company's name or in an argument would move the cursor, recolour what follows or forge a line;
a mark that turns the direction of writing would show another text than there is. All of them are shown as escapes.
"""

import re
import unicodedata

# C0 and C1 controls with DEL, the line and paragraph separators, marks that turn the direction of writing, and halves
# of surrogate pairs, which no stream can encode.
_CONTROLS = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff"
_ERROR_CHARACTERS = 500
_RIGHT_TO_LEFT = {"R", "AL"}
_ISOLATE, _END_OF_ISOLATE = "\u2068", "\u2069"
_BREAKS = {"\t": "\\t", "\n": "\\n"}
_isolates = re.compile("(\u2068[^\u2066-\u2069]*\u2069)")
_controls = re.compile(f"[{_CONTROLS}]")
_controls_and_breaks = re.compile(f"[{_CONTROLS}\\t\\n]")


def printable(text: str) -> str:
    """Return the text with every control character but tab and line feed as an escape, such as ``\\u001b``.

    JSON stays JSON, and says the same: in a string it may hold DEL as it is.
    """
    return _controls.sub(_escaped, text)


def printable_line(text: str) -> str:
    """Return the text as ``printable`` does, tabs and line feeds escaped too: a value that can't forge a line."""
    return _controls_and_breaks.sub(_escaped, text)


def isolated(name: str) -> str:
    """Return a name with right-to-left letters between marks that keep what follows in its place; any other as it is.

    A number after such a name would be shown before it.
    """
    if any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in name):
        return f"{_ISOLATE}{name}{_END_OF_ISOLATE}"
    return name


def printable_message(text: str) -> str:
    """Return the text as ``printable_line`` does, but for the pairs of marks that ``isolated`` puts around names."""
    parts = _isolates.split(text)
    parts[::2] = map(printable_line, parts[::2])
    parts[1::2] = (f"{_ISOLATE}{printable_line(part[1:-1])}{_END_OF_ISOLATE}" for part in parts[1::2])
    return "".join(parts)


def visible_line(text: str) -> str:
    """Return the text as one line: what is not printable becomes a blank, blanks in a row one."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def capitalised(text: str) -> str:
    """Return the text with a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def error_summary(error: str | None) -> str:
    """Return the first line of an error that says something, without credentials, cut when long."""
    lines = (line.strip() for line in (error or "").splitlines())
    line = next((line for line in lines if line), "no reason given")
    return without_credentials(line)[:_ERROR_CHARACTERS]


def without_credentials(text: str) -> str:
    """Return the text without user names and passwords in URIs and connection strings."""
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"(?i)\bpassword\s*=\s*('[^']*'|\S+)", "password=...", text)


def _escaped(match: re.Match[str]) -> str:
    return _BREAKS.get(match[0]) or f"\\u{ord(match[0]):04x}"
