"""By which words this command is called again: what it prints of itself can be pasted into the same shell."""

import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

NAME = "analytics-pipeline"
# A command in a sentence, or alone: not a word of a path or of a name.
_command = re.compile(rf"(?<![\w./-]){NAME}(?= (?:[a-z]|--))")


@cache
def program() -> str:
    """Return the name where the PATH leads to this very command, else the path at which it is."""
    beside = Path(sys.executable).parent / NAME
    found = shutil.which(NAME)
    if found is not None and (not beside.exists() or Path(found).samefile(beside)):
        return NAME
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m analytics_pipeline"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def as_called(text: str) -> str:
    """Return a text of ours in which every command of this program can be pasted."""
    return text if program() == NAME else _command.sub(lambda _: program(), text)


def examples(*commands: str) -> str:
    """Return the examples of a ``--help``, each a command without the program's name."""
    lines = [f"  {program()} {command}" for command in commands]
    # Click breaks no lines of a paragraph that begins with \\b.
    return "\n".join(["\b", "Examples:", *lines])
