"""LlamaIndex's own WeaviateVectorStore, as its documentation uses it."""

from typing import Any

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.weaviate import WeaviateVectorStore

from benchmarks.weaviate_clients.connect import connected
from benchmarks.weaviate_clients.data import Data, metadata, number_of, object_id, words


class Client:
    """add and query. It has no keyword search of its own: every query is a hybrid one."""

    def __init__(self, settings: dict[str, Any], data: Data) -> None:
        self.data, self.name = data, settings["collection"]
        self.client = connected(settings)
        self.store = WeaviateVectorStore(weaviate_client=self.client, index_name=self.name)

    def prepare(self, first: int, last: int) -> list[BaseNode]:
        """Nodes with their embeddings."""
        return [
            TextNode(
                id_=object_id(i), text=" ".join(words(i)), metadata=metadata(i),
                embedding=self.data.vectors[i].tolist(),
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=metadata(i)["source"])},
            )
            for i in range(first, last)
        ]  # fmt: skip

    def write(self, nodes: list[BaseNode]) -> None:
        """Add them."""
        self.store.add(nodes)

    def dense(self, number: int) -> list[int]:
        """Its default mode."""
        return self._ask(number)

    def filtered(self, number: int) -> list[int]:
        """Among 1 % of the nodes."""
        return self._ask(number, filters=MetadataFilters(filters=[MetadataFilter(key="page", value=number % 100)]))

    def hybrid(self, number: int) -> list[int]:
        """Its hybrid mode."""
        question = self.data.question(number)
        return self._ask(number, mode=VectorStoreQueryMode.HYBRID, query_str=question, alpha=0.5)

    def refused(self, count: int) -> tuple[int, str]:
        """See `worker.Worker.refused`."""
        self.name += "Refused"
        self.store = WeaviateVectorStore(weaviate_client=self.client, index_name=self.name)
        nodes = self.prepare(0, count)
        for i in range(500, count, 1000):
            nodes[i].embedding = [0.0, 1.0]
        return len(self.store.add(nodes)), "nothing"

    def stored(self) -> int:
        """Objects on the server."""
        return self.client.collections.get(self.name).aggregate.over_all(total_count=True).total_count or 0

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _ask(self, number: int, **options: Any) -> list[int]:
        query = VectorStoreQuery(query_embedding=self.data.queries[number].tolist(), similarity_top_k=10, **options)
        return [number_of(node_id) for node_id in self.store.query(query).ids or []]
