"""Worker processes under watch: hands out sources, takes in their nodes, ends what hangs or dies."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from sensorium.clock import clock
from sensorium.errors import SensoriumError
from sensorium.loaders.base import Limits, SourceFile
from sensorium.pipelines._ingest.host import Launcher, Worker
from sensorium.pipelines._ingest.messages import Batch, Ended, Message, Ready
from sensorium.pipelines._ingest.queueing import Queue

START_SECONDS = 120.0
AHEAD_S = 300.0  # of a recording that a loader may take as one part
LOOK_SECONDS = 0.2  # how often deadlines are looked at, and progress is told, when nothing comes in
Event = tuple[SourceFile, Batch | Ended]


@dataclass(eq=False)
class _Slot:
    """A worker and the source it is at."""

    worker: Worker
    queue: Queue
    deadline: float
    job: SourceFile | None = None
    limit: float = START_SECONDS
    pages: int = 0
    allowed_s: float = 0.0  # of a recording: what may be done by the deadline
    done_s: float = 0.0
    waited: float = 0.0  # for a processor, since the source was begun
    looked: float = 0.0
    ready: bool = False

    def begin(self, limit: float) -> None:
        """Let the time of the source run from now on."""
        self.queue.more()
        self.limit, self.waited = limit, 0.0
        self.deadline = time.monotonic() + limit

    def look(self) -> None:
        """Put the deadline off by the time in which a busy machine kept the worker waiting."""
        self.looked = time.monotonic()
        more = self.queue.more()
        self.waited += more
        self.deadline += more

    def late(self) -> bool:
        """Whether the time is over."""
        if time.monotonic() >= min(self.deadline, self.looked + LOOK_SECONDS):
            self.look()
        return time.monotonic() >= self.deadline


class Pool:
    """Reads sources in worker processes, at most `count` at a time.

    A source that takes too long, or whose parser dies, ends as one `Ended("failed", ...)`; its worker is replaced.
    Workers are started when the first sources are given to them.

    Args:
        launcher: Starts workers.
        count: Most workers at a time.
        limits: What one source may cost.
    """

    def __init__(self, launcher: Launcher, count: int, limits: Limits) -> None:
        self._launcher = launcher
        self._count = count
        self._limits = limits
        self._slots: list[_Slot] = []

    @property
    def room(self) -> bool:
        """Whether a worker is free, or may be started."""
        return len(self._slots) < self._count or any(slot.job is None for slot in self._slots)

    @property
    def jobs(self) -> list[SourceFile]:
        """The sources that are being read."""
        return [slot.job for slot in self._slots if slot.job is not None]

    def give(self, job: SourceFile) -> None:
        """Have a source read; only when there is `room`."""
        slot = next((slot for slot in self._slots if slot.job is None), None) or self._start()
        slot.job, slot.pages, slot.done_s, slot.allowed_s = job, 0, 0.0, 0.0
        slot.limit = self._limits.seconds
        if slot.ready:
            slot.begin(slot.limit)
        try:
            slot.worker.connection.send(job)
        except (BrokenPipeError, ConnectionResetError):
            slot.deadline = time.monotonic()  # it died while idle; `events` finds out and says so

    def drop(self, job: SourceFile) -> None:
        """Stop reading a source whose nodes nobody wants any more."""
        for slot in [slot for slot in self._slots if slot.job is job]:
            self._end(slot)

    def close(self) -> None:
        """End all workers."""
        for slot in list(self._slots):
            self._end(slot)
        self._launcher.close()

    def events(self, reading: bool, wake: Connection) -> Iterator[Event]:
        """What has come in; waits for it a little while.

        Args:
            reading: Whether to take in messages of workers; without, they wait at their pipes.
            wake: Another connection to wake up for; it is not read.
        """
        busy = {slot.worker.connection: slot for slot in self._slots if slot.job is not None}
        found = wait([*(busy if reading else ()), wake], LOOK_SECONDS)
        late = {slot for slot in busy.values() if slot.late()}
        for connection, slot in busy.items() if reading else ():
            if connection in found:
                yield from self._receive(slot)
            elif slot in late:
                yield from self._late(slot)

    def _start(self) -> _Slot:
        worker = self._launcher.launch()
        slot = _Slot(worker, Queue(worker.pid), time.monotonic() + START_SECONDS)
        self._slots.append(slot)
        return slot

    def _end(self, slot: _Slot) -> str:
        self._slots.remove(slot)
        return slot.worker.end()

    def _limit(self, slot: _Slot) -> float:
        limits = self._limits
        more = limits.seconds_per_page * slot.pages + limits.seconds_per_minute * slot.allowed_s / 60
        return limits.seconds + more

    def _receive(self, slot: _Slot) -> Iterator[Event]:
        try:
            message: Message = slot.worker.connection.recv()
        except (EOFError, ConnectionResetError):
            yield from self._died(slot)
            return
        if isinstance(message, Ready):
            slot.ready = True
            slot.begin(slot.limit)
        elif slot.job is not None:
            yield from self._take(slot, slot.job, message)

    def _take(self, slot: _Slot, job: SourceFile, message: Batch | Ended) -> Iterator[Event]:
        if isinstance(message, Ended):
            slot.job = None
            if message.retire:
                self._end(slot)
        else:
            # The worker may have waited for this to be taken in, or for a processor; only its own time counts.
            slot.pages = max(slot.pages, message.pages)
            if message.advance is not None:
                total = message.advance.total_s
                slot.done_s = max(slot.done_s, min(message.advance.done_s, total))
                slot.allowed_s = min(slot.done_s + AHEAD_S, max(total, slot.done_s))
            slot.limit = self._limit(slot)
            slot.deadline = time.monotonic() + slot.limit - max(0.0, message.active - slot.waited)
        yield job, message

    def _died(self, slot: _Slot) -> Iterator[Event]:
        how = self._end(slot)
        if not slot.ready:
            raise SensoriumError(f"A worker process ended while it started ({how}).", "Its last words are on stderr.")
        if slot.job is not None:
            yield slot.job, Ended("failed", f"the parser crashed ({how})", 0.0, "")

    def _late(self, slot: _Slot) -> Iterator[Event]:
        self._end(slot)
        if not slot.ready:
            raise SensoriumError(f"A worker process did not start within {START_SECONDS:.0f} s.")
        if slot.job is not None:
            reason = f"took longer than {slot.limit:,.0f} s{_place(slot)}; the limit is index.limits.seconds"
            yield slot.job, Ended("failed", reason, slot.limit, "")


def _place(slot: _Slot) -> str:
    if slot.done_s:
        return f" (after {clock(slot.done_s)} of the recording)"
    return f" (after page {slot.pages})" if slot.pages else ""
