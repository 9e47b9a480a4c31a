"""The loop of indexing: worker processes read, threads embed, this thread stages and publishes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import Pipe

from llama_index.core.schema import TextNode

from sensorium.errors import ConfigError, MissingExtraError, SpaceError, StoreError
from sensorium.loaders.base import Advance, SourceFile
from sensorium.pipelines._ingest.captions import Captioning, Desk
from sensorium.pipelines._ingest.discover import Found
from sensorium.pipelines._ingest.embed import Vectoriser, Vectors
from sensorium.pipelines._ingest.host import launcher
from sensorium.pipelines._ingest.messages import Batch, Ended, Setup
from sensorium.pipelines._ingest.parts import PartStore
from sensorium.pipelines._ingest.plan import Plan, Settled
from sensorium.pipelines._ingest.pool import Pool
from sensorium.pipelines._ingest.progress import Reading, Tracker
from sensorium.pipelines._ingest.report import Row
from sensorium.stores.base import Stage, Store

EMBEDDING_THREADS = 2
MOST_BATCHES = 6  # read but not staged yet; beyond, workers wait
MOST_WARNINGS = 1000
UNFINISHED = "not-all-described"
# What concerns the whole run, not one source.
_SYSTEMIC = (ConfigError, MissingExtraError, SpaceError)
# Worth importing once, before workers are forked.
_PRELOAD = {".pdf": "pymupdf", ".pptx": "pptx", ".png": "PIL.Image", ".jpg": "PIL.Image", ".jpeg": "PIL.Image"}


@dataclass(eq=False)
class _Intake:
    """A source on its way in."""

    found: Found
    file: SourceFile
    stage: Stage | None = None
    counts: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)
    media_type: str = ""
    seconds: float = 0.0
    embedding: int = 0  # batches that are being embedded
    describing: int = 0  # pictures that are being described
    ended: Ended | None = None
    again: bool = False  # pictures are left to be described by another run
    advance: Advance | None = None

    def wanted(self) -> bool:
        """Whether its nodes are of use: it has not failed."""
        return self.ended is None or self.ended.outcome == "read"

    def reading(self) -> Reading:
        """How far it is."""
        done = (self.advance.done_s, self.advance.total_s) if self.advance else (None, None)
        return Reading(self.file.source, self.found.size, *done)


class Run:
    """One run over the sources of a plan.

    Args:
        store: Where nodes and ledger rows go.
        setup: What workers get.
        workers: Most worker processes.
        plan: What is to be done.
        vectoriser: Embeds.
        tracker: Is told about progress.
        captions: Describes pictures; None: they stay without descriptions.

    Attributes:
        notes: What a person should know beside the rows.
    """

    def __init__(
        self, store: Store, setup: Setup, workers: int, plan: Plan, vectoriser: Vectoriser, tracker: Tracker,
        captions: Captioning | None = None,
    ) -> None:  # fmt: skip
        self._store, self._setup, self._workers = store, setup, workers
        self._plan, self._vectoriser, self._tracker = plan, vectoriser, tracker
        self._captions = captions
        self._rows: dict[str, Row] = {}
        self._intakes: dict[str, _Intake] = {}
        self._batches: dict[Future[Vectors], tuple[_Intake, Sequence[TextNode]]] = {}
        self.notes: list[str] = []
        self._unwritten: defaultdict[str, list[str]] = defaultdict(list)  # sources by what the ledger said

    def read(self) -> dict[str, Row]:
        """Bring every source to an end; rows by identity."""
        for settled in self._plan.settled():
            self._settle(settled)
        jobs = self._jobs()
        first = next(jobs, None)
        if first is not None:  # neither processes nor models are started for nothing
            self._read(first, jobs)
        self._tracker.show((), last=True)
        for reason, sources in self._unwritten.items():
            self.notes.append(f"The ledger could not be written for {_some(sources)}: {reason}")
        return self._rows

    def _jobs(self) -> Iterator[_Intake]:
        for job in self._plan.jobs():
            if isinstance(job, Settled):
                self._settle(job)
            else:
                yield _Intake(*job)

    def _read(self, first: _Intake, jobs: Iterator[_Intake]) -> None:
        workers = min(self._workers, self._plan.waiting)
        if self._captions is not None:
            self._captions.describer.check()
        with ExitStack() as stack:
            self._woken, self._wake = Pipe(duplex=False)
            stack.callback(self._woken.close)
            stack.callback(self._wake.close)
            stack.callback(self._discard)
            self._executor = ThreadPoolExecutor(EMBEDDING_THREADS, "sensorium-embed")
            stack.callback(self._executor.shutdown, wait=True, cancel_futures=True)
            self._desk = Desk(self._captions, self._rouse)
            stack.callback(self._desk.close)
            self._pool = Pool(launcher(self._setup, self._preload()), workers, self._setup.limits)
            stack.callback(self._pool.close)
            self._executor.submit(self._vectoriser.load)
            self._give(first)
            self._loop(jobs)
        if self._captions is not None and (said := self._captions.describer.summary()):
            self.notes.append(said)

    def _preload(self) -> list[str]:
        return sorted({_PRELOAD[suffix] for suffix in self._plan.suffixes() & _PRELOAD.keys()})

    def _loop(self, jobs: Iterator[_Intake]) -> None:
        more = True
        while True:
            while more and self._pool.room:
                job = next(jobs, None)
                if job is None:
                    more = False
                else:
                    self._give(job)
            if not self._intakes:
                return
            intakes = (self._intakes.get(job.doc_id) for job in self._pool.jobs)
            self._tracker.show(intake.reading() for intake in intakes if intake)
            reading = len(self._batches) < MOST_BATCHES and not self._desk.full
            for source, event in list(self._pool.events(reading, self._woken)):
                self._take(source, event)
            self._embedded()
            self._described()

    def _give(self, intake: _Intake) -> None:
        self._intakes[intake.file.doc_id] = intake
        self._pool.give(intake.file)

    def _take(self, source: SourceFile, event: Batch | Ended) -> None:
        """What a worker sent."""
        intake = self._intakes.get(source.doc_id)
        if intake is None or intake.ended is not None:
            return  # given up already
        intake.seconds = max(intake.seconds, event.active)
        intake.media_type = event.media_type or intake.media_type
        if isinstance(event, Ended):
            intake.ended = event
            self._conclude(intake)
            return
        intake.advance = event.advance or intake.advance
        intake.warnings.extend(event.faults)
        if event.nodes:
            self._embed(intake, event.nodes)
            intake.describing += self._desk.take(intake, event.nodes, intake.wanted)

    def _embed(self, intake: _Intake, nodes: Sequence[TextNode]) -> None:
        future = self._executor.submit(self._vectoriser.vectors, nodes)
        self._batches[future] = (intake, nodes)
        intake.embedding += 1
        future.add_done_callback(lambda _: self._rouse())

    def _rouse(self) -> None:
        """Let the loop look at what threads have finished."""
        self._wake.send_bytes(b".")

    def _described(self) -> None:
        """Embed the descriptions that have been made meanwhile."""
        for intake, made in self._desk.done():
            intake.describing -= 1
            if made is not None and intake.wanted():
                intake.again = intake.again or made.again
                intake.warnings.extend(filter(None, [made.fault]))
                if made.nodes:
                    self._embed(intake, made.nodes)
            self._conclude(intake)

    def _embedded(self) -> None:
        """Stage what has been embedded meanwhile."""
        while self._woken.poll():
            self._woken.recv_bytes()
        for future in [future for future in self._batches if future.done()]:
            intake, nodes = self._batches.pop(future)
            intake.embedding -= 1
            if intake.wanted() and (reason := self._stage(intake, nodes, future)):
                self._pool.drop(intake.file)
                intake.ended = Ended("failed", reason, intake.seconds, intake.media_type)
            self._conclude(intake)

    def _stage(self, intake: _Intake, nodes: Sequence[TextNode], future: Future[Vectors]) -> str:
        """Stage a batch; the reason when that fails."""
        try:
            vectors = future.result()
        except _SYSTEMIC:
            raise
        except Exception as fault:  # noqa: BLE001  a hosted embedder may raise anything; the source fails with it
            return f"embedding failed: {_words(fault)}"
        try:
            if intake.stage is None:
                intake.stage = self._store.stage(intake.file.doc_id)
            intake.stage.add(nodes, vectors)
        except SpaceError:
            raise
        except (StoreError, ValueError, OSError) as fault:
            return _words(fault)
        intake.counts.update(str(node.metadata.get("kind")) for node in nodes)
        self._tracker.wrote(len(nodes))
        return ""

    def _conclude(self, intake: _Intake) -> None:
        """End a source when its worker is done and everything it sent is embedded."""
        if intake.ended is None or intake.embedding or intake.describing:
            return
        del self._intakes[intake.file.doc_id]
        settled = self._publish(intake) if intake.ended.outcome == "read" else self._refused(intake, intake.ended)
        if intake.stage is not None:
            intake.stage.discard()
        self._settle(settled)

    def _publish(self, intake: _Intake) -> Settled:
        if intake.stage is None:
            return self._failed(intake, "; ".join(["no text or picture was found in it", *intake.warnings[:3]]))
        if self._plan.touched(intake.found):
            return self._failed(intake, "was changed while it was being read; index it again")
        record = self._plan.record(
            intake.found, "stored", media_type=intake.media_type, sha256=intake.file.sha256,
            live_sha256=intake.file.sha256, counts=dict(sorted(intake.counts.items())),
            warnings=_shortened(intake.warnings), seconds=round(intake.seconds, 3),
        )  # fmt: skip
        if intake.again:  # an unchanged source is read again, too, when its fingerprint is another
            record = record.changed(fingerprint=f"{record.fingerprint} {UNFINISHED}")
        try:
            intake.stage.publish(record)
        except SpaceError:
            raise
        except (StoreError, ValueError, OSError) as fault:
            return self._failed(intake, _words(fault))
        if isinstance(self._setup.parts, PartStore):
            self._setup.parts.drop(intake.file.sha256)
        return self._plan.stored(intake.found, record)

    def _failed(self, intake: _Intake, reason: str) -> Settled:
        return self._refused(intake, Ended("failed", reason, intake.seconds, intake.media_type))

    def _refused(self, intake: _Intake, ended: Ended) -> Settled:
        assert ended.outcome != "read"
        record = self._plan.record(
            intake.found, ended.outcome, ended.reason, media_type=intake.media_type, sha256=intake.file.sha256,
            warnings=_shortened(intake.warnings), seconds=round(intake.seconds, 3),
        )  # fmt: skip
        return self._plan.refused(intake.found, record)

    def _settle(self, settled: Settled) -> None:
        """Write down how a source ended."""
        self._rows[settled.found.doc_id] = settled.row
        self._tracker.ended(settled.found.size)
        if settled.record is None:
            return
        try:
            self._store.record(settled.record)
        except SpaceError:
            raise
        except StoreError as fault:  # the row is in the report; the next run tries the source again
            self._unwritten[_words(fault)].append(settled.found.source)

    def _discard(self) -> None:
        for intake in self._intakes.values():
            if intake.stage is not None:
                intake.stage.discard()


def _some(sources: Sequence[str]) -> str:
    return ", ".join(sources[:3]) + (f" and {len(sources) - 3:,} more" if len(sources) > 3 else "")


def _shortened(warnings: Sequence[str]) -> tuple[str, ...]:
    if len(warnings) <= MOST_WARNINGS:
        return tuple(warnings)
    return (*warnings[:MOST_WARNINGS], f"and {len(warnings) - MOST_WARNINGS:,} more like these")


def _words(fault: BaseException) -> str:
    text = " ".join(str(fault).split())
    return text[:500] if isinstance(fault, StoreError) else f"{type(fault).__name__}: {text[:500]}"
