"""Collects the messages of code and templates, and brings the catalogues up to date with them.

``python -m analytics_pipeline.languages.collecting`` adds to every catalogue what it lacks, to be translated, and takes
out what nobody says any more.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analytics_pipeline.languages.catalogues import FOLDER, SOURCE, languages, read_catalogue
from analytics_pipeline.languages.wording import MARKS

if TYPE_CHECKING:
    from babel.messages import Catalog

_ROOT: Final = Path(__file__).parents[1]
_MARKING: Final = "analytics_pipeline.languages.wording import"
_TEMPLATES: Final = ("*.html", "*.txt")
_WIDTH: Final = 120
# Of the header: what version control knows, or what changes with every run.
_LEFT_OUT: Final = (
    '"Project-Id-Version',
    '"Report-Msgid-Bugs-To',
    '"POT-Creation-Date',
    '"PO-Revision-Date',
    '"Last-Translator',
    '"Language-Team',
    '"Generated-By',
)


def collect() -> "Catalog":
    """Return every message that code and templates say, with where that is."""
    from babel.messages import Catalog

    collected = Catalog()
    for file, line, text in _messages():
        collected.add(text, locations=[(str(file.relative_to(_ROOT)), line)])
    return collected


def update(code: str) -> None:
    """Bring the catalogue of a language up to date; translations that it has stay."""
    from babel.messages.pofile import write_po

    catalogue = read_catalogue(code)
    catalogue.update(collect(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    written = BytesIO()
    write_po(written, catalogue, width=_WIDTH, include_lineno=False, sort_output=True)
    lines = written.getvalue().decode().splitlines(keepends=True)
    kept = "".join(line for line in lines if not line.startswith(_LEFT_OUT))
    (FOLDER / f"{code}.po").write_text(kept, encoding="utf-8")


def _messages() -> Iterator[tuple[Path, int, str | tuple[str, ...]]]:
    from babel.messages.extract import extract

    for file in sorted(_ROOT.rglob("*.py")):
        if _MARKING in file.read_text(encoding="utf-8"):
            with file.open("rb") as source:
                for line, text, *_ in extract("python", source, MARKS):
                    yield file, line, text
    for pattern in _TEMPLATES:
        for file in sorted(_ROOT.glob(f"*/templates/{pattern}")):
            with file.open("rb") as source:
                options = {"trimmed": "true", "silent": "false"}
                for line, text, *_ in extract("jinja2", source, {"_": None}, options=options):
                    yield file, line, text


if __name__ == "__main__":
    for language in languages():
        if language != SOURCE:
            update(language)
