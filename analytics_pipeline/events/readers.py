"""Any source into records, in memory that does not grow with the file."""

from collections.abc import Iterator
from contextlib import contextmanager

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.csv_reader import read_csv
from analytics_pipeline.events.lines import read_json_lines
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Format, OpenSource, UnreadableSourceError


def read_records(opened: OpenSource, file_format: Format, name: str) -> Iterator[Record]:
    """Yield every record of the open source, in order; ``name`` is what errors call it.

    Raises ``UnreadableSourceError`` when the file itself is unreadable: what came before has been yielded by then.
    """
    with naming_damage(opened, file_format, name):
        match file_format:
            case Format.JSONL:
                yield from read_json_lines(opened)
            case Format.CSV:
                yield from read_csv(opened, name)
            case Format.PARQUET:
                # Costs a quarter of a second that no other command should pay.
                from analytics_pipeline.events.parquet_reader import read_parquet

                yield from read_parquet(opened, name)


@contextmanager
def naming_damage(opened: OpenSource, file_format: Format, name: str) -> Iterator[None]:
    """Raise ``UnreadableSourceError`` for whatever reading raises, and in the end for damage that has been passed."""
    try:
        yield
    except AnalyticsError:
        raise
    except Exception as error:
        # Bytes can be wrong in more ways than a reader knows of: whatever it raises, this file can't be read.
        problem = " ".join(str(error).split()) or type(error).__name__
        raise _damaged(name, file_format, problem) from error
    if opened.damage is not None:
        raise _damaged(name, file_format, opened.damage)


def _damaged(name: str, file_format: Format, problem: str) -> UnreadableSourceError:
    return UnreadableSourceError(
        f"{name} is damaged or not {file_format}: {problem}. Records read before are in; repair the file and run the "
        "same command again."
    )
