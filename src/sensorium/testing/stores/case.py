"""What the parts of the suite share: making stores, nodes and vectors."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from sensorium.nodes import Evidence, NodeInfo, text_node
from sensorium.stores.base import SourceRecord, Space, Store, Vector

DIMENSION = 8
TEXT = Space("text", DIMENSION, "fake-1")
MODE = VectorStoreQueryMode


class StoreCase:
    """Base of the suite's parts. Engines fill in `make_store` and `reopen_store`."""

    def make_store(self, spaces: Sequence[Space]) -> Store:
        """A new, empty store, apart from all others."""
        raise NotImplementedError

    def reopen_store(self, store: Store, spaces: Sequence[Space]) -> Store:
        """Another store object on the data of one, which may be closed or still open."""
        raise NotImplementedError

    def setup_method(self) -> None:
        """Called by pytest before each test."""
        self._opened: list[Store] = []

    def teardown_method(self) -> None:
        """Called by pytest after each test."""
        for store in self._opened:
            store.close()

    def store(self, *spaces: Space) -> Store:
        """A new store that is closed after the test; with the space "text" unless told otherwise."""
        store = self.make_store(spaces or (TEXT,))
        self._opened.append(store)
        return store

    def reopen(self, store: Store, *spaces: Space) -> Store:
        """Close a store and open its data again."""
        spaces = spaces or tuple(store.spaces.values())
        store.close()
        again = self.reopen_store(store, spaces)
        self._opened.append(again)
        return again


@contextmanager
def raises(kind: type[Exception], *words: str) -> Iterator[list[Exception]]:
    """The body has to raise an error of this kind, with these words in its message; gives it in a list."""
    caught: list[Exception] = []
    try:
        yield caught
    except kind as error:
        missing = [word for word in words if word.lower() not in str(error).lower()]
        if missing:
            raise AssertionError(f"{missing} not in: {error}") from error
        caught.append(error)
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def node(text: str, order: int = 0, doc: str = "doc", kind: str = "text", **metadata: Any) -> TextNode:
    """A text node with evidence; `metadata` is added."""
    evidence = Evidence.model_validate(
        {"source": f"{doc}.pdf", "sha256": "a" * 64, "media_type": "application/pdf", "kind": kind, "page": 1}
    )
    words = {key: metadata.pop(key) for key in ("title", "section", "caption") if key in metadata}
    made = text_node(text, evidence, NodeInfo(doc, "/root", order, **words))
    made.metadata |= metadata
    return made


def plain(node_id: str, text: str = "", doc: str = "doc", **metadata: Any) -> TextNode:
    """A node as LlamaIndex makes it, without evidence."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)}
    return TextNode(id_=node_id, text=text or node_id, metadata=metadata, relationships=source)


def unit(*components: float) -> list[float]:
    """A vector of the space "text" that starts with these components, of length 1."""
    vector = np.zeros(DIMENSION)
    vector[: len(components)] = components
    return [float(x) for x in vector / np.linalg.norm(vector)]


def random_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Vector:
    """Random vectors (count, dimension)."""
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def add(store: Store, nodes: Sequence[BaseNode], seed: int = 0) -> Vector:
    """Add nodes with random vectors in the space "text"; the vectors."""
    vectors = random_vectors(len(nodes), seed)
    store.add(nodes, vectors={"text": list(vectors)})
    return vectors


def dense(store: Store, vector: Sequence[float], top_k: int = 10, **query: Any) -> list[tuple[str, float]]:
    """Ids and scores of a dense search."""
    found = store.search(VectorStoreQuery(query_embedding=list(vector), similarity_top_k=top_k, **query))
    return [(s.node_id, s.score) for s in found]


def keyword(store: Store, text: str, top_k: int = 10, **query: Any) -> list[str]:
    """Ids of a keyword search."""
    asked = VectorStoreQuery(query_str=text, similarity_top_k=top_k, mode=MODE.TEXT_SEARCH, **query)
    return [s.node_id for s in store.search(asked)]


def ids(nodes: Sequence[BaseNode]) -> list[str]:
    """Ids of nodes."""
    return [n.node_id for n in nodes]


def only(key: str, value: Any = None, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    """Filters with one condition."""
    return group(FilterCondition.AND, MetadataFilter(key=key, value=value, operator=operator))


def group(condition: FilterCondition, *members: MetadataFilter | MetadataFilters) -> MetadataFilters:
    """A group of filters."""
    return MetadataFilters(filters=list(members), condition=condition)


def stored(doc: str, counts: Mapping[str, int], **values: Any) -> SourceRecord:
    """A ledger row of a stored source."""
    facts = {"sha256": "b" * 64, "live_sha256": "b" * 64, "size": 10, "fingerprint": "f", **values}
    return SourceRecord(doc, "/root", f"{doc}.pdf", "stored", counts=counts, **facts)


def publish(store: Store, doc: str, nodes: Sequence[BaseNode], seed: int = 0, **values: Any) -> SourceRecord:
    """Stage nodes of the kind "text" with random vectors and publish them; the ledger row."""
    record = stored(doc, {"text": len(nodes)} if nodes else {}, **values)
    with store.stage(doc) as stage:
        stage.add(nodes, {"text": list(random_vectors(len(nodes), seed))})
        stage.publish(record)
    return record
