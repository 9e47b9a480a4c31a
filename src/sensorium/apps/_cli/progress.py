"""How far indexing has come, on stderr: a live line on a terminal, else a sparse line now and then."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sensorium.apps._cli.output import note, printable
from sensorium.clock import clock

if TYPE_CHECKING:
    from sensorium.pipelines.ingest import Progress, Reading

EVERY_S = 10.0
_MB = 1_000_000


class Meter:
    """Shows progress; a context manager around the run, to be called with each `Progress`."""

    def __init__(self) -> None:
        self._live: Any = None
        self._task: Any = None
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._live = _live()
            self._live.start()
            self._task = self._live.add_task("", total=None, words="looking for files")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, now: "Progress") -> None:
        """Show a moment of indexing."""
        if self._live is not None:
            self._live.update(self._task, completed=now.bytes_done, total=now.bytes_total, words=words(now))
        elif time.monotonic() - self._told >= EVERY_S:
            self._told = time.monotonic()
            note(words(now))


def words(now: "Progress") -> str:
    """`12/34 files, 240 nodes, 1.2 MB/s, 0:07 left, reading talk.mp3 12:30 of 45:00`; the longest of several."""
    parts = [f"{now.files_done}/{now.files_total} files", f"{now.nodes} nodes", _rate(now.rate)]
    if now.eta_s is not None:
        parts.append(f"{clock(now.eta_s)} left")
    if now.readings:
        parts.append(f"reading {_reading(max(now.readings, key=lambda one: one.total_s or 0.0))}")
    return ", ".join(parts)


def _reading(one: "Reading") -> str:
    """`talk.mp3 12:30 of 45:00`."""
    name = printable(one.source)
    return name if one.done_s is None else f"{name} {clock(one.done_s)} of {clock(one.total_s or 0.0)}"


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / _MB:.1f} MB/s" if bytes_per_s >= _MB else f"{bytes_per_s / 1000:.0f} kB/s"


def _live() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=24), TextColumn("{task.fields[words]}", markup=False))
    return Progress(*columns, console=Console(stderr=True), transient=True)
