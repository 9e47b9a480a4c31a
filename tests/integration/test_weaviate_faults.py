"""Faults in the middle of a write: nothing lost, torn, or stored and never found. Kills: `test_weaviate_kills`."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from numpy.typing import NDArray
from tests.integration.weaviate_case import SPACES, open_store, proxied, publish, version, versions
from weaviate.classes.data import DataObject

from sensorium.errors import PartialWriteError, StoreError
from sensorium.stores._weaviate.manifest import Cut, of_generation, of_source
from sensorium.stores._weaviate.names import BARRIER, doc_key, first_generation
from sensorium.stores._weaviate.process import owner
from sensorium.stores._weaviate.stage import WeaviateStage
from sensorium.stores._weaviate.where import Condition
from sensorium.stores.base import SourceRecord, Space
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.stores.case import raises
from sensorium.testing.weaviate import WeaviateServer

NODES = 60


def swept(store: WeaviateStore) -> None:
    """Wait until nothing that was left behind remains."""

    def clean() -> bool:
        store._parts.sweep(now=True)
        return not store._parts.generations.read().updates

    wait_for(clean)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_connection_cut_in_the_middle_of_a_batch(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The batch is deleted and written again; the caller notices nothing."""
    with proxied(weaviate_server) as proxy:
        store = open_store(weaviate_server, collection_name, grpc=proxy.address, batch=500)
        for number in range(1, 4):
            proxy.cut_after = proxy.bytes_up + 20_000 * number
            publish(store, "doc", number, 300)
            assert versions(store, "doc") == {number: 300}
        nodes, vectors = version("free", 1, 300)
        proxy.cut_after = proxy.bytes_up + 30_000
        store.add(nodes, vectors=vectors)
        assert store.count() == 600
        assert store.verify().sound
        store.close()


def test_insert_deadlines_that_pass(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The old version stays; what was stored without being indexed is cleared away or mended."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    store.close()
    hasty = open_store(weaviate_server, collection_name, timeout_s=1, insert_timeout_s=0.05, batch=2000)
    nodes, vectors = version("doc", 2, 1500)
    with raises(StoreError, "weaviate"), hasty.stage("doc") as stage:
        stage.add(nodes, vectors)
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 1500}))
    free, their = version("free", 3, 800)
    with raises(StoreError, "weaviate"):
        hasty.add(free, vectors=their)
    hasty.close()
    store = open_store(weaviate_server, collection_name, timeout_s=1)
    assert versions(store, "doc") == {1: NODES}
    swept(store)
    assert versions(store, "doc") == {1: NODES}
    found = store.verify()
    assert found.sound, found.public()
    assert found.nodes == store.count()
    store.close()


@pytest.fixture
def two_stores(weaviate_server: WeaviateServer, collection_name: str) -> Iterator[tuple[WeaviateStore, WeaviateStore]]:
    """Two stores on one index."""
    store, other = (open_store(weaviate_server, collection_name) for _ in range(2))
    yield store, other
    store.close()
    other.close()


