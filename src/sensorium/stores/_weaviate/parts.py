"""An opened index: its parts, and what writers of all kinds need of them."""

import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock

from llama_index.core.schema import BaseNode
from weaviate.classes.query import Filter

from sensorium.errors import StoreError
from sensorium.stores._weaviate.connection import Connection
from sensorium.stores._weaviate.encoding import Prepared, prepare
from sensorium.stores._weaviate.engine import Engine
from sensorium.stores._weaviate.fields import Fields
from sensorium.stores._weaviate.generations import Generations
from sensorium.stores._weaviate.manifest import (
    ADDING,
    CLEARING,
    PUBLISHED,
    Manifest,
    Update,
    cuts_row,
    of_generation,
    of_generations,
    of_source,
)
from sensorium.stores._weaviate.names import KEY, KIND, NODE_ID, digest
from sensorium.stores._weaviate.process import is_gone, may_be_gone
from sensorium.stores._weaviate.schema import Plan, Settings, open_index, read_settings, recreate
from sensorium.stores._weaviate.where import Condition, all_of, none_of
from sensorium.stores._weaviate.writing import Objects, Writer, pages, renamed
from sensorium.stores.base import Space, Vectors

_log = logging.getLogger(__name__)
_SWEEP_EVERY_S = 5.0
_CLEARED_S, _PAUSE_S = 300.0, 0.2
_QUIET = ", perhaps until what a silent process of another machine left is cleared away, after an hour of silence"


