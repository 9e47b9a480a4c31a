"""What the Weaviate store can do beyond the contract: options, tenants, declared fields, several machines."""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, VectorStoreQuery
from tests.integration.weaviate_case import SPACES, open_store, publish, version, versions

from sensorium.errors import DataVersionError, SpaceError, StoreError
from sensorium.stores import STORES
from sensorium.stores._weaviate import generations, manifest, names, schema
from sensorium.stores._weaviate.generations import FRESH_S
from sensorium.stores.base import Scored, Space, Store
from sensorium.stores.sqlite import SqliteStore
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.stores import filtering
from sensorium.testing.stores.case import MODE, group, only, plain, raises, random_vectors
from sensorium.testing.weaviate import WeaviateServer

OP = FilterOperator


def ids(found: Sequence[Scored]) -> list[str]:
    return [s.node_id for s in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"index": "flat"},
        {"quantisation": "rq"},
        {"quantisation": "rq", "bits": 1, "rescore_limit": 50},
        {"index": "flat", "quantisation": "bq", "rescore_limit": 50},
        {"quantisation": "sq"},
        {"ef": 200, "ef_construction": 256, "max_connections": 16, "flat_search_cutoff": 100},
    ],
)
def test_vector_indexes(weaviate_server: WeaviateServer, collection_name: str, options: dict[str, Any]) -> None:
    """Each finds the nearest nodes, and says in `status` what it is."""
    store = open_store(weaviate_server, collection_name, spaces=[Space("text", 64, "r", options=options)])
    vectors = random_vectors(200, 1, 64)
    store.add([plain(f"n{i}") for i in range(200)], vectors={"text": vectors})
    found = ids(store.search(VectorStoreQuery(query_embedding=vectors[7].tolist(), similarity_top_k=3)))
    assert found[0] == "n7"
    assert store.status()["spaces"]["text"].items() >= options.items()
    store.close()


def test_late_interaction_with_and_without_muvera(weaviate_server: WeaviateServer, collection_name: str) -> None:
    spaces = [Space("text", 8, "r", multi=True), Space("plain", 8, "r", multi=True, options={"encoding": "none"})]
    store = open_store(weaviate_server, collection_name, spaces=spaces)
    documents = [random_vectors(4, i, 8) for i in range(50)]
    store.add([plain(f"n{i}") for i in range(50)], vectors={"text": documents, "plain": documents})
    for space in ("text", "plain"):
        query = VectorStoreQuery(embedding_field=space, similarity_top_k=5)
        found = store.search(query, matrix=documents[9])
        assert found[0].node_id == "n9"
        assert found[0].score == pytest.approx(1.0, abs=1e-5)
    store.close()


def test_options_that_can_change_later(weaviate_server: WeaviateServer, collection_name: str) -> None:
    store = open_store(weaviate_server, collection_name, spaces=[Space("text", 8, "r")])
    vectors = random_vectors(50, 1, 8)
    store.add([plain(f"n{i}") for i in range(50)], vectors={"text": vectors})
    store.close()
    for options in ({"ef": 300}, {"ef": 300, "quantisation": "rq"}):
        store = open_store(weaviate_server, collection_name, spaces=[Space("text", 8, "r", options=options)])
        assert ids(store.search(VectorStoreQuery(query_embedding=vectors[3].tolist(), similarity_top_k=1))) == ["n3"]
        store.close()
    with raises(SpaceError, "flat", "index again"):
        open_store(weaviate_server, collection_name, spaces=[Space("text", 8, "r", options={"index": "flat"})])