def test_nodes_that_are_added_again_while_another_looks_after_them(
    two_stores: tuple[WeaviateStore, WeaviateStore],
    weaviate_server: WeaviateServer,
    collection_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who mends deletes what is added anew, and who adds deletes what was mended, unless one waits for the other."""
    nodes, vectors = version("free", 1, 800)
    store, other = two_stores
    for attempt in range(1, 8):
        hasty = open_store(weaviate_server, collection_name, timeout_s=1, insert_timeout_s=0.03 * attempt, batch=2000)
        with raises(StoreError, "weaviate"):
            hasty.add(nodes, vectors=vectors)
        hasty.close()
        if store._parts.engine.count(True) > 400:
            break
    mending, added, barrier = Event(), Event(), other._parts.writer.barrier

    def before_the_old_ones_go() -> None:
        mending.set()
        added.wait(6.0)
        barrier()

    monkeypatch.setattr(other._parts.writer, "barrier", before_the_old_ones_go)
    with ThreadPoolExecutor() as pool:
        cleared = pool.submit(other._parts.sweep, now=True)
        assert mending.wait(30.0), "the addition left nothing to mend"
        store.add(nodes, vectors=vectors)
        added.set()
        cleared.result()
    assert sorted(node.node_id for node in store.get_nodes()) == sorted(node.node_id for node in nodes)
    found = store.verify()
    assert found.sound, found.public()


def leave_an_addition(store: WeaviateStore) -> tuple[list[BaseNode], Mapping[str, NDArray[np.float32]]]:
    """Add nodes, and leave them as who failed before they were made sure of."""
    nodes, vectors = version("free", 1, 40)
    store.add(nodes, vectors=vectors)
    free = of_generation(first_generation(doc_key("free")))
    left = store._parts.generations.announce({"text": [f.uuid for f in store._parts.engine.find(free, [])]})
    store._parts.generations.leave(left)
    return nodes, vectors


def test_looking_after_nodes_that_fails_is_left_to_the_next(
    two_stores: tuple[WeaviateStore, WeaviateStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = two_stores
    nodes, vectors = leave_an_addition(store)

    def fails(_: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr(other._parts.writer, "reach", fails)
    other._parts.sweep(now=True)
    store.add(nodes, vectors=vectors)
    assert not store._parts.generations.read().updates
    assert store.count() == 40


def test_what_another_store_of_the_process_looks_after_is_left_to_it(
    two_stores: tuple[WeaviateStore, WeaviateStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = two_stores
    leave_an_addition(store)
    reach, asked = other._parts.writer.reach, []

    def meanwhile(expected: Mapping[str, Sequence[uuid.UUID]]) -> object:
        asked.append(store._parts.generations.left(store._parts.generations.read()))
        return reach(expected)

    monkeypatch.setattr(other._parts.writer, "reach", meanwhile)
    other._parts.sweep(now=True)
    assert asked == [[]]
    assert not store._parts.generations.read().updates
    assert store.count() == 40


def test_a_mended_node_is_added_again_and_mended_again(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the id that its old copy has, which is not to be deleted then."""
    store = open_store(weaviate_server, collection_name)
    nodes, vectors = version("free", 1, 40)
    store.add(nodes, vectors=vectors)
    writer = store._parts.writer
    free = of_generation(first_generation(doc_key("free")))
    writer.mend([f.uuid for f in store._parts.engine.find(free, [])])
    lost, times = writer.lost, iter([True])

    def all_at_first(expected: Mapping[str, Sequence[uuid.UUID]], whole: Condition = False) -> set[uuid.UUID]:
        return {i for ids in expected.values() for i in ids} if next(times, False) else lost(expected, whole)

    monkeypatch.setattr(writer, "lost", all_at_first)
    store.add(nodes, vectors=vectors)
    assert store.count() == 40
    assert sorted(node.node_id for node in store.get_nodes()) == sorted(node.node_id for node in nodes)
    assert store.verify().sound
    store.close()


def test_what_the_index_lost_is_found_and_mended(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Objects that were stored by an insert that was cut off, and that nobody looked after."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    for attempt in range(1, 8):
        hasty = open_store(weaviate_server, collection_name, insert_timeout_s=0.2 * attempt)
        nodes, vectors = version("free", attempt, 2000)
        objects = [node.object(first_generation(doc_key("free"))) for node in hasty._parts.prepare(nodes, vectors)]
        with suppress(StoreError):
            hasty._parts.engine.insert(objects)
        hasty.close()
        store._parts.writer.settle([True])
        if store.verify().left:
            break
    found = store.verify(repair=True)
    assert found.found, "no insert was cut off in the middle"
    assert found.sound, found.public()
    after = store.verify()
    assert after.sound, after.public()
    assert after.nodes == found.nodes == store.count()
    assert len({n.node_id for n in store.get_nodes()}) == after.nodes
    store.close()


def test_counting_tells_that_something_is_lost(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Where a whole generation is looked for, its nodes are only counted at first."""
    store = open_store(weaviate_server, collection_name)
    engine, writer = store._parts.engine, store._parts.writer
    nodes, vectors = version("doc", 1, 2000)
    prepared = store._parts.prepare(nodes, vectors)
    generation = store._parts.generations.begin("doc").generation
    whole = of_generation(generation)
    lost: set[uuid.UUID] = set()
    for attempt in range(1, 9):
        hasty = open_store(weaviate_server, collection_name, insert_timeout_s=0.2 * attempt)
        with suppress(StoreError):
            hasty._parts.engine.insert([node.object(generation) for node in prepared])
        hasty.close()
        writer.settle([whole])
        stored = [f.uuid for f in engine.find(whole, [])]
        expected = dict.fromkeys((space.name for space in SPACES), stored)
        lost = writer.lost(expected)
        assert writer.lost(expected, whole) == lost
        if lost:
            break
        engine.delete_where(whole)
    assert lost, "no insert was cut off in the middle"
    assert writer.lost(writer.verify(expected, whole), whole) == set()
    assert engine.count(whole) == len(stored)
    store.close()


def test_what_is_all_there_is_only_counted(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in multi-vector, quantised and flat spaces."""
    spaces = [
        SPACES[0], Space("quantised", 16, "r", options={"quantisation": "rq"}),
        Space("flat", 16, "r", options={"index": "flat"}), Space("pages", 8, "r", multi=True),
    ]  # fmt: skip
    store = open_store(weaviate_server, collection_name, spaces=spaces)
    nodes, _ = version("doc", 1, 40)
    rng = np.random.default_rng(1)
    vectors: dict[str, list[NDArray[np.float32]]] = {
        s.name: list(rng.normal(size=(40, 3, 8) if s.multi else (40, 16)).astype(np.float32)) for s in spaces
    }

    def one_by_one(*asked: object) -> set[uuid.UUID]:
        raise AssertionError("nodes are looked for one by one")

    monkeypatch.setattr(store._parts.writer, "_lost", one_by_one)
    with store.stage("doc") as stage:
        stage.add(nodes, vectors)
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 40}))
    assert versions(store, "doc") == {1: 40}
    store.close()


