"""A worker process: reads one source after the other and streams its nodes to the indexing process.

It holds no model but the OCR engine, which is made when the first picture asks for it.
"""

import ctypes
import importlib
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from llama_index.core.schema import TextNode

from sensorium.errors import SensoriumError, SkippedError
from sensorium.loaders import LOADERS
from sensorium.loaders.base import Advance, Fault, Item, Limits, Loader, OcrEngine, OcrLine, SourceFile, Tools
from sensorium.loaders.sniff import describe, sniff
from sensorium.models._wordpiece import word_pieces
from sensorium.ocr_types import glance
from sensorium.pipelines._ingest.messages import Batch, Ended, Message, Part, Ready, Setup
from sensorium.speech_types import Segment, Sound, SpeechEngine

BATCH_NODES = 64
BATCH_CHARACTERS = 1_000_000
BATCH_SECONDS = 0.5  # a slow source (OCR) is sent on this often: embedding goes on beside it, time limits grow
_NO_MEMORY = re.compile(r"bad.?alloc|malloc|out of memory|cannot allocate|failed to allocate", re.IGNORECASE)


def prepare() -> None:
    """Load what most workers need, before they are forked."""
    for loader in LOADERS:
        with suppress(ImportError):  # the sources that need it say so
            importlib.import_module(loader.target.partition(":")[0])
    word_pieces()


def serve(connection: Connection, setup: Setup) -> None:
    """Work until the other end closes."""
    reader = SourceReader(setup)
    connection.send(Ready())
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        for message in reader.read(job):
            connection.send(message)


class SourceReader:
    """Reads sources with their loaders, under limits.

    Args:
        setup: Loaders, splitter, limits and tools.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        ocr = LazyOcr(setup.ocr) if setup.ocr else None
        speech = LazySpeech(setup.speech) if setup.speech else None
        self._tools = Tools(ocr, setup.assets, setup.limits, speech, setup.parts)
        self._loaders: dict[str, Loader] = {}
        self._growth = Growth(setup.limits.memory_mb)

    def read(self, job: SourceFile) -> Iterator[Message]:
        """Batches of a source's nodes, and at last how it ended. Never raises for what is in the source."""
        clock = Stopwatch()
        media_type = ""
        self._growth.limit()
        try:
            media_type = sniff(job.path)
            yield from self._batches(replace(job, media_type=media_type), clock)
            ended = Ended("read", "", clock.seconds(), media_type)
        except SkippedError as fault:
            ended = Ended("skipped", _told(fault), clock.seconds(), media_type)
        except SensoriumError as fault:
            ended = Ended("failed", _told(fault), clock.seconds(), media_type)
        except Exception as fault:  # noqa: BLE001  parsers raise anything; here it ends as the row of one source
            ended = Ended("failed", reason(fault, self.setup.limits), clock.seconds(), media_type)
        yield replace(ended, retire=self._growth.outgrown())

    def _batches(self, file: SourceFile, clock: "Stopwatch") -> Iterator[Batch]:
        batch = _Open(file.media_type, clock)
        for item in self.setup.split.split(batch.watch(self._items(file))):
            batch.take(item)
            if batch.full():
                yield batch.close()
                clock.resume()
        yield batch.close()
        clock.resume()

    def _items(self, file: SourceFile) -> Iterator[Item]:
        part = self.setup.loader(file.media_type, file.path.name)
        if part is None:
            raise SkippedError(f"{file.media_type}: no loader for {describe(file.media_type)} yet")
        if part.name not in self._loaders:
            self._loaders[part.name] = part.make()
        return self._loaders[part.name].load(file, self._tools)


def reason(fault: Exception, limits: Limits) -> str:
    """Why a parser failed, in words."""
    if isinstance(fault, MemoryError) or _NO_MEMORY.search(str(fault)):
        return f"needs more than {limits.memory_mb:,} MB of memory (index.limits.memory_mb)"
    last = traceback.extract_tb(fault.__traceback__)[-1]
    words = " ".join(str(fault).split())[:300]
    return f"the parser failed: {type(fault).__name__}: {words} ({Path(last.filename).name}:{last.lineno})"


