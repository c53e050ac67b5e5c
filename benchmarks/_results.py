"""What has been measured is kept in a file beside, so that a benchmark that was interrupted goes on."""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

FOLDER = Path(__file__).parent / "results"


class Results:
    """The lines of one benchmark: seconds of ours and of the raw limit, several rounds each."""

    def __init__(self, name: str, *, again: bool) -> None:
        """Take up what an earlier run has measured, unless it is to be measured again."""
        self._path = FOLDER / f"{name}.json"
        self._lines: dict[str, dict[str, Any]] = {}
        if self._path.exists() and not again:
            self._lines = json.loads(self._path.read_text())

    def has(self, line: str) -> bool:
        """Tell whether a line has been measured."""
        return line in self._lines

    def compare(
        self,
        line: str,
        ours: Callable[[], object],
        limit: Callable[[], object],
        *,
        rounds: int,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Run both in turns, once before they count, and keep and print the medians and their ratio."""
        if not self.has(line):
            ours()
            limit()
            times = [(seconds(ours, clock), seconds(limit, clock)) for _ in range(rounds)]
            self.keep(line, median(t[0] for t in times), median(t[1] for t in times))
        self.show(line)

    def keep(self, line: str, ours: float, limit: float, **parts: float) -> None:
        """Keep a line's seconds, and what ours are made of."""
        self._lines[line] = {"ratio": ours / limit, "ours_s": ours, "limit_s": limit, **parts}
        self._store()

    def keep_figure(self, line: str, value: float, unit: str) -> None:
        """Keep a figure that stands alone, such as memory."""
        self._lines[line] = {"value": value, "unit": unit}
        self._store()

    def value(self, line: str) -> float:
        """Return a figure that was kept."""
        return float(self._lines[line]["value"])

    def ours(self, line: str) -> float:
        """Return how many seconds ours took of a line that was measured."""
        return float(self._lines[line]["ours_s"])

    def show(self, line: str) -> None:
        """Print a line, its ratio first."""
        found = self._lines[line]
        if "value" in found:
            print(f"           {found['value']:10,.0f} {found['unit']:<16} {line}", flush=True)
            return
        print(f"{found['ratio']:8.2f}   {found['ours_s']:10.3f} s  {found['limit_s']:10.3f} s   {line}", flush=True)
        for part in list(found)[3:]:
            unit = "        " if part.endswith(("_ms", "_per_second")) else " s     of it "
            print(f"           {found[part]:10.1f}{unit}{part}", flush=True)

    def _store(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        self._path.write_text(json.dumps(self._lines, indent=2) + "\n")


def seconds(run: Callable[[], object], clock: Callable[[], float] = perf_counter) -> float:
    """Return how long a run takes by a clock."""
    started = clock()
    run()
    return clock() - started
