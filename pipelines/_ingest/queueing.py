"""How long a process was ready to run while the machine was busy with others: time limits leave that out."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST = 0.9
"""Of some time, at most this share counts as waiting: threads of a parser may also keep one another waiting, and
what hangs has to end."""


class Queue:
    """Adds up the time in which a process, or one that it started, waited for a processor.

    Linux tells this of every thread; of other systems nothing is known, and the time is always 0.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._waited = _waited(pid)
        self._since = time.monotonic()

    def more(self) -> float:
        """Seconds of waiting since the last look: of the thread that waited longest, 0 to `MOST` of the time passed."""
        now, waited = time.monotonic(), _waited(self._pid)
        longest = max((seconds - self._waited.get(thread, 0.0) for thread, seconds in waited.items()), default=0.0)
        passed, self._since, self._waited = now - self._since, now, waited
        return min(max(longest, 0.0), MOST * passed)


def _waited(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process and its descendants has waited in all."""
    found = {}
    for thread in _threads(pid):
        with suppress(OSError, IndexError, ValueError):  # it has ended, or this system does not tell
            # Nanoseconds on a processor, nanoseconds waiting for one, turns: Documentation/scheduler/sched-stats.rst
            found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return found


def _threads(pid: int) -> Iterator[Path]:
    """Folders of the threads of a process and its descendants."""
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            yield thread
            with suppress(OSError):
                for child in (thread / "children").read_text().split():
                    yield from _threads(int(child))
