"""Writing nodes so that they are stored, indexed and found.

Weaviate stores an object and then indexes its vectors. What interrupts it between the two (a deadline, a lost
connection, a kill) leaves objects that are counted and fetched but that no vector search returns, and inserting
them again changes nothing, since an equal object is skipped. So: batches are never cut off by us; after any doubt a
batch is deleted by id and inserted again; a barrier write flushes what is still in buffers; and what was written is
read back through the vector index of each space before anyone is told that it is there. Where an insert was cut off,
here or elsewhere, what was written meanwhile is also searched for without filters (`Writer.reach`).
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter

from sensorium.errors import StoreError
from sensorium.stores._weaviate.encoding import Prepared, named_vectors
from sensorium.stores._weaviate.engine import MOST, Engine, Found, as_vector
from sensorium.stores._weaviate.fields import space_token
from sensorium.stores._weaviate.manifest import Cut, cuts_row
from sensorium.stores._weaviate.names import BARRIER, GENERATION, NODE_ID, TAGS, row_uuid, vector_name
from sensorium.stores._weaviate.process import owner
from sensorium.stores._weaviate.where import Condition
from sensorium.stores.base import Space, Vector

MOST_BYTES = 32_000_000
"""Vectors in one request; Weaviate takes messages of 100 MB."""
_PAGE = 1000
_ATTEMPTS = 3
_REWRITES = 6
_PASSING = ("deadline", "unavailable", "timeout", "timed out", "shutting down", "queue", "connection")
_PAUSE_S = 0.4
_STEADY = 4
_NEAR, _NEAR_MULTI = 10, 200
"""Hits that a node has to be among for its own vector; of multi-vector searches as many as are compared exactly."""
_PART_BYTES, _TOKENS = 8_000_000, 1030
"""Of vectors that are fetched at once; vectors that a node of a multi-vector space may have (a page of ColPali)."""
_BESIDE = 4
_TIED = 1e-4
_T = TypeVar("_T")

Objects = Mapping[str, Sequence[uuid.UUID]]
"""For each space the objects that have a vector in it."""


class Writer:
    """Inserts, flushes and verifies.

    Args:
        engine: The collections.
        spaces: The spaces, by name.
        batch: Nodes in one request.
        barriers: Objects of a barrier, enough to reach every shard.
    """

    def __init__(self, engine: Engine, spaces: Mapping[str, Space], batch: int, barriers: int) -> None:
        self._engine = engine
        self._searchable = [space for space in spaces.values() if space.searchable]
        self._batch = batch
        self._barriers = barriers
        self._open_cuts: list[Cut] = []  # of inserts that failed for good; closed by the next that does not
        self._closing = Lock()

    def insert(self, nodes: Sequence[Prepared], generation: str) -> dict[str, str]:
        """Store nodes in one generation.

        Returns:
            Id and reason of the nodes that the server refused; the others are stored.

        Raises:
            StoreError: the server cannot be written to.
        """
        failed: dict[str, str] = {}
        for part in self._batches(nodes):
            refused = self._insert([node.object(generation) for node in part])
            failed |= {part[index].id: reason for index, reason in refused.items()}
        return failed

    def _insert(self, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        """One batch. What may have been cut off on its way is deleted and written again."""
        cuts: list[Cut] = []
        try:
            refused = self._stored(objects, cuts)
            self._check_writable(refused.values())
            return self._again(objects, refused, cuts)
        finally:
            with self._closing:
                self._open_cuts += cuts

    def _stored(self, objects: Sequence[DataObject[Any, Any]], cuts: list[Cut]) -> dict[int, str]:
        for attempt in range(_ATTEMPTS):
            try:
                return self._engine.insert(objects) if not attempt else self._insert_anew(objects, cuts)
            except StoreError as error:
                cut = error
        raise cut

    def _again(
        self, objects: Sequence[DataObject[Any, Any]], refused: dict[int, str], cuts: list[Cut]
    ) -> dict[int, str]:
        """Once more those that were refused for a reason that passes."""
        passing = [i for i, reason in refused.items() if any(word in reason.lower() for word in _PASSING)]
        if not passing:
            return refused
        again = self._insert_anew([objects[i] for i in passing], cuts)
        kept = {i: reason for i, reason in refused.items() if i not in set(passing)}
        return kept | {passing[i]: reason for i, reason in again.items()}

    def _insert_anew(self, objects: Sequence[DataObject[Any, Any]], cuts: list[Cut]) -> dict[int, str]:
        """Insert what was cut off; other writers are told, as they may have linked theirs to it meanwhile.

        Args:
            objects: A batch.
            cuts: Of the batch, as far as they are open; other batches may be cut off at the same time.
        """
        uuids: list[uuid.UUID] = [o.uuid for o in objects]  # type: ignore[misc]
        self._engine.connection.wait_ready()
        cut = Cut(uuid.uuid4().hex, owner())
        cuts.append(cut)
        self._engine.write_rows([cut.row()])
        self.settle([Filter.by_id().contains_any(uuids)])
        self._engine.delete_each(uuids)
        self._engine.write_rows([cuts_row()])
        self._close(cuts)
        return self._engine.insert(objects)

    def _close(self, cuts: list[Cut]) -> None:
        """Tell that cuts are mended, with those of inserts that failed for good."""
        with self._closing:
            self._engine.delete_rows([one.uuid for one in (*cuts, *self._open_cuts)])
            self._open_cuts.clear()
        cuts.clear()

    def _check_writable(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            if self._engine.connection.concerns_all(reason):
                raise self._engine.connection.refusal(reason)

    def settle(self, batch: Sequence[Condition]) -> None:
        """Wait until a batch that was cut off no longer grows: the server may go on with it."""
        end = time.monotonic() + self._engine.connection.timeout_s
        before, same = -1, 0
        while batch and same < _STEADY and time.monotonic() < end:
            count = sum(map(self._engine.count, batch))
            same = same + 1 if count == before else 0
            before = count
            time.sleep(_PAUSE_S)

    def _batches(self, nodes: Sequence[Prepared]) -> Iterator[list[Prepared]]:
        part: list[Prepared] = []
        size = 0
        for node in nodes:
            bytes_of = sum(v.nbytes for v in node.vectors.values()) + sum(
                len(v) for v in node.properties.values() if isinstance(v, str)
            )
            if part and (len(part) >= self._batch or size + bytes_of > MOST_BYTES):
                yield part
                part, size = [], 0
            part.append(node)
            size += bytes_of
        if part:
            yield part

    # Making sure ------------------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Flush the logs of the vector indexes: a write without vectors, with a value that changes."""
        objects = [
            DataObject(
                uuid=row_uuid("barrier", str(i)), properties={NODE_ID: uuid.uuid4().hex, GENERATION: BARRIER}, vector={}
            )
            for i in range(self._barriers)
        ]
        for reason in self._insert(objects).values():
            raise StoreError(f"Weaviate refuses the barrier write: {reason}")

    def verify(self, expected: Objects, whole: Condition = False) -> Objects:
        """Find every object through every vector index that it belongs to; mend those that are not found.

        Args:
            expected: For each space the objects that have a vector in it.
            whole: See `lost`.

        Returns:
            The same, with the new ids of those that were mended.

        Raises:
            StoreError: some stay lost.
        """
        self.barrier()
        for _ in range(_ATTEMPTS):
            lost = self.lost(expected, whole)
            if not lost:
                return expected
            expected = renamed(expected, self.mend(lost))
        raise StoreError(
            f"{len(lost)} nodes are stored, but Weaviate's vector index does not return them, even after writing "
            "them again.",
            "Look at the server's log.",
        )

    def lost(self, expected: Objects, whole: Condition = False) -> set[uuid.UUID]:
        """Objects that a vector index does not return.

        Args:
            expected: For each space the objects that have a vector in it.
            whole: Holds for these objects and for no others, where that can be said: then it is enough to count them.
        """
        spaces = [space for space in self._searchable if expected.get(space.name)]
        with ThreadPoolExecutor(_BESIDE, "sensorium-verify") as pool:
            there = pool.map(lambda space: self._all_there(space, len(expected[space.name]), whole), spaces)
            left = [space for space, well in zip(spaces, there, strict=True) if not well]
            asked = [(space, ids) for space in left for ids in pages(expected[space.name])]
            return set[uuid.UUID]().union(*pool.map(lambda one: self._lost(*one), asked))

    def _all_there(self, space: Space, count: int, whole: Condition) -> bool:
        # Vectors of many hits of a multi-vector space are compared exactly, which takes long.
        if whole is False or count >= (_PAGE if space.multi else MOST):
            return False
        # One more than there should be, to see whether there is anything else.
        return count == self._engine.count_near(space, _anywhere(space), count + 1, whole)

    def _lost(self, space: Space, ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
        found = self._engine.near(space, _anywhere(space), len(ids), Filter.by_id().contains_any(list(ids)), [])
        return set(ids) - {f.uuid for f in found}

    def reach(self, expected: Objects, told: bool = True) -> tuple[Objects, set[uuid.UUID]]:
        """Find every object by its own vector; write those again that are not found.

        An insert that is cut off leaves objects that are linked in the upper layers of an HNSW graph and not in the
        lowest one. Until they are deleted, searches that get to one of them end there, and so do inserts, which look
        for neighbours: what they write then is in the index, so that filters find it (`lost`), but nothing leads
        there. So where an insert was cut off (`manifest.Cut`), this looks after what was written meanwhile.

        Weaviate 1.38.11: `hnsw.addOne` registers an object before it has links, `neighborFinderConnector.Do` links it
        from the top layer down, and both stop when the request ends. No public issue was found; when a cut insert no
        longer leaves such objects, the test of it (`leave_half_linked`) fails, and this can go.

        Args:
            expected: For each space the objects that have a vector in it; some may not be stored.
            told: Whether somebody may have been told of the objects, so that a kill must not lose any.

        Returns:
            The objects, with the new ids of those that were written again, and which are still not found.
        """
        again = self.mend if told else self.rewrite
        for attempt in range(_REWRITES):
            missing = self.unreached(expected if attempt < _ATTEMPTS else self._exact(expected))
            if not missing:
                return expected, missing
            time.sleep(_PAUSE_S * _STEADY)  # another writer may be about to delete what is in the way
            expected = renamed(expected, again(missing))
        return expected, self.unreached(self._exact(expected))

    def _exact(self, expected: Objects) -> Objects:
        """Without multi-vector spaces: MUVERA finds candidates roughly, and may miss even what is linked well."""
        exact = {space.name for space in self._searchable if not space.multi}
        return {name: ids for name, ids in expected.items() if name in exact}

    def unreached(self, expected: Objects) -> set[uuid.UUID]:
        """Objects that a search by their own vector, without filters, does not return, though less near ones are.

        Also those for which it returns fewer than there are: they are where searches end.
        """
        missing: set[uuid.UUID] = set()
        with ThreadPoolExecutor(_BESIDE, "sensorium-verify") as pool:
            for space in self._searchable:
                if space.options.get("index") == "flat" or not expected.get(space.name):
                    continue
                name, limit = vector_name(space.name), _NEAR_MULTI if space.multi else _NEAR
                there = self._engine.count(Filter.by_property(TAGS).contains_any([space_token(space.name)]))
                look = partial(self._reached, space, limit, min(limit, there))
                part = max(1, _PART_BYTES // (4 * space.dimension * (_TOKENS if space.multi else 1)))
                for ids in pages(expected[space.name], min(part, _PAGE)):
                    found = self._engine.find(Filter.by_id().contains_any(list(ids)), [], [name])
                    reached = pool.map(look, [as_vector(f.vectors[name]) for f in found], [f.id for f in found])
                    missing |= {f.uuid for f, well in zip(found, reached, strict=True) if not well}
        return missing

    def _reached(self, space: Space, limit: int, enough: int, vector: Vector, one: str) -> bool:
        hits = self._engine.near(space, np.atleast_2d(vector), limit, True, [])
        if len(hits) < enough:
            return False
        # Of more objects than these that are as near, any may be returned.
        return one in {hit.id for hit in hits} or hits[-1].score >= self_similarity(space, vector) - _TIED

    def mend(
        self, uuids: Iterable[uuid.UUID], change: Callable[[Found], Mapping[str, Any]] | None = None
    ) -> dict[uuid.UUID, uuid.UUID]:
        """Write stored objects again as they are, under new ids; only then does Weaviate index them.

        The old ones go when the new ones are there, so that a kill in between loses nothing.

        Args:
            uuids: Of the objects.
            change: Gives properties that are to be other than they are.

        Returns:
            New id by old id; without those that are not stored.
        """
        copied: dict[uuid.UUID, uuid.UUID] = {}
        for found in self._whole(uuids):
            copied |= self._write_copies(found, [_copy(f, change(f) if change else {}) for f in found])
        self.barrier()
        self._engine.delete_each(list(copied))
        return copied

    def rewrite(self, uuids: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        """Delete stored objects and write them again as they are, under new ids.

        Objects that hang only on each other lead whatever is written near them astray, so they have to go first; of
        many, a batch at a time, so that it may take another round. A kill in between loses them: this is for what
        nobody was told of yet.

        Args:
            uuids: Of the objects.

        Returns:
            New id by old id; without those that are not stored.
        """
        copied: dict[uuid.UUID, uuid.UUID] = {}
        for found in self._whole(uuids):
            self._engine.delete_each([f.uuid for f in found])
            copied |= self._write_copies(found, [_copy(f, {}) for f in found])
        self.barrier()
        return copied

    def _whole(self, uuids: Iterable[uuid.UUID]) -> Iterator[list[Found]]:
        """Objects with all that belongs to them, a batch at a time; also such as filters do not find."""
        properties = [p.name for p in self._engine.data.config.get(simple=True).properties]
        vectors = named_vectors(self._searchable)
        for ids in pages(sorted(uuids), self._batch):
            found = self._engine.find(Filter.by_id().contains_any(list(ids)), properties, vectors)
            hidden = set(ids) - {f.uuid for f in found}
            yield [*found, *(f for one in hidden for f in self._engine.by_uuid(one, properties, vectors))]

    def _write_copies(
        self, found: Sequence[Found], copies: Sequence[DataObject[Any, Any]]
    ) -> dict[uuid.UUID, uuid.UUID]:
        """Write copies of objects; their ids by those of the objects."""
        # A copy that somebody left when he was killed may be half indexed, and writing it again changes nothing.
        self._engine.delete_each([copy.uuid for copy in copies])  # type: ignore[misc]
        for reason in self._insert(copies).values() if copies else ():
            raise StoreError(f"A node that was to be mended is refused by Weaviate: {reason}", "Index again.")
        return {f.uuid: copy.uuid for f, copy in zip(found, copies, strict=True)}  # type: ignore[misc]


def _copy(found: Found, changed: Mapping[str, Any]) -> DataObject[Any, Any]:
    properties = {**found.properties, **changed}
    return DataObject(
        uuid=uuid.uuid5(found.uuid, "mended"),
        properties={name: value for name, value in properties.items() if value is not None},
        vector={name: vector for name, vector in found.vectors.items() if len(vector)},
    )


def _anywhere(space: Space) -> Vector:
    """Some vector of a space; a search for as many hits as there are finds all, wherever it begins."""
    vector = np.zeros((1, space.dimension), dtype=np.float32)
    vector[0, 0] = 1.0
    return vector


def self_similarity(space: Space, vector: Vector) -> float:
    """How similar a search by its own vector finds an object: in the unit of `Found.score`."""
    rows = np.atleast_2d(vector)
    if space.distance != "dot":
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return float((rows @ rows.T).max(axis=1).mean())


def renamed(expected: Objects, new: Mapping[uuid.UUID, uuid.UUID]) -> dict[str, list[uuid.UUID]]:
    """Objects by space, with the new ids of those that were mended."""
    return {space: [new.get(one, one) for one in ids] for space, ids in expected.items()}


def pages(values: Sequence[_T], size: int = _PAGE) -> Iterator[Sequence[_T]]:
    """Parts of a sequence."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
