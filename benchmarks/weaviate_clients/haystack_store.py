"""Haystack's WeaviateDocumentStore, in an environment of its own (`--haystack PYTHON`)."""

from typing import Any

from haystack import Document  # type: ignore[import-not-found]
from haystack.document_stores.types import DuplicatePolicy  # type: ignore[import-not-found]
from haystack.utils import Secret  # type: ignore[import-not-found]
from haystack_integrations.document_stores.weaviate import AuthApiKey, WeaviateDocumentStore  # type: ignore[import-not-found]

from benchmarks.weaviate_clients.data import Data, metadata, number_of, object_id, words


class Client:
    """write_documents with OVERWRITE, which its documentation calls the fastest, and its three retrievals."""

    def __init__(self, settings: dict[str, Any], data: Data) -> None:
        self.data, self.settings = data, settings
        self.store = self._opened(settings["collection"])

    def prepare(self, first: int, last: int) -> list[Document]:
        """Documents with their embeddings."""
        return [
            Document(id=object_id(i), content=" ".join(words(i)), meta=metadata(i),
                     embedding=self.data.vectors[i].tolist())
            for i in range(first, last)
        ]  # fmt: skip

    def write(self, documents: list[Document]) -> None:
        """Write them."""
        self.store.write_documents(documents, DuplicatePolicy.OVERWRITE)

    def dense(self, number: int) -> list[int]:
        """Embedding retrieval."""
        return _numbers(self.store._embedding_retrieval(self.data.queries[number].tolist(), top_k=10))

    def filtered(self, number: int) -> list[int]:
        """Embedding retrieval among 1 % of the documents."""
        only = {"field": "meta.page", "operator": "==", "value": number % 100}
        return _numbers(self.store._embedding_retrieval(self.data.queries[number].tolist(), filters=only, top_k=10))

    def bm25(self, number: int) -> list[int]:
        """BM25 retrieval."""
        return _numbers(self.store._bm25_retrieval(self.data.question(number), top_k=10))

    def hybrid(self, number: int) -> list[int]:
        """Hybrid retrieval."""
        vector = self.data.queries[number].tolist()
        return _numbers(self.store._hybrid_retrieval(self.data.question(number), vector, top_k=10, alpha=0.5))

    def refused(self, count: int) -> tuple[int, str]:
        """See `worker.Worker.refused`."""
        self.store.close()
        self.store = self._opened(f"{self.settings['collection']}Refused")
        documents = self.prepare(0, count)
        for i in range(500, count, 1000):
            documents[i].embedding = [0.0, 1.0]
        try:
            return self.store.write_documents(documents, DuplicatePolicy.OVERWRITE), "nothing"
        except Exception as error:  # noqa: BLE001  whatever it raises is what it says
            return 0, f"{type(error).__name__}: {str(error)[:60]}"

    def stored(self) -> int:
        """Objects on the server."""
        return int(self.store.count_documents())

    def close(self) -> None:
        """Close the connection."""
        self.store.close()

    def _opened(self, name: str) -> WeaviateDocumentStore:
        return WeaviateDocumentStore(
            url=f"http://127.0.0.1:{self.settings['port']}", grpc_port=self.settings["grpc_port"],
            auth_client_secret=AuthApiKey(api_key=Secret.from_token(self.settings["api_key"])),
            collection_settings={"class": name, "invertedIndexConfig": {"indexNullState": True}},
        )  # fmt: skip


def _numbers(documents: list[Document]) -> list[int]:
    return [number_of(document.id) for document in documents]