def test_tenants_are_apart(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Nodes, ledger, statistics and `clear`."""
    one = open_store(weaviate_server, collection_name, tenant="one")
    two = open_store(weaviate_server, collection_name, tenant="two")
    publish(one, "doc", 1)
    publish(two, "doc", 2, 30)
    assert versions(one, "doc") == {1: 60}
    assert versions(two, "doc") == {2: 30}
    assert one.document_frequency(["common"]) == {"common": 60}
    two.clear()
    assert (one.count(), two.count()) == (60, 0)
    assert list(two.sources()) == []
    assert one.status()["tenants"] == ["one", "two"]
    assert one.verify().sound
    for store in (one, two):
        store.close()


@pytest.mark.parametrize("consistency", ["one", "quorum", "all"])
def test_consistency_levels(weaviate_server: WeaviateServer, collection_name: str, consistency: str) -> None:
    store = open_store(weaviate_server, collection_name, consistency=consistency)
    publish(store, "doc", 1)
    assert versions(store, "doc") == {1: 60}
    store.close()


def test_server_side_fusion(weaviate_server: WeaviateServer, collection_name: str) -> None:
    store = open_store(weaviate_server, collection_name, fusion="server")
    publish(store, "doc", 1)
    _, vectors = version("doc", 1, 60)
    query = VectorStoreQuery(
        query_embedding=vectors["text"][5].tolist(), query_str="word5", mode=MODE.HYBRID, similarity_top_k=3
    )
    found = store.search(query)
    assert found[0].node_id == "doc-1-5"
    assert found[0].score == pytest.approx(1.0)
    store.close()


def test_hybrid_is_that_of_the_embedded_store(
    weaviate_server: WeaviateServer, collection_name: str, tmp_path: Any
) -> None:
    """Same scores for dense search, same order for both where BM25 sees one text."""
    stores: list[Store] = [
        open_store(weaviate_server, collection_name, spaces=SPACES[:1]),
        SqliteStore(data=tmp_path, spaces=SPACES[:1]),
    ]
    nodes, vectors = version("doc", 1, 60)
    for store in stores:
        store.add(nodes, vectors={"text": vectors["text"]})
    for mode in (MODE.DEFAULT, MODE.TEXT_SEARCH, MODE.HYBRID, MODE.MMR):
        query = VectorStoreQuery(
            query_embedding=vectors["text"][5].tolist(), query_str="word5 word9", mode=mode, similarity_top_k=10,
            mmr_threshold=0.8,
        )  # fmt: skip
        ours, theirs = (store.search(query) for store in stores)
        assert ids(ours) == ids(theirs)
        if mode in (MODE.DEFAULT, MODE.MMR):
            assert np.allclose([s.score for s in ours], [s.score for s in theirs], atol=1e-5)
    for store in stores:
        store.close()


def test_declared_fields_are_compared_by_the_server(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Order and parts of text, without looking at other nodes."""
    fields = {"price": "number", "name": "text"}
    store = open_store(weaviate_server, collection_name, filter_fields=fields)
    words = ["Straße", "a*b", " blank ", "ÜBER\nline", "plain", "", 7, None]
    store.add([plain(f"n{i}", price=i * 1.5, name=word) for i, word in enumerate(words)])
    for operator, value, expected in (
        (OP.TEXT_MATCH, "raß", [0]), (OP.TEXT_MATCH_INSENSITIVE, "STRAß", [0]), (OP.TEXT_MATCH, "*", [1]),
        (OP.TEXT_MATCH, " ", [2]), (OP.TEXT_MATCH, "R\nl", [3]), (OP.TEXT_MATCH_INSENSITIVE, "über", [3]),
        (OP.TEXT_MATCH, "", [0, 1, 2, 3, 4, 5]), (OP.GT, "b", [3, 4]), (OP.IS_EMPTY, None, [5, 7]), (OP.EQ, 7, [6]),
        (OP.EQ, " blank ", [2]), (OP.NE, "plain", [0, 1, 2, 3, 5, 6, 7]),
    ):  # fmt: skip
        found = store.get_nodes(filters=only("name", value, operator))
        assert [n.node_id for n in found] == sorted(f"n{i}" for i in expected), (operator, value)
    found = store.get_nodes(filters=only("price", 4.5, OP.LTE))
    assert [n.node_id for n in found] == ["n0", "n1", "n2", "n3"]
    store.close()


@pytest.mark.parametrize(("key", "fields"), [("page", {}), ("price", {"price": "number"}), ("name", {"name": "text"})])
def test_filters_on_declared_fields_mean_what_the_reference_says(
    weaviate_server: WeaviateServer, collection_name: str, key: str, fields: dict[str, str]
) -> None:
    """All operators over values of all types, alone and in nested groups."""
    store = open_store(weaviate_server, collection_name, spaces=SPACES[:1], filter_fields=fields)
    metadata: dict[str, dict[str, Any]] = {f"v{i:03d}": {key: value} for i, value in enumerate(filtering.VALUES)}
    metadata["missing"] = {"other": 1}
    store.add([TextNode(id_=node_id, text="word", metadata=values) for node_id, values in metadata.items()])
    pool = list(filtering.leaves(key))
    rng = random.Random(3)
    for filters in [group(FilterCondition.AND, leaf) for leaf in pool] + [filtering.tree(rng, pool, 3) for _ in pool]:
        filtering.check(store, metadata, filters)
    store.close()


def test_a_field_that_is_declared_later(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Filters stay right; `status` says that they are slow; a repair fills the field, and takes vectors along."""
    store = open_store(weaviate_server, collection_name)
    vectors = {"text": random_vectors(3, 1, 16)}
    store.add([plain("old", price=3), plain("odd", price="3 "), plain("other", color=3)], vectors=vectors)
    publish(store, "published", 1)
    store.close()
    store = open_store(weaviate_server, collection_name, filter_fields={"price": "number"})
    store.add([plain("new", price=5)])
    assert [n.node_id for n in store.get_nodes(filters=only("price", 2, OP.GT))] == ["new", "old"]
    (warning,) = store.status()["warnings"]
    assert "price" in warning
    assert "sensorium status --repair" in warning
    before = {n.node_id: n.to_dict() for n in store.get_nodes()}
    assert store.verify().found == ()
    assert store.verify(repair=True).sound
    assert store.status()["warnings"] == []
    assert store._parts.fields["price"] == "number"
    assert {n.node_id: n.to_dict() for n in store.get_nodes()} == before
    for one in (store, open_store(weaviate_server, collection_name, filter_fields={"price": "number"})):
        assert [n.node_id for n in one.get_nodes(filters=only("price", 2, OP.GT))] == ["new", "old"]
        query = VectorStoreQuery(query_embedding=vectors["text"][0].tolist(), filters=only("price", 3))
        assert ids(one.search(query)) == ["old"]
        assert one.verify().sound
        one.close()
    with raises(StoreError, "price", "another type"):
        open_store(weaviate_server, collection_name, filter_fields={"price": "text"})


def test_a_space_that_is_added_later_has_its_options(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The collection gets a named vector of its own, of any kind, and a property for one that is only kept."""
    store = open_store(weaviate_server, collection_name, spaces=SPACES[:1])
    store.add([plain("a")], vectors={"text": random_vectors(1, 1, 16)})
    store.close()
    late = Space("late", 8, "r", multi=True, options={"quantisation": "rq"})
    more = [*SPACES[:1], late, Space("kept", 4, "r", searchable=False)]
    store = open_store(weaviate_server, collection_name, spaces=more)
    assert store.incomplete == {"late", "kept"}
    matrix = random_vectors(3, 2, 8)
    store.add(
        [plain("a")], vectors={"text": random_vectors(1, 1, 16), "late": [matrix], "kept": random_vectors(1, 3, 4)}
    )
    store.completed()
    query = VectorStoreQuery(embedding_field="late", similarity_top_k=3)
    assert ids(store.search(query, matrix=matrix)) == ["a"]
    assert set(store.vectors(["a"], "kept")) == {"a"}
    assert store.verify().sound
    assert store.status()["spaces"]["late"]["quantisation"] == "rq"
    store.close()


def test_a_newer_format_is_refused(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FORMAT", 99)
    open_store(weaviate_server, collection_name).close()
    monkeypatch.undo()
    with raises(DataVersionError, "99", "update"):
        open_store(weaviate_server, collection_name)


def test_a_second_machine_sees_the_same(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Sources at once; nodes, counts and statistics a moment later, and until then all of them as they were."""
    writer, reader = (open_store(weaviate_server, collection_name) for _ in range(2))
    for number in range(1, 4):
        publish(writer, "doc", number)
        assert versions(writer, "doc") == {number: 60}
        assert versions(reader, "doc") in ({number - 1: 60} if number > 1 else {}, {number: 60})
        time.sleep(FRESH_S)
        assert versions(reader, "doc") == {number: 60}
        assert reader.source("doc") == writer.source("doc")
        assert reader.document_frequency(["common"]) == {"common": 60}
        assert list(reader.sources()) == list(writer.sources())
    writer.remove_source("doc")
    time.sleep(FRESH_S)
    assert reader.count() == 0
    assert reader.search(VectorStoreQuery(query_embedding=[1.0] * 16)) == []
    for store in (writer, reader):
        store.close()


def test_a_publication_whose_last_write_is_missing_is_finished(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer dies between making a version visible and writing the source's own row."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)

    def die(self: manifest.Head) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest.Head, "row", die)
    with pytest.raises(KeyboardInterrupt):
        publish(store, "doc", 2)
    monkeypatch.undo()
    other = open_store(weaviate_server, collection_name, timeout_s=0.5)
    for one in (store, other):
        assert versions(one, "doc") == {2: 60}
        record = one.source("doc")
        assert record is not None
        assert record.sha256 == "2"
        assert [r.sha256 for r in one.sources()] == ["2"]
    assert other.verify().sound
    for one in (store, other):
        one.close()


def test_a_first_publication_whose_writer_died_before_its_last_request(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It retires nothing, and its row is still there."""
    store = open_store(weaviate_server, collection_name)
    delete_rows = store._parts.engine.delete_rows

    def die(uuids: Sequence[UUID]) -> None:
        if store._parts.generations._committed:
            raise KeyboardInterrupt
        delete_rows(uuids)

    monkeypatch.setattr(store._parts.engine, "delete_rows", die)
    with pytest.raises(KeyboardInterrupt):
        publish(store, "doc", 1)
    monkeypatch.undo()
    monkeypatch.setattr(generations.Generations, "_old", lambda self, update: True)
    other = open_store(weaviate_server, collection_name)
    assert versions(other, "doc") == {1: 60}
    assert not other._parts.generations.read().updates
    assert other.verify().sound
    for one in (store, other):
        one.close()


def test_readers_never_see_half_a_source(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Search, keyword search and reading by two store objects, while versions of different length come and go."""
    writer = open_store(weaviate_server, collection_name, batch=10)
    readers = [open_store(weaviate_server, collection_name) for _ in range(2)]
    publish(writer, "doc", 1, 31)
    done = threading.Event()
    torn: list[object] = []

    def watch(store: WeaviateStore) -> None:
        while not done.is_set():
            found = ids(store.search(VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=500)))
            words = VectorStoreQuery(query_str="common", similarity_top_k=500, mode=MODE.TEXT_SEARCH)
            for seen in (found, ids(store.search(words))):
                number = {int(node_id.split("-")[1]) for node_id in seen}
                if len(number) != 1 or len(seen) != 30 + max(number):
                    torn.append(seen)

    threads = [threading.Thread(target=watch, args=(store,)) for store in readers]
    for thread in threads:
        thread.start()
    for number in range(2, 12):
        publish(writer, "doc", number, 30 + number)
    done.set()
    for thread in threads:
        thread.join()
    assert not torn
    for store in (writer, *readers):
        store.close()


def test_status_warns_of_a_server_that_is_older_than_a_feature(
    weaviate_server: WeaviateServer, collection_name: str
) -> None:
    spaces = [Space("text", 4, "r", options={"index": "flat", "quantisation": "rq"})]
    store = open_store(weaviate_server, collection_name, spaces=spaces)
    assert store.status()["warnings"] == []
    store._connection.version = "1.33.18"
    (warning,) = store.status()["warnings"]
    assert "'text'" in warning
    assert "1.34" in warning
    store.close()


def test_odd_names_of_spaces(weaviate_server: WeaviateServer, collection_name: str) -> None:
    spaces = [Space("my space", 4, "r"), Space("my-space", 4, "r"), Space("1", 4, "r", searchable=False)]
    store = open_store(weaviate_server, collection_name, spaces=spaces)
    rows = random_vectors(3, 1, 4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store.add([plain("a")], vectors={space.name: [row] for space, row in zip(spaces, rows, strict=True)})
    for space, row in zip(spaces, rows, strict=True):
        assert np.allclose(store.vectors(["a"], space.name)["a"], row, atol=0.01)
    store.close()


def test_registered_with_its_options() -> None:
    options = STORES.options("weaviate")
    assert options(url="embedded").model_dump()["collection"] == "Sensorium"
    assert STORES.entry("weaviate").value_option == "url"
    assert {"data", "spaces"}.isdisjoint(options.model_fields)


def test_status_names_what_there_is(weaviate_server: WeaviateServer, collection_name: str) -> None:
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    status = store.status()
    assert status["engine"] == "weaviate"
    assert status["url"] == weaviate_server.url
    assert status["version"].count(".") == 2
    assert status["collection"] == collection_name
    assert status["vectors"] == {"text": 60, "visual": 60}
    assert status["sources"] == {"stored": 1}
    assert status["replication_factor"] == status["shards"] == 1
    assert names.ledger_name(collection_name) in store.client.collections.list_all()
    store.close()
