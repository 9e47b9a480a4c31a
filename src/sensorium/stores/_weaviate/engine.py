"""The two collections of one index: every question and every write that goes to the server.

All of it with our errors and deadlines. What is inserted is never cut off by us: a batch that is cancelled on its
way is stored, but no search finds it, so inserts run to their end in a thread of their own.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from weaviate.classes.aggregate import GroupByAggregate
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter
from weaviate.collections import Collection

from sensorium.errors import StoreError
from sensorium.stores._weaviate import wire
from sensorium.stores._weaviate.connection import Connection, UnreachableError
from sensorium.stores._weaviate.names import BODY, IDENTITY, METADATA, ROW, TERMS, vector_name
from sensorium.stores._weaviate.where import Condition
from sensorium.stores._weaviate.wire import Wire
from sensorium.stores.base import Space, Vector

MOST = 10_000
"""QUERY_MAXIMUM_RESULTS: hits of one search and deletes of one request."""
_PAUSE_S = 0.2
_T = TypeVar("_T")


class Found:
    """An object that was found. Most hits of a search are only counted, so what they bring along is read when wanted.

    Args:
        result: Of `Wire.search`.
        score: Higher is better; 0 where nothing was scored.

    Attributes:
        id: Of the object.
        node_id: Of its node.
        generation: That it was written in.
        doc: Its source, as indexed (`names.doc_key`).
        score: See above.
    """

    __slots__ = ("_properties", "_result", "doc", "generation", "id", "node_id", "score")

    def __init__(self, result: Any, score: float = 0.0) -> None:
        self._result = result
        self._properties: Mapping[str, Any] | None = None
        self.id = str(result.metadata.id)
        self.node_id, self.generation, self.doc = wire.texts_of(result, IDENTITY)
        self.score = score

    @property
    def uuid(self) -> uuid.UUID:
        """Of the object."""
        return uuid.UUID(self.id)

    @property
    def properties(self) -> Mapping[str, Any]:
        """All that was asked for."""
        if self._properties is None:
            self._properties = wire.properties_of(self._result)
        return self._properties

    @property
    def vectors(self) -> Mapping[str, Any]:
        """By name of the named vector, where asked for."""
        return wire.vectors_of(self._result)

    @property
    def metadata(self) -> str:
        """Metadata as JSON."""
        return str(self.properties[METADATA])

    @property
    def body(self) -> str:
        """The rest of the node as JSON."""
        return str(self.properties[BODY])


class Engine:
    """Questions and writes.

    Args:
        connection: To the server.
        data: The collection of nodes.
        ledger: The collection of what is known about them.
    """

    def __init__(self, connection: Connection, data: Collection[Any, Any], ledger: Collection[Any, Any]) -> None:
        self.connection = connection
        self.data = data
        self.ledger = ledger
        self._nodes, self._rows = Wire(connection, data), Wire(connection, ledger)

    # Searching --------------------------------------------------------------------------------------------

    def near(
        self, space: Space, query: Vector, limit: int, condition: Condition, properties: Sequence[str]
    ) -> list[Found]:
        """Nearest nodes of a space; scores as in `Scored`."""
        how = wire.near(vector_name(space.name), query if space.multi else query[0])
        results = self._search(self._nodes, how, limit, condition, properties, scores=["distance"])
        similarity = _similarity(space, len(query))
        return [Found(r, similarity(r.metadata.distance)) for r in results]

    def count_near(self, space: Space, query: Vector, limit: int, condition: Condition) -> int:
        """How many entries of the vector index a search like `near` gets to; the server reads none of the objects."""
        given = (query if space.multi else query[0]).tolist()
        answer = self._ask(
            lambda: self.data.aggregate.near_vector(
                given,
                object_limit=limit,
                target_vector=vector_name(space.name),
                filters=_filter(condition),
                total_count=True,
            )
        )
        return int(answer.total_count or 0)

    def bm25(self, terms: str, limit: int, condition: Condition, properties: Sequence[str]) -> list[Found]:
        """Nodes by raw BM25."""
        how = wire.bm25(terms, [TERMS])
        results = self._search(self._nodes, how, limit, condition, properties, scores=["score"])
        return [Found(r, r.metadata.score) for r in results]

    def hybrid(
        self,
        space: Space,
        query: Vector,
        terms: str,
        alpha: float,
        limit: int,
        condition: Condition,
        properties: Sequence[str],
    ) -> list[Found]:
        """Both in one call, fused by the server: relative scores over its own lists."""
        how = wire.hybrid(vector_name(space.name), query if space.multi else query[0], terms, [TERMS], alpha)
        results = self._search(self._nodes, how, limit, condition, properties, scores=["score"])
        return [Found(r, r.metadata.score) for r in results]

    # Reading ----------------------------------------------------------------------------------------------

    def find(
        self, condition: Condition, properties: Sequence[str], vectors: Sequence[str] = (), limit: int = MOST
    ) -> list[Found]:
        """Objects that a condition holds for, in no order."""
        return [Found(r) for r in self._search(self._nodes, {}, limit, condition, properties, vectors=vectors)]

    def by_uuid(self, one: uuid.UUID, properties: Sequence[str], vectors: Sequence[str] = ()) -> list[Found]:
        """An object by id, also one that filters do not find, as after a crash; empty when there is none."""
        results = self._search(self._nodes, _before(one), 1, True, properties, vectors=vectors)
        return [f for f in map(Found, results) if f.uuid == one]

    def scan(self, properties: Sequence[str], vectors: Sequence[str] = (), page: int = 1000) -> Iterator[Found]:
        """Every object, in no order, page by page; what is written meanwhile may be among them."""
        return self._all(self._nodes, properties, vectors, page)

    def _all(
        self, collection: Wire, properties: Sequence[str], vectors: Sequence[str] = (), page: int = 1000
    ) -> Iterator[Found]:
        after = ""
        while True:
            results = self._search(collection, {"after": after}, page, True, properties, vectors=vectors)
            yield from map(Found, results)
            if len(results) < page:
                return
            after = results[-1].metadata.id

    def count(self, condition: Condition) -> int:
        """How many objects a condition holds for."""
        answer = self._ask(lambda: self.data.aggregate.over_all(filters=_filter(condition), total_count=True))
        return int(answer.total_count or 0)

    def count_by(self, name: str, condition: Condition) -> dict[str, int]:
        """Objects by the value of a property."""
        return self._counted(self.data, name, condition)

    def _counted(self, collection: Collection[Any, Any], name: str, condition: Condition) -> dict[str, int]:
        grouped = self._ask(
            lambda: collection.aggregate.over_all(
                filters=_filter(condition), group_by=GroupByAggregate(prop=name, limit=MOST), total_count=True
            )
        )
        return {
            str(g.grouped_by.value): int(g.total_count or 0) for g in grouped.groups if g.grouped_by.value is not None
        }

    def rows(self, condition: Condition, properties: Sequence[str] | None = None, limit: int = MOST) -> list[Found]:
        """Ledger rows that a condition holds for."""
        return [Found(r) for r in self._search(self._rows, {}, limit, condition, properties)]

    def scan_rows(self, properties: Sequence[str]) -> Iterator[Found]:
        """Every ledger row, in no order."""
        return self._all(self._rows, properties)

    def row_by_uuid(self, one: uuid.UUID, properties: Sequence[str] | None = None) -> Found | None:
        """A ledger row by id, also one that filters do not find, as after a crash."""
        results = self._search(self._rows, _before(one), 1, True, properties)
        return next((row for row in map(Found, results) if row.uuid == one), None)

    def rewrite_row(self, one: uuid.UUID) -> None:
        """Delete a ledger row and write it again as it is; only then do filters find it after a crash."""
        row = self.row_by_uuid(one)
        if row is not None:
            self._ask(lambda: self.ledger.data.delete_by_id(one))
            values = {name: value for name, value in row.properties.items() if value is not None}
            self.write_rows([DataObject(uuid=one, properties=values)])

    def count_rows_by(self, name: str, condition: Condition) -> dict[str, int]:
        """Ledger rows by the value of a property."""
        return self._counted(self.ledger, name, condition)

    # Writing ----------------------------------------------------------------------------------------------

    def insert(self, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        """Write a batch of nodes, to the end whatever happens here.

        Returns:
            Index and reason of those that the server refused.
        """
        return self._insert(self._nodes, objects)

    def write_rows(self, objects: Sequence[DataObject[Any, Any]]) -> None:
        """Write ledger rows; each replaces the one of its uuid, and may be written again, as none has a vector.

        Raises:
            StoreError: the server refused one, or does not answer in time.
        """
        end = time.monotonic() + self.connection.timeout_s
        cut = False
        while True:
            try:
                refused = self._insert(self._rows, objects)
                break
            except UnreachableError:
                if time.monotonic() >= end:
                    raise
                cut = True
                time.sleep(_PAUSE_S)
        for reason in refused.values():
            raise self.connection.refusal(reason, "The ledger cannot be written")
        if cut:
            self.confirm_rows([o.uuid for o in objects])  # type: ignore[misc]

    def confirm_rows(self, uuids: Sequence[uuid.UUID]) -> None:
        """Make sure that filters find ledger rows.

        What cut off the first attempt may have left a row that is stored, but that no filter finds; writing an equal
        one again changes nothing.
        """
        condition = Filter.by_id().contains_any(list(uuids)) & Filter.by_property(ROW).like("*")
        found = {row.uuid for row in self.rows(condition, [ROW])}
        for one in set(uuids) - found:
            self.rewrite_row(one)

    def _insert(self, collection: Wire, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        def run() -> dict[int, str]:
            with self.connection.translated():
                return collection.insert(objects)

        self.connection.check_open()
        return Running(run).result()

    def delete_where(self, condition: Condition) -> int:
        """Delete nodes; the server deletes 10,000 at a time, so this asks until none is left."""
        if isinstance(condition, bool):
            raise TypeError("a delete needs a condition")
        total = 0
        while True:
            done = self._ask(lambda: self.data.data.delete_many(where=condition))
            if done.failed:
                raise StoreError(f"Weaviate could not delete {done.failed} of {done.matches} nodes.", "Try again.")
            total += done.successful
            if done.matches <= done.successful:
                return total

    def delete_each(self, uuids: Sequence[uuid.UUID]) -> None:
        """Delete objects one by one, by id. After a crash this finds what filters no longer do."""
        for one in uuids:
            self._ask(lambda one=one: self.data.data.delete_by_id(one))  # type: ignore[misc]

    def delete_rows(self, uuids: Sequence[uuid.UUID]) -> None:
        """Delete ledger rows."""
        if uuids:
            where = Filter.by_id().contains_any(list(uuids))
            self._ask(lambda: self.ledger.data.delete_many(where=where))

    def _search(
        self,
        collection: Wire,
        how: Mapping[str, Any],
        limit: int,
        condition: Condition,
        properties: Sequence[str] | None,
        scores: Sequence[str] = (),
        vectors: Sequence[str] = (),
    ) -> Sequence[Any]:
        filters = _filter(condition)
        return self._ask(lambda: collection.search(how, limit, filters, properties, scores, vectors))

    def _ask(self, run: Callable[[], _T]) -> _T:
        self.connection.check_open()
        with self.connection.translated():
            return run()


class Running(Generic[_T]):
    """Work in a thread of its own that runs to its end, whatever happens to the thread that waits for it.

    Args:
        run: The work; it starts at once.
    """

    def __init__(self, run: Callable[[], _T]) -> None:
        self._run = run
        self._results: list[_T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._work, daemon=True, name="sensorium-running")
        self._thread.start()

    def _work(self) -> None:
        try:
            self._results.append(self._run())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._errors.append(error)

    def wait(self) -> None:
        """Wait for the end, also when interrupted meanwhile (Ctrl-C), which is raised then."""
        try:
            self._thread.join()
        except BaseException:
            self._thread.join()
            raise

    def result(self) -> _T:
        """Wait for the end; what the work returned or raised."""
        self.wait()
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def _filter(condition: Condition) -> Any:
    return None if condition is True else condition


def _before(one: uuid.UUID) -> dict[str, Any]:
    return {"after": str(uuid.UUID(int=one.int - 1)) if one.int else ""}


def _similarity(space: Space, query_vectors: int) -> Callable[[float], float]:
    """From Weaviate's distance: 1 - cosine, -dot, or -MaxSim summed over the query's vectors."""
    if space.multi:
        return lambda distance: -distance / query_vectors
    if space.distance == "dot":
        return lambda distance: -distance
    return lambda distance: 1.0 - distance


def as_vector(value: Any) -> Vector:
    """A vector or matrix of the client as float32."""
    return np.asarray(value, dtype=np.float32)
