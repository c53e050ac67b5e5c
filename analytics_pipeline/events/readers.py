"""Any source into records, in memory that does not grow with the file.

Belongs here: choosing the reader. Does not belong here: what a reader does.
What makes a file unreadable as a whole raises ``AnalyticsError``; what spoils one record is its rejection.
"""

import zlib
from collections.abc import Iterator

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.csv_reader import read_csv
from analytics_pipeline.events.lines import read_json_lines
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Format, OpenSource


def read_records(opened: OpenSource, file_format: Format, name: str) -> Iterator[Record]:
    """Yield every record of the open source, in order; ``name`` is what errors call it.

    Raises ``AnalyticsError`` when the file itself is unreadable: what came before has been yielded by then.
    """
    try:
        match file_format:
            case Format.JSONL:
                yield from read_json_lines(opened)
            case Format.CSV:
                yield from read_csv(opened, name)
            case Format.PARQUET:
                # Costs a quarter of a second that no other command should pay.
                from analytics_pipeline.events.parquet_reader import read_parquet

                yield from read_parquet(opened, name)
    except (EOFError, OSError, zlib.error) as error:
        raise AnalyticsError(
            f"{name} is damaged or not {file_format}: {' '.join(str(error).split())}. "
            "Records read before are in; repair the file and run the same command again."
        ) from error
