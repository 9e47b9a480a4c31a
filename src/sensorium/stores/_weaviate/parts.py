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
from sensorium.stores._weaviate.manifest import of_generations, of_source
from sensorium.stores._weaviate.names import KEY, KIND, NODE_ID, digest
from sensorium.stores._weaviate.schema import Plan, Settings, open_index, read_settings, recreate
from sensorium.stores._weaviate.where import all_of, none_of
from sensorium.stores._weaviate.writing import Writer, pages
from sensorium.stores.base import Space, Vectors

_log = logging.getLogger(__name__)
_SWEEP_EVERY_S = 5.0


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

    def sweep(self, now: bool = False) -> None:
        """Clear away what no reader can want; every few seconds at most, unless `now`."""
        with self._lock:
            if not now and time.monotonic() - self._swept < _SWEEP_EVERY_S:
                return
            self._swept = time.monotonic()
        for update in self.generations.sweep():
            objects = {space: [uuid.UUID(i) for i in ids] for space, ids in json.loads(update.record).items()}
            _log.warning("Looking after %d nodes whose writer died.", sum(map(len, objects.values())))
            self.writer.mend(self.writer.lost(objects))
            self.generations.settle(update)

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
