"""How far indexing has come, with rate and time left."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """A source that is being read.

    Attributes:
        source: Which.
        size: Its bytes.
        done_s: Seconds of the recording that are done; None for what is no recording.
        total_s: Its length.
    """

    source: str
    size: int = 0
    done_s: float | None = None
    total_s: float | None = None

    @property
    def share(self) -> float:
        """What is done of it, 0..1; 0 where that is unknown."""
        return min(1.0, max(0.0, self.done_s / self.total_s)) if self.done_s and self.total_s else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of indexing.

    Attributes:
        files_done: Sources that have ended.
        files_total: Sources found.
        bytes_done: Their size, with the parts that are done of recordings being read.
        bytes_total: Size of all sources found.
        nodes: Nodes written in this run.
        readings: The sources that are being read, and how far they are.
        seconds: Since the start.
    """

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    nodes: int
    readings: tuple[Reading, ...]
    seconds: float

    @property
    def current(self) -> tuple[str, ...]:
        """Names of the sources that are being read."""
        return tuple(one.source for one in self.readings)

    @property
    def rate(self) -> float:
        """Bytes a second so far."""
        return self.bytes_done / self.seconds if self.seconds else 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at this rate; None while nothing can be said."""
        if not self.bytes_done:
            return None
        return (self.bytes_total - self.bytes_done) / self.rate


class Tracker:
    """Counts, and tells the caller's function at most ten times a second.

    Args:
        tell: What the caller gave; None: nobody listens.
        sizes: Bytes of every source found.
    """

    EVERY_S = 0.1

    def __init__(self, tell: Callable[[Progress], None] | None, sizes: Iterable[int]) -> None:
        self._tell = tell
        sizes = list(sizes)
        self._files_total, self._bytes_total = len(sizes), sum(sizes)
        self._files = self._bytes = self._nodes = 0
        self._started = time.monotonic()
        self._told = 0.0

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def ended(self, size: int) -> None:
        """A source has ended."""
        self._files += 1
        self._bytes += size

    def wrote(self, nodes: int) -> None:
        """Nodes were written."""
        self._nodes += nodes

    def show(self, readings: Iterable[Reading], last: bool = False) -> None:
        """Tell, unless that was done just now."""
        now = time.monotonic()
        if self._tell is None or (now - self._told < self.EVERY_S and not last):
            return
        self._told = now
        current = tuple(readings)
        read = self._bytes + int(sum(one.size * one.share for one in current))
        done = (self._files, self._files_total, read, self._bytes_total, self._nodes)
        self._tell(Progress(*done, current, self.seconds))