class Parts:
    """An opened index.

    Args:
        connection: To the server.
        engine: Its collections.
        plan: What the configuration wants.
        batch: Nodes in one insert.
        grace_s: Seconds for which replaced nodes stay for searches that are on their way.

    Raises:
        StoreError: the collection is not one of ours, or Weaviate refuses it.
        SpaceError: its nodes were embedded otherwise.
    """

    def __init__(self, connection: Connection, engine: Engine, plan: Plan, batch: int, grace_s: float) -> None:
        self.connection = connection
        self.engine = engine
        self.batch = batch
        self.settings: Settings = open_index(connection, engine, plan)
        self.plan = plan
        wanted = self.settings.spaces if plan.spaces is None else plan.spaces
        self.spaces: Mapping[str, Space] = {space.name: space for space in wanted}
        self.generations = Generations(engine, grace_s)
        self.writer = Writer(engine, self.spaces, batch, self._barriers())
        self._swept = 0.0
        self._lock = Lock()

    @property
    def fields(self) -> Fields:
        """Metadata keys whose typed property all nodes fill: those that filters may use."""
        return self.settings.fields

    def incomplete(self) -> frozenset[str]:
        """Configured spaces in which stored nodes may lack vectors; asks again while there are some."""
        if not self.spaces.keys() <= self.settings.complete:
            self.settings = read_settings(self.engine, self.plan.collection) or self.settings
        return frozenset(self.spaces.keys() - self.settings.complete)

    def set_complete(self) -> None:
        """Note down that all nodes have their vectors in all configured spaces."""
        now = read_settings(self.engine, self.plan.collection) or self.settings
        self.settings = replace(now, complete=now.complete | self.spaces.keys())
        self.engine.write_rows([self.settings.row()])

    def set_fields(self, fields: Fields) -> None:
        """Note down that all nodes fill the typed properties of these keys."""
        now = read_settings(self.engine, self.plan.collection) or self.settings
        self.settings = replace(now, fields={**now.fields, **fields})
        self.engine.write_rows([self.settings.row()])

    def prepare(self, nodes: Sequence[BaseNode], vectors: Vectors) -> list[Prepared]:
        """See `encoding.prepare`; fills also the properties of fields that were declared later."""
        return prepare(nodes, vectors, self.spaces, {**self.plan.fields, **self.settings.fields})

    def stored_counts(self, generation: str) -> dict[str, int]:
        """Nodes of a generation by kind."""
        return self.engine.count_by(KIND, of_generations([generation]))

    def check_owners(self, doc: str, node_ids: Sequence[str]) -> None:
        """Refuse node ids that another source has.

        Raises:
            StoreError: names one.
        """
        manifest = self.generations.read()
        for ids in pages(node_ids):
            taken = Filter.by_property(KEY).contains_any([digest(i) for i in ids])
            others = manifest.visible(all_of([taken, none_of([of_source(doc)])]))
            for found in self.engine.find(others, [NODE_ID], limit=1):
                raise StoreError(f"The node {found.node_id} belongs to another source already.")

    def mark_incomplete(self) -> None:
        """Note down spaces of the index that this configuration lacks: new nodes have no vectors in them."""
        left_out = self.settings.complete - set(self.spaces)
        if left_out:
            self.settings = replace(self.settings, complete=self.settings.complete - left_out)
            self.engine.write_rows([self.settings.row()])

    def make_sure(self, written: Objects, cuts: str, staged: Condition = False) -> Objects:
        """See to it that every search finds what was written.

        Args:
            written: For each space the objects that have a vector in it.
            cuts: Of the manifest before that (`cleared`).
            staged: Holds for just these objects, where no reader sees them yet.

        Returns:
            The objects, with the new ids of those that were written again.

        Raises:
            StoreError: some stay lost.
        """
        undisturbed = self.generations.read().cuts == cuts
        written = self.writer.verify(written, staged if undisturbed else False)
        now = self.cleared()
        quiet = any(may_be_gone(u.owner, u.touched) for u in now.updates if u.state != PUBLISHED)
        if now.cuts == cuts and not now.open_cuts and not quiet:
            return written
        # What was written may be linked to what an insert left that was cut off.
        written, missing = self.writer.reach(written, told=staged is False)
        if missing and quiet:
            _log.warning("%d nodes are not found by all searches%s.", len(missing), _QUIET)
        elif missing:
            raise StoreError(
                f"{len(missing)} nodes are stored, but a search by their own vectors does not return them, even after "
                "writing them again: an insert that was cut off elsewhere may be in the way.",
                "Run sensorium status --verify --repair, then index again.",
            )
        return written

    def sweep(self, now: bool = False) -> None:
        """Clear away what no reader can want; every few seconds at most, unless `now`."""
        with self._lock:
            if not now and time.monotonic() - self._swept < _SWEEP_EVERY_S:
                return
            self._swept = time.monotonic()
        try:
            self.generations.sweep()
            self._clear_left(self.generations.read())
        except StoreError as fault:  # a key that may only read, a server that takes no writes: it can wait
            _log.warning("What is no longer wanted in the index could not be cleared away now: %s", fault)

    def cleared(self) -> Manifest:
        """The manifest, when what writers left that are gone was cleared away, by whomever.

        Nothing must be linked to that, and nodes that are looked after must not be written meanwhile.

        Raises:
            StoreError: another process does not come to an end with it.
        """
        end = time.monotonic() + _CLEARED_S
        while True:
            manifest = self.generations.read()
            if self._clear_left(manifest):
                end = time.monotonic() + _CLEARED_S
            elif not any(u.state == CLEARING for u in manifest.updates):
                return self._closed(manifest)
            if time.monotonic() > end:
                raise StoreError("Another process has been looking after what a dead one left for minutes.", "Wait.")
            time.sleep(_PAUSE_S)

    def _clear_left(self, manifest: Manifest) -> bool:
        """Clear away what nobody works on any more; whether there was any."""
        left = self.generations.left(manifest)
        for update in left:
            self._clear(update)
        return bool(left)

    def _closed(self, manifest: Manifest) -> Manifest:
        """The manifest without cuts whose writers are gone, when what they left was cleared away."""
        gone = [cut for cut in manifest.open_cuts if is_gone(cut.owner, cut.touched)]
        if not gone:
            return manifest
        self.engine.write_rows([cuts_row()])
        self.engine.delete_rows([cut.uuid for cut in gone])
        return self.generations.read()

    def _clear(self, update: Update) -> None:
        """Clear away what a writer left that is gone, unless somebody else is about to.

        A server goes on for a moment with a batch whose client is gone; deleting in the middle leaves traces.
        """
        if not self.generations.holds(update):
            return
        if update.state in (ADDING, CLEARING):
            claim = self.generations.claim(update)
            try:
                self._look_after(claim)
            except BaseException:
                self.generations.leave(claim)
                raise
            return
        staged = of_generation(update.generation)
        self.writer.settle([staged])
        if self.generations.holds(update):
            self.engine.delete_where(staged)
            self.engine.write_rows([cuts_row()])
            self.generations.discard(update)

    def _look_after(self, claim: Update) -> None:
        """Mend nodes that were added by a writer that is gone, unless another process claimed that, too."""
        objects = {space: [uuid.UUID(i) for i in ids] for space, ids in json.loads(claim.record).items()}
        some = sorted({i for ids in objects.values() for i in ids})
        self.writer.settle([Filter.by_id().contains_any(list(ids)) for ids in pages(some)])
        if not self.generations.holds(claim):
            return
        _log.warning("Looking after %d nodes whose writer died.", len(some))
        _, missing = self.writer.reach(renamed(objects, self.writer.mend(self.writer.lost(objects))))
        if missing:
            _log.warning("%d nodes are not found by all searches: sensorium status --verify --repair", len(missing))
        self.engine.write_rows([cuts_row()])
        self.generations.settle(claim)

    def clear(self) -> None:
        """Drop all nodes and the ledger, and make them anew."""
        self.settings = recreate(self.connection, self.engine, replace(self.plan, spaces=tuple(self.spaces.values())))
        self.generations.forget()
        self.generations.changed()

    def _barriers(self) -> int:
        """Objects that a barrier needs to reach every shard; a tenant is one shard."""
        if self.plan.tenant is not None:
            return 1
        with self.connection.translated():
            sharding = self.engine.data.config.get().sharding_config
        shards = sharding.actual_count if sharding is not None else 1
        return 1 if shards == 1 else 8 * shards
