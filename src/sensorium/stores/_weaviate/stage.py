"""A staged update: a generation that is written, verified and published."""

import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock

from llama_index.core.schema import BaseNode

from sensorium.errors import PartialWriteError, StoreError
from sensorium.stores._weaviate.connection import UnreachableError
from sensorium.stores._weaviate.encoding import Prepared
from sensorium.stores._weaviate.engine import Running
from sensorium.stores._weaviate.manifest import Update, of_generation
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.watch import Watch
from sensorium.stores.base import SourceRecord, Stage, Vectors
from sensorium.stores.checking import refuse_strangers

PARALLEL = 2
"""Batches on their way at once, so that the server always has one to work on."""


class WeaviateStage(Stage):
    """A new version of one source on its way into Weaviate.

    Small batches are gathered and written beside what the caller does meanwhile, `PARALLEL` at once, so that what the
    server refuses is raised by a later call of `add`, or by `publish`.

    Args:
        parts: Of the store.
        doc_id: The source.
        watch: Told what is written.
    """

    def __init__(self, parts: Parts, doc_id: str, watch: Watch) -> None:
        self._parts = parts
        self._watch = watch
        self._doc = doc_id
        self._lock = Lock()
        self._update: Update | None = None
        self._closed = False
        self._waiting: list[Prepared] = []
        self._writing: deque[tuple[list[Prepared], Running[dict[str, str]]]] = deque()
        self._cut = False
        self._cuts_before = ""
        self._kinds: Counter[str] = Counter()
        self._ids: set[str] = set()
        self._written: defaultdict[str, list[uuid.UUID]] = defaultdict(list)

    def add(self, nodes: Sequence[BaseNode], vectors: Vectors) -> None:
        """See `Stage.add`. Nodes of other sources are refused, as are ids that were staged before."""
        refuse_strangers(nodes, self._doc, self._ids)
        prepared = self._parts.prepare(nodes, vectors)
        with self._lock:
            self._check_open()
            self._ids.update(node.id for node in prepared)
            self._waiting += prepared
            if len(self._waiting) >= self._parts.batch:
                self._write(self._parts.batch)

    def publish(self, record: SourceRecord) -> None:
        """See `Stage.publish`."""
        if record.doc_id != self._doc:
            raise StoreError(f"The staged source is {self._doc}, the record is of {record.doc_id}.")
        with self._lock:
            self._check_open()
            update = self._write()
            self._collect(0)
            self._check_counts(record, update)
            owners = Running(partial(self._parts.check_owners, self._doc, sorted(self._ids)))
            self._parts.make_sure(self._written, self._cuts_before, of_generation(update.generation))
            owners.result()
            self._parts.mark_incomplete()
            self._parts.generations.publish(update, record)
            self._closed = True
        self._watch.published()
        self._parts.sweep()

    def discard(self) -> None:
        """See `Stage.discard`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                while self._writing:
                    with suppress(StoreError):
                        self._collect(0)
                if self._update is not None:
                    self._give_up(self._update)

    def _write(self, least: int = 1) -> Update:
        """Write what waits, at least so many at once, beside what the caller does; at first announce the update."""
        generations = self._parts.generations
        if self._update is None:
            self._cuts_before = self._parts.cleared().cuts
            update = generations.begin(self._doc, self._watch.announced)
        else:
            update = generations.touch(self._update)
        self._update = update
        while len(self._waiting) >= least:
            self._collect(PARALLEL - 1)
            nodes, self._waiting = self._waiting[: self._parts.batch], self._waiting[self._parts.batch :]
            insert = partial(self._parts.writer.insert, nodes, update.generation)
            self._writing.append((nodes, Running(insert)))
        return update

    def _collect(self, left: int) -> None:
        """Wait for batches that are being written until so many are left; note down what is stored of the others."""
        while len(self._writing) > left and self._update is not None:
            nodes, running = self._writing.popleft()
            try:
                failed = running.result()
            except BaseException:
                self._cut = True
                raise
            self._note(nodes, failed, self._update.generation)

    def _note(self, nodes: Sequence[Prepared], failed: Mapping[str, str], generation: str) -> None:
        """What is stored of a batch.

        Raises:
            PartialWriteError: some is not.
        """
        for node in nodes:
            if node.id not in failed:
                self._kinds[node.kind] += 1
                one = node.uuid(generation)
                for space in node.spaces:
                    self._written[space].append(one)
        if failed:
            raise PartialWriteError([node.id for node in nodes if node.id not in failed], failed)

    def _give_up(self, update: Update) -> None:
        """Clear away what was written, or leave that for later where the server cannot be asked or is still at it."""
        generations = self._parts.generations
        if self._cut:
            generations.leave(update)
            return
        try:
            generations.discard(update)
        except UnreachableError:
            generations.leave(update)

    def _check_counts(self, record: SourceRecord, update: Update) -> None:
        """Compare what is stored with what was added and with what the record says."""
        stored = self._parts.stored_counts(update.generation)
        wanted = {kind: count for kind, count in record.counts.items() if count}
        for expected, whose in ((dict(self._kinds), "were added"), (wanted, "are in the record")):
            if stored != expected:
                raise StoreError(f"Source {self._doc}: {stored} nodes are stored, but {expected} {whose}.")

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"The update of the source {self._doc} was published or discarded already.")
