"""Sensorium's weaviate store: staged, read back, published."""

import time
from pathlib import Path
from typing import Any

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from benchmarks.weaviate_clients.data import Data, metadata, number_of, object_id, words
from sensorium.errors import StoreError
from sensorium.stores import STORES
from sensorium.stores.base import SourceRecord, Space

BATCH = 64
"""Nodes in one `add`, as indexing does."""


class Client:
    """One source a write; nodes come back with every query."""

    def __init__(self, settings: dict[str, Any], data: Data) -> None:
        self.data, self.settings = data, settings
        self.store = self._opened(settings["collection"])

    def prepare(self, first: int, last: int) -> tuple[list[TextNode], Any]:
        """Nodes and their vectors."""
        nodes = [
            TextNode(
                id_=object_id(i), text=" ".join(words(i)), metadata=metadata(i) | {"order": i - first},
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=metadata(first)["source"])},
            )
            for i in range(first, last)
        ]  # fmt: skip
        return nodes, self.data.vectors[first:last]

    def write(self, made: tuple[list[TextNode], Any]) -> float:
        """Stage and publish; the seconds that reading back and publishing took of it."""
        nodes, vectors = made
        doc = nodes[0].ref_doc_id or ""
        with self.store.stage(doc) as stage:
            for first in range(0, len(nodes), BATCH):
                stage.add(nodes[first : first + BATCH], {"text": list(vectors[first : first + BATCH])})
            # `publish` does this too; here it tells writing and publishing apart.
            stage._write()
            stage._collect(0)
            started = time.perf_counter()
            stage.publish(SourceRecord(doc, "/made-up", doc, "stored", counts={"text": len(nodes)}))
            return time.perf_counter() - started

    def dense(self, number: int) -> list[int]:
        """The default mode."""
        return self._ask(number)

    def filtered(self, number: int) -> list[int]:
        """Among 1 % of the nodes."""
        return self._ask(number, filters=MetadataFilters(filters=[MetadataFilter(key="page", value=number % 100)]))

    def bm25(self, number: int) -> list[int]:
        """Keyword search."""
        query = VectorStoreQuery(
            query_str=self.data.question(number), similarity_top_k=10, mode=VectorStoreQueryMode.TEXT_SEARCH
        )
        return [number_of(node_id) for node_id in self.store.query(query).ids or []]

    def hybrid(self, number: int) -> list[int]:
        """Both, fused by us."""
        question = self.data.question(number)
        return self._ask(number, mode=VectorStoreQueryMode.HYBRID, query_str=question, alpha=0.5)

    def refused(self, count: int) -> tuple[int, str]:
        """See `worker.Worker.refused`."""
        self.store.close()
        self.store = self._opened(f"{self.settings['collection']}Refused")
        nodes, vectors = self.prepare(0, count)
        given = [vectors[i] if i % 1000 != 500 else vectors[i][:2] for i in range(count)]
        reported, said = 0, set()
        for first in range(0, count, BATCH):
            try:
                reported += len(
                    self.store.add(nodes[first : first + BATCH], vectors={"text": given[first : first + BATCH]})
                )
            except StoreError as error:
                reported += len(getattr(error, "stored", ()))
                said.add(type(error).__name__)
        return reported, ", ".join(said)

    def stored(self) -> int:
        """Nodes in the store."""
        return int(self.store.count())

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def _ask(self, number: int, **options: Any) -> list[int]:
        vector = self.data.queries[number]
        given = (
            {"query_embedding": vector.mean(0).tolist()} if vector.ndim == 2 else {"query_embedding": vector.tolist()}
        )
        matrix = {"matrix": vector} if vector.ndim == 2 else {}
        query = VectorStoreQuery(similarity_top_k=10, **given, **options)
        return [number_of(node_id) for node_id in self.store.query(query, **matrix).ids or []]

    def _opened(self, name: str) -> Any:
        vectors = self.data.vectors
        space = Space(
            "text", vectors.shape[-1], "made-up", multi=vectors.ndim == 3, options=self.settings.get("space", {})
        )
        options = {
            "url": f"http://127.0.0.1:{self.settings['port']}", "grpc": f"127.0.0.1:{self.settings['grpc_port']}",
            "api_key": self.settings["api_key"], "collection": name,
        }  # fmt: skip
        return STORES.create("weaviate", options, data=Path(self.settings["folder"]), spaces=[space])
