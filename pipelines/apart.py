"""Pictures and clips of recordings, made in worker processes: a decoder that hangs or crashes costs an error, no more.

A clip begins anywhere in a file, is decoded and encoded for seconds, and nothing can end that in a thread. Its
worker has the limits of indexing, is started when the first one is asked for, and then waits for more. Pages and
images are drawn by the calling process: that takes hundredths of a second, and the start of a worker almost one.
So are those of recordings on other systems than Linux.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from sensorium.errors import EvidenceError, SensoriumError
from sensorium.loaders._media.clips import LONGEST_S
from sensorium.loaders.base import Item, Limits, Loader, OcrEngine, Picture, SourceFile, Tools, Word
from sensorium.nodes import Evidence
from sensorium.pipelines._ingest.drawer import DrawSetup, Job, Made, Task
from sensorium.pipelines._ingest.host import ForkHost, Forks, Worker
from sensorium.pipelines._ingest.messages import Part
from sensorium.pipelines._ingest.queueing import Queue

MOST_WORKERS = 2
_LOOK_S = 0.2
_DOING = {"picture": "to draw it", "clip": "to cut the clip", "words": "to read it", "read": "to read it"}


class Apart(Loader):
    """A loader that draws and cuts in other processes.

    Args:
        inner: The loader itself.
        drawers: Where it is done.
    """

    name = "apart"

    def __init__(self, inner: Loader, drawers: "Drawers") -> None:
        self._inner, self._drawers = inner, drawers

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """See `Loader.load`; in this process."""
        return self._inner.load(file, tools)

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """See `Loader.picture`.

        Raises:
            EvidenceError: also when it takes too long, or its decoder crashes.
        """
        drawn: Picture = self._drawers.make("picture", file, evidence)
        return drawn

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """See `Loader.clip` and `picture`."""
        cut: Picture = self._drawers.make("clip", file, evidence)
        return cut

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """See `Loader.words`; the worker has an OCR engine of its own."""
        found: list[Word] = self._drawers.make("words" if ocr is None else "read", file, evidence)
        return found


class Here(Loader):
    """A loader that draws in this process, one picture at a time: MuPDF wants no threads.

    Args:
        inner: The loader itself.
        turn: Of all that draw here.
    """

    name = "here"

    def __init__(self, inner: Loader, turn: threading.Lock) -> None:
        self._inner, self._turn = inner, turn

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """See `Loader.load`."""
        return self._inner.load(file, tools)

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """See `Loader.picture`."""
        with self._turn:
            return self._inner.picture(file, evidence)

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """See `Loader.clip`; clips have nothing to do with MuPDF."""
        return self._inner.clip(file, evidence)

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """See `Loader.words`."""
        with self._turn:
            return self._inner.words(file, evidence, ocr)


class Drawers:
    """Worker processes that draw; those that hang or crash are replaced. Safe to use from several threads.

    Args:
        loaders: By media type.
        ocr: OCR engine of the workers.
        limits: Time and memory of one picture or clip, as of indexing one source.
        most: Most workers at a time.
    """

    def __init__(self, loaders: Mapping[str, Part], ocr: Part, limits: Limits, most: int = MOST_WORKERS) -> None:
        self._setup = DrawSetup(loaders, ocr, limits)
        self._limits = limits
        self._turns = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()  # of what follows, and of talking with the host
        self._host: Forks | None = None
        self._free: list[Worker] = []

    @staticmethod
    def possible() -> bool:
        """Whether workers can be started from any script: those of other systems run the user's script again."""
        return sys.platform == "linux" and not getattr(sys, "frozen", False)

    def make(self, task: Task, file: SourceFile, evidence: Evidence) -> Any:
        """Have a worker do it.

        Raises:
            EvidenceError: the loader refused it, it took too long, or the worker died.
        """
        with self._turns:
            worker = self._taken(file)
            done: Made | None = None
            try:
                done = self._done(worker, Job(task, file, evidence))
            finally:
                how = self._back(worker, keep=done is not None and not done.retire)
            if done is None:
                raise EvidenceError(f"{file.source}: the decoder crashed ({how}).")
        if done.value is None:
            raise EvidenceError(*done.refused)
        return done.value

    def close(self) -> None:
        """End all workers; the next picture starts new ones."""
        with self._lock:
            host, self._host, self._free = self._host, None, []
        if host is not None:
            host.close()

    def _done(self, worker: Worker, job: Job) -> Made | None:
        """What came of a job; None when the worker died.

        Raises:
            EvidenceError: it took too long.
        """
        limit = self._limit(job)
        queue, deadline = Queue(worker.pid), time.monotonic() + limit
        with suppress(EOFError, ConnectionResetError, BrokenPipeError):
            worker.connection.send(job)
            while not worker.connection.poll(_LOOK_S):
                deadline += queue.more()
                if time.monotonic() >= deadline:
                    late = f"{job.file.source}: it took longer than {limit:,.0f} s {_DOING[job.task]}."
                    raise EvidenceError(late, "The limit is index.limits.seconds.")
            made: Made = worker.connection.recv()
            return made
        return None

    def _limit(self, job: Job) -> float:
        if job.task != "clip":
            return self._limits.seconds
        length = (job.evidence.end_s or 0.0) - (job.evidence.start_s or 0.0)
        return self._limits.seconds + self._limits.seconds_per_minute * min(max(length, 0.0), LONGEST_S) / 60

    def _taken(self, file: SourceFile) -> Worker:
        with self._lock:
            while self._free:
                worker = self._free.pop()
                if not worker.connection.poll(0):
                    return worker
                _ended(worker)  # it died while it waited
            try:
                return self._launched()
            except SensoriumError as fault:
                raise EvidenceError(f"{file.source}: {fault.message}", fault.hint) from fault

    def _launched(self) -> Worker:
        """A new worker; of a new host where the old one has ended."""
        if self._host is not None:
            with suppress(SensoriumError):
                return self._host.launch()
            self._host.close()
        self._host = Forks(ForkHost(["av"]), self._setup)
        return self._host.launch()

    def _back(self, worker: Worker, keep: bool) -> str:
        """Keep a worker for the next job, or end it; how it ended."""
        with self._lock:
            if keep and self._host is not None:
                self._free.append(worker)
                return ""
            return _ended(worker)


def _ended(worker: Worker) -> str:
    try:
        return worker.end()
    except (SensoriumError, OSError):  # with its host
        return "its process was ended"