def test_writing_again_what_is_staged_keeps_all_of_it(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """In more than one batch."""
    store = open_store(weaviate_server, collection_name, batch=15)
    publish(store, "doc", 1, 40)
    writer, engine = store._parts.writer, store._parts.engine
    before = {f.uuid for f in engine.find(of_source("doc"), [])}
    new = writer.rewrite(before)
    assert new.keys() == before
    assert {f.uuid for f in engine.find(of_source("doc"), [])} == set(new.values())
    assert versions(store, "doc") == {1: 40}
    assert store.verify().sound
    store.close()


def test_looking_after_added_nodes_loses_none_when_it_fails(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of nodes that are added again somebody may have been told before: their old objects go last."""
    store = open_store(weaviate_server, collection_name)
    nodes, vectors = version("free", 1, 20)
    store.add(nodes, vectors=vectors)
    parts = store._parts
    insert, calls = parts.engine.insert, iter([True])

    def only_the_first(objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        if all(o.properties["generation"] == BARRIER for o in objects) or next(calls, False):
            return insert(objects)
        raise StoreError("Weaviate is gone")

    monkeypatch.setattr(parts.engine, "insert", only_the_first)
    monkeypatch.setattr(parts.writer, "unreached", lambda expected: {i for ids in expected.values() for i in ids})
    parts.engine.write_rows([Cut("1", owner()).row()])  # an insert was cut off elsewhere
    with raises(StoreError, "is gone"):
        store.add(nodes, vectors=vectors)
    assert len(store.get_nodes([node.node_id for node in nodes])) == 20
    store.close()


def test_what_is_written_beside_an_insert_that_was_cut_off(
    weaviate_server: WeaviateServer, collection_name: str
) -> None:
    """An object that was linked by half is where searches and inserts end; what hangs on it is written again."""
    # The fewer connections, the more objects are in upper layers: with the default it takes minutes to catch one.
    spaces = [replace(space, options={"max_connections": 8}) for space in SPACES]
    store = open_store(weaviate_server, collection_name, spaces=spaces)
    publish(store, "doc", 1, 400)
    for number in range(2, 12):  # about one time in eight the graph leads around it
        cut = open_store(weaviate_server, collection_name, spaces=spaces)
        hung = published_beside_a_cut(store, cut, number)
        cut.close()
        assert versions(store, "doc") == {number: 400}
        found = store.verify()
        assert found.sound, found.public()
        if hung:
            break
    assert hung, "nothing that was written hung on what was cut off"
    store.close()


def published_beside_a_cut(store: WeaviateStore, cut: WeaviateStore, number: int) -> int:
    """Publish a version while another store leaves a half linked object; how many nodes hung on that."""
    nodes, vectors = version("doc", number, 400)
    with store.stage("doc") as stage:
        assert isinstance(stage, WeaviateStage)
        stage.add(nodes[:50], {space: rows[:50] for space, rows in vectors.items()})
        stage._write()
        dead = cut._parts.generations.begin("other")
        end = leave_half_linked(cut, dead.generation, number)
        # Readers leave out what is staged, so that the server compares what is left one by one: up to 40,000 objects.
        nearest = VectorStoreQuery(query_embedding=end.tolist(), similarity_top_k=10)
        assert len(store.query(nearest).ids or []) == 10
        vectors["text"][50:80] = vectors["text"][50:80] * 0.01 + end
        stage.add(nodes[50:], {space: rows[50:] for space, rows in vectors.items()})
        stage._write()
        stage._collect(0)
        hung = store._parts.writer.unreached(stage._written)
        cut._parts.generations.leave(dead)  # as who finds its writer dead does
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 400}))
    return len(hung)


def leave_half_linked(store: WeaviateStore, generation: str, seed: int) -> NDArray[np.float32]:
    """Cut inserts off until one leaves an object that searches get to, and from which nothing leads on.

    Returns:
        Its vector.
    """
    engine, rng = store._parts.engine, np.random.default_rng(seed)

    def ends_early(query: NDArray[np.float32]) -> bool:
        return len(engine.near(SPACES[0], query[None], 10, True, [])) < 10

    timeouts = store._connection.client._connection.timeout_config
    patient = timeouts.insert
    for attempt in range(300):
        nodes, vectors = version("other", attempt, 200)
        objects = [node.object(generation) for node in store._parts.prepare(nodes, vectors)]
        timeouts.insert = rng.uniform(0.03, 0.2)
        with suppress(StoreError):
            engine.insert(objects)
        timeouts.insert = patient
        vector: NDArray[np.float32]
        for vector in filter(ends_early, vectors["text"]):
            time.sleep(1.0)  # the server may still have been at it
            if ends_early(vector):
                return vector
        engine.delete_where(of_generation(generation))
    pytest.fail("no insert left anything half linked")


def test_refused_objects_are_named(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in ten nodes is refused by the server: the others are stored and found."""
    store = open_store(weaviate_server, collection_name, batch=15)
    nodes, vectors = version("doc", 1, 40)
    prepare = store._parts.prepare

    def spoiled(*arguments: object) -> list[object]:
        prepared = prepare(*arguments)  # type: ignore[arg-type]
        for node in prepared[::10]:
            node.properties["kind"] = 3  # type: ignore[index]
        return list(prepared)

    monkeypatch.setattr(store._parts, "prepare", spoiled)
    with raises(PartialWriteError, "4 of 40", "doc-1-0") as caught:
        store.add(nodes, vectors=vectors)
    error = caught[0]
    assert isinstance(error, PartialWriteError)
    assert sorted(error.failed) == [f"doc-1-{i}" for i in (0, 10, 20, 30)]
    assert len(error.stored) == store.count() == 36
    with raises(PartialWriteError, "doc-2-0"), store.stage("doc") as stage:
        again, theirs = version("doc", 2, 40)
        stage.add(again, theirs)
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 36}))
    assert store.count() == 36
    assert store.verify().sound
    store.close()
