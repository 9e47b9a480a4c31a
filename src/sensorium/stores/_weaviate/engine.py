"""The two collections of one index: every question and every write that goes to the server.

All of it with our errors and deadlines. What is inserted is never cut off by us: a batch that is cancelled on its
way is stored, but no search finds it, so inserts run to their end in a thread of their own.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from weaviate.classes.aggregate import GroupByAggregate
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, HybridFusion, MetadataQuery
from weaviate.collections import Collection

from sensorium.errors import StoreError
from sensorium.stores._weaviate.connection import Connection, UnreachableError
from sensorium.stores._weaviate.names import BODY, DOC, GENERATION, METADATA, NODE_ID, TERMS, vector_name
from sensorium.stores._weaviate.where import Condition
from sensorium.stores.base import Space, Vector

MOST = 10_000
"""QUERY_MAXIMUM_RESULTS: hits of one search and deletes of one request."""
_PAUSE_S = 0.2
_T = TypeVar("_T")
_DISTANCE = MetadataQuery(distance=True)
_SCORE = MetadataQuery(score=True)


@dataclass(slots=True)
class Found:
    """An object that was found.

    Attributes:
        uuid: Of the object.
        node_id: Of its node.
        generation: That it was written in.
        doc: Its source, as indexed (`names.doc_key`).
        score: Higher is better; 0 where nothing was scored.
        properties: What else was asked for.
        vectors: By name of the named vector, where asked for.
    """

    uuid: uuid.UUID
    node_id: str
    generation: str
    doc: str
    score: float = 0.0
    properties: Mapping[str, Any] = field(default_factory=dict)
    vectors: Mapping[str, Any] = field(default_factory=dict)

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

    # Searching --------------------------------------------------------------------------------------------

    def near(
        self, space: Space, query: Vector, limit: int, condition: Condition, properties: Sequence[str]
    ) -> list[Found]:
        """Nearest nodes of a space; scores as in `Scored`."""
        answer = self._ask(
            lambda: self.data.query.near_vector(
                query.tolist() if space.multi else query[0].tolist(),
                target_vector=vector_name(space.name),
                limit=limit,
                filters=_filter(condition),
                return_properties=list(properties),
                return_metadata=_DISTANCE,
            )
        )
        similarity = _similarity(space, len(query))
        return [_found(o, similarity(o.metadata.distance)) for o in answer.objects]

    def bm25(self, terms: str, limit: int, condition: Condition, properties: Sequence[str]) -> list[Found]:
        """Nodes by raw BM25."""
        answer = self._ask(
            lambda: self.data.query.bm25(
                terms,
                query_properties=[TERMS],
                limit=limit,
                filters=_filter(condition),
                return_properties=list(properties),
                return_metadata=_SCORE,
            )
        )
        return [_found(o, o.metadata.score) for o in answer.objects]

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
        answer = self._ask(
            lambda: self.data.query.hybrid(
                terms,
                vector={vector_name(space.name): query.tolist() if space.multi else query[0].tolist()},
                target_vector=vector_name(space.name),
                query_properties=[TERMS],
                alpha=alpha,
                fusion_type=HybridFusion.RELATIVE_SCORE,
                limit=limit,
                filters=_filter(condition),
                return_properties=list(properties),
                return_metadata=_SCORE,
            )
        )
        return [_found(o, o.metadata.score) for o in answer.objects]

    # Reading ----------------------------------------------------------------------------------------------

    def find(
        self, condition: Condition, properties: Sequence[str], vectors: Sequence[str] = (), limit: int = MOST
    ) -> list[Found]:
        """Objects that a condition holds for, in no order."""
        answer = self._ask(
            lambda: self.data.query.fetch_objects(
                filters=_filter(condition),
                limit=limit,
                return_properties=list(properties),
                include_vector=list(vectors) if vectors else False,
            )
        )
        return [_found(o, 0.0) for o in answer.objects]

    def by_uuid(self, one: uuid.UUID, properties: Sequence[str], vectors: Sequence[str] = ()) -> list[Found]:
        """An object by id, also one that filters do not find, as after a crash; empty when there is none."""
        before = uuid.UUID(int=one.int - 1) if one.int else None
        answer = self._ask(
            lambda: self.data.query.fetch_objects(
                limit=1,
                after=before or "",
                return_properties=list(properties),
                include_vector=list(vectors) if vectors else False,
            )
        )
        return [_found(o, 0.0) for o in answer.objects if o.uuid == one]

    def scan(self, properties: Sequence[str], vectors: Sequence[str] = (), page: int = 1000) -> Iterator[Found]:
        """Every object, in no order, page by page; what is written meanwhile may be among them."""
        after: uuid.UUID | None = None
        while True:
            answer = self._ask(
                lambda after=after: self.data.query.fetch_objects(  # type: ignore[misc]
                    limit=page,
                    after=after or "",
                    return_properties=list(properties),
                    include_vector=list(vectors) if vectors else False,
                )
            )
            yield from (_found(o, 0.0) for o in answer.objects)
            if len(answer.objects) < page:
                return
            after = answer.objects[-1].uuid

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

    def rows(self, condition: Condition, properties: Sequence[str] | None = None, limit: int = MOST) -> list[Any]:
        """Ledger rows that a condition holds for."""
        answer = self._ask(
            lambda: self.ledger.query.fetch_objects(
                filters=_filter(condition),
                limit=limit,
                return_properties=list(properties) if properties is not None else None,
            )
        )
        return list(answer.objects)

    def scan_rows(self, properties: Sequence[str]) -> Iterator[Any]:
        """Every ledger row, in no order."""
        after: uuid.UUID | None = None
        while True:
            answer = self._ask(
                lambda after=after: self.ledger.query.fetch_objects(  # type: ignore[misc]
                    limit=1000, after=after or "", return_properties=list(properties)
                )
            )
            yield from answer.objects
            if len(answer.objects) < 1000:
                return
            after = answer.objects[-1].uuid

    def count_rows_by(self, name: str, condition: Condition) -> dict[str, int]:
        """Ledger rows by the value of a property."""
        return self._counted(self.ledger, name, condition)

    # Writing ----------------------------------------------------------------------------------------------

    def insert(self, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        """Write a batch of nodes, to the end whatever happens here.

        Returns:
            Index and reason of those that the server refused.
        """
        return self._insert(self.data, objects)

    def write_rows(self, objects: Sequence[DataObject[Any, Any]]) -> None:
        """Write ledger rows; each replaces the one of its uuid, and may be written again, as none has a vector.

        Raises:
            StoreError: the server refused one, or does not answer in time.
        """
        end = time.monotonic() + self.connection.timeout_s
        while True:
            try:
                refused = self._insert(self.ledger, objects)
                break
            except UnreachableError:
                if time.monotonic() >= end:
                    raise
                time.sleep(_PAUSE_S)
        for reason in refused.values():
            raise StoreError(f"The ledger cannot be written: {reason}")

    def _insert(self, collection: Collection[Any, Any], objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        def run() -> dict[int, str]:
            with self.connection.translated():
                return _refusals(collection, objects)

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
        self._thread = threading.Thread(target=self._work, daemon=True, name="sensorium-insert")
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


def _refusals(collection: Collection[Any, Any], objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
    from weaviate.exceptions import WeaviateInsertManyAllFailedError

    try:
        done = collection.data.insert_many(list(objects))
    except WeaviateInsertManyAllFailedError as error:
        # The client tells no longer which object had which reason.
        return dict.fromkeys(range(len(objects)), str(error.message).partition(": ")[2] or str(error.message))
    return {index: str(error.message) for index, error in done.errors.items()}


def _filter(condition: Condition) -> Any:
    return None if condition is True else condition


def _found(o: Any, score: float | None) -> Found:
    properties = o.properties
    return Found(
        o.uuid,
        str(properties.get(NODE_ID) or ""),
        str(properties.get(GENERATION) or ""),
        str(properties.get(DOC) or ""),
        float(score or 0.0),
        properties,
        o.vector,
    )


def _similarity(space: Space, query_vectors: int) -> Callable[[float | None], float]:
    """From Weaviate's distance: 1 - cosine, -dot, or -MaxSim summed over the query's vectors."""
    if space.multi:
        return lambda distance: -(distance or 0.0) / query_vectors
    if space.distance == "dot":
        return lambda distance: -(distance or 0.0)
    return lambda distance: 1.0 - (distance or 0.0)


def as_vector(value: Any) -> Vector:
    """A vector or matrix of the client as float32."""
    return np.asarray(value, dtype=np.float32)
