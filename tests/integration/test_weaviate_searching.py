"""Searches of the Weaviate store: ties, what is published meanwhile, and messages that are made by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from tests.integration.weaviate_case import SPACES, open_store

from sensorium.stores.base import SourceRecord, Space, Store
from sensorium.stores.checking import normalised
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing.stores.case import MODE, plain, random_vectors
from sensorium.testing.weaviate import WeaviateServer

COUNT = 120


@pytest.fixture
def both(weaviate_server: WeaviateServer, collection_name: str, tmp_path: Path) -> Iterator[list[Store]]:
    """The same nodes on both engines; for each question, their words tie in two groups at most."""
    stores: list[Store] = [
        open_store(weaviate_server, collection_name, spaces=SPACES[:1]),
        SqliteStore(data=tmp_path, spaces=SPACES[:1]),
    ]
    rng = np.random.default_rng(3)
    names = rng.permutation(COUNT)
    texts = ["best good common"] + ["good common other"] * 9 + ["common other third"] * (COUNT - 10)
    nodes = [plain(f"n{names[i]:03d}", texts[i]) for i in range(COUNT)]
    for store in stores:
        store.add(nodes, vectors={"text": random_vectors(COUNT, 1, 16)})
    yield stores
    for store in stores:
        store.close()


@pytest.mark.parametrize("words", ["best common", "good common", "common", "nothing"])
@pytest.mark.parametrize("top_k", [3, 10, 30])
def test_hybrid_hits_are_those_of_the_embedded_store_where_words_tie(both: list[Store], words: str, top_k: int) -> None:
    """Whichever of the hits that tie at the end of the list of words would be in it."""
    for alpha in (0.0, 0.2, 0.5, 0.9, 1.0):
        query = VectorStoreQuery(
            query_embedding=random_vectors(1, 7, 16)[0].tolist(), query_str=words, mode=MODE.HYBRID,
            similarity_top_k=top_k, alpha=alpha,
        )  # fmt: skip
        ours, theirs = ([s.node_id for s in store.search(query)] for store in both)
        assert ours == theirs, alpha


def test_a_source_that_is_published_during_a_search_is_seen_whole(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search finds the first of two nodes; the second comes, and both are published, before it is looked at."""
    reader = open_store(weaviate_server, collection_name, spaces=SPACES[:1])
    writer = open_store(weaviate_server, collection_name, spaces=SPACES[:1], batch=1)
    near, stage = reader._parts.engine.near, writer.stage("doc")
    vectors = random_vectors(2, 1, 16)

    def interrupted(*args: Any) -> Any:
        monkeypatch.undo()
        stage.add([plain("first", doc="doc")], {"text": vectors[:1]})
        while not (found := near(*args)):
            pass
        stage.add([plain("second", doc="doc")], {"text": vectors[1:]})
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 2}))
        return found

    monkeypatch.setattr(reader._parts.engine, "near", interrupted)
    found = reader.search(VectorStoreQuery(query_embedding=vectors[0].tolist(), similarity_top_k=5))
    assert [s.node_id for s in found] == ["first", "second"]
    reader.close()
    writer.close()


def test_what_is_sent_by_hand_comes_back(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Vectors of all shapes, many batches on their way at once, texts that gRPC could stumble over."""
    spaces = [
        Space("text", 16, "r", distance="dot"),
        Space("late", 8, "r", multi=True),
        Space("kept", 4, "r", searchable=False),
    ]
    store = open_store(weaviate_server, collection_name, spaces=spaces, batch=7)
    texts = ["", "a\x00b", "\ud800 alone", "näïve ☃ 𝄞", "word " * 2000]
    nodes = [
        TextNode(id_=f"n{i:02d}", text=texts[i % 5], metadata={"empty": "", "list": [], "order": i, "many": ["a", "b"]})
        for i in range(50)
    ]  # fmt: skip
    vectors: dict[str, Any] = {
        "text": random_vectors(50, 1, 16), "kept": normalised(random_vectors(50, 2, 4)),
        "late": [normalised(random_vectors(1 + i % 5, i, 8)) for i in range(50)],
    }  # fmt: skip
    store.add(nodes, vectors=vectors)
    ids = [n.node_id for n in nodes]
    for node, back in zip(nodes, store.fetch(ids), strict=True):
        assert back == node
    for name, rows in vectors.items():
        found = store.vectors(ids, name)
        for i, one in enumerate(ids):
            assert found[one].shape == rows[i].shape
            assert np.allclose(found[one], rows[i], atol=0.02)
    store.close()