def _give_back() -> None:
    """Return freed memory to the system: pictures of all sizes leave the heap full of holes (glibc only)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def _tidied() -> Iterator[None]:
    """Give back what a run of a model took, before it can pile up: some 100 MB, in a hundredth of its time."""
    try:
        yield
    finally:
        _give_back()


def _told(fault: SensoriumError) -> str:
    """Message and hint as sentences."""
    message = fault.message.strip()
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {fault.hint}" if fault.hint else message


class _Tick(Fault):
    """Passes through the splitter, as faults do, so that a batch is looked at while a slow source is read."""


class _Open:
    """A batch that is being filled."""

    def __init__(self, media_type: str, clock: "Stopwatch") -> None:
        self._media_type = media_type
        self._clock = clock
        self._pages = 0
        self._advance: Advance | None = None
        self._told: float | None = None  # when an advance was sent
        self._begin()

    def _begin(self) -> None:
        self._nodes: list[TextNode] = []
        self._faults: list[str] = []
        self._characters = 0
        self._due = False
        self._since = time.monotonic()

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """What the loader yields, on its way to the splitter; counts the pages and minutes."""
        for item in items:
            if isinstance(item, Advance):
                self._moved(item)
            elif not isinstance(item, Fault):
                self._pages = max(self._pages, item.metadata.get("page") or item.metadata.get("slide") or 0)
            yield item
            if self.full():
                yield _Tick("")

    def _moved(self, advance: Advance) -> None:
        """Send an advance at once, not with the next node: that may take minutes; but not many of them."""
        now = time.monotonic()
        self._advance = advance
        if self._told is None or now - self._told >= BATCH_SECONDS:
            self._told, self._due = now, True

    def take(self, item: Item) -> None:
        if isinstance(item, _Tick | Advance):
            return
        if isinstance(item, Fault):
            self._faults.append(str(item))
            return
        self._nodes.append(item)
        self._characters += len(item.text)

    def full(self) -> bool:
        return (
            self._due
            or len(self._nodes) + len(self._faults) >= BATCH_NODES
            or self._characters >= BATCH_CHARACTERS
            or time.monotonic() - self._since >= BATCH_SECONDS
        )

    def close(self) -> Batch:
        active = self._clock.pause()
        nodes, faults = tuple(self._nodes), tuple(self._faults)
        batch = Batch(nodes, faults, self._pages, active, self._media_type, self._advance)
        self._begin()
        return batch


class Stopwatch:
    """Seconds of work, pauses left out."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._since = time.monotonic()

    def pause(self) -> float:
        """Stop; gives the seconds so far."""
        self._spent = self.seconds()
        return self._spent

    def resume(self) -> None:
        """Go on after a pause."""
        self._since = time.monotonic()

    def seconds(self) -> float:
        """Seconds so far, while running."""
        return self._spent + time.monotonic() - self._since


class LazyOcr:
    """An OCR engine that is made at its first picture.

    Args:
        part: Which one.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    @cached_property
    def _engine(self) -> OcrEngine:
        engine: OcrEngine = self._part.make(threads=1)
        return engine

    def read(self, picture: Any) -> list[OcrLine]:
        """See `OcrEngine.read`."""
        with _tidied():
            return self._engine.read(picture)

    def glance(self, picture: Any) -> list[OcrLine]:
        """See `QuickOcrEngine.glance`; as `read` with engines that know no other way."""
        with _tidied():
            return glance(self._engine, picture)


class LazySpeech:
    """A speech engine that is made when the first recording asks for it.

    Args:
        part: Which one.
    """

    def __init__(self, part: Part) -> None:
        self._part = part

    @cached_property
    def _engine(self) -> SpeechEngine:
        engine: SpeechEngine = self._part.make(threads=1)
        return engine

    @property
    def revision(self) -> str:
        """See `SpeechEngine.revision`."""
        return self._engine.revision

    def transcribe(self, sound: Sound) -> list[Segment]:
        """See `SpeechEngine.transcribe`."""
        with _tidied():
            return self._engine.transcribe(sound)


def memory_mb() -> tuple[float, float]:
    """Address space and resident memory of this process in MB; zeros where the system does not tell."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0.0, 0.0
    import resource

    size = resource.getpagesize() / 1e6
    return int(pages[0]) * size, int(pages[1]) * size


class Growth:
    """The memory of this process since now.

    Args:
        most_mb: What one source may take.
    """

    def __init__(self, most_mb: int) -> None:
        self._most_mb = most_mb
        self._at_start = memory_mb()[1]

    def limit(self) -> None:
        """Bound what the next source takes."""
        limit_memory(self._most_mb)

    def outgrown(self) -> bool:
        """Whether this process holds much more than at its start, after giving back what it does not use."""
        _give_back()
        return memory_mb()[1] - self._at_start > max(512, 0.4 * self._most_mb)


def limit_memory(more_mb: int) -> None:
    """Let this process take so many MB of address space beyond what it holds; nothing where that is unknown."""
    held, _ = memory_mb()
    if not held or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int((held + more_mb) * 1e6)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == -1 else min(wanted, hard), hard))
