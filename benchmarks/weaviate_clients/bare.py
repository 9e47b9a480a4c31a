"""The floor: weaviate-client alone, with the schema that a good store would have."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from weaviate.classes.config import Configure, DataType, Property, Tokenization
from weaviate.classes.data import DataObject
from weaviate.classes.query import Filter, HybridFusion, MetadataQuery

from benchmarks.weaviate_clients.connect import connected
from benchmarks.weaviate_clients.data import Data, metadata, node_json, number_of, object_id, words

ALL = ["text", "source", "kind", "page", "node"]
TRIAL = 1_000


class Client:
    """insert_many in the batch size and with the number of threads that are fastest here."""

    def __init__(self, settings: dict[str, Any], data: Data) -> None:
        self.data, self.batch, self.threads = data, 500, 1
        self.client = connected(settings)
        self.name = settings["collection"]
        self.collection = self._created(self.name)

    def calibrate(self) -> str:
        """Try batch sizes and threads on throwaway collections, each twice."""
        objects = self.prepare(0, min(TRIAL, len(self.data.vectors)))
        times: dict[tuple[int, int], float] = {}
        for batch, threads in [(200, 1), (500, 1), (1000, 1), (200, 2), (500, 2), (1000, 2)] * 2:
            trial = self._created(f"{self.name}Trial")
            started = time.perf_counter()
            self._insert(trial, objects, batch, threads)
            seconds = time.perf_counter() - started
            times[batch, threads] = min(seconds, times.get((batch, threads), seconds))
            self.client.collections.delete(trial.name)
        self.batch, self.threads = min(times, key=lambda key: times[key])
        return f"batches of {self.batch}, {self.threads} at once"

    def prepare(self, first: int, last: int) -> list[DataObject[Any, Any]]:
        """Objects as the client takes them."""
        return [
            DataObject(
                uuid=object_id(i),
                properties={"text": " ".join(words(i)), "node": node_json(i), **metadata(i)},
                vector={"text": self.data.vectors[i]},
            )
            for i in range(first, last)
        ]

    def write(self, objects: list[DataObject[Any, Any]]) -> None:
        """Insert them."""
        self._insert(self.collection, objects, self.batch, self.threads)

    def dense(self, number: int) -> list[int]:
        """near_vector."""
        return self._dense(number, None)

    def filtered(self, number: int) -> list[int]:
        """near_vector among 1 % of the objects."""
        return self._dense(number, Filter.by_property("page").equal(number % 100))

    def bm25(self, number: int) -> list[int]:
        """bm25."""
        found = self.collection.query.bm25(
            self.data.question(number), query_properties=["text"], limit=10, return_properties=ALL,
            return_metadata=MetadataQuery(score=True),
        )  # fmt: skip
        return [number_of(str(o.uuid)) for o in found.objects]

    def hybrid(self, number: int) -> list[int]:
        """One hybrid call, fused by the server."""
        found = self.collection.query.hybrid(
            self.data.question(number), vector=self.data.queries[number].tolist(), target_vector="text", alpha=0.5,
            query_properties=["text"], fusion_type=HybridFusion.RELATIVE_SCORE, limit=10, return_properties=ALL,
        )  # fmt: skip
        return [number_of(str(o.uuid)) for o in found.objects]

    def refused(self, count: int) -> tuple[int, str]:
        """See `worker.Worker.refused`; the client's answer names the errors."""
        self.collection = self._created(f"{self.name}Refused")
        objects = self.prepare(0, count)
        for i in range(500, count, 1000):
            objects[i].vector = {"text": [0.0, 1.0]}
        answers = [self.collection.data.insert_many(objects[i : i + 500]) for i in range(0, count, 500)]
        failed = sum(len(answer.errors) for answer in answers)
        return count - failed, f"{failed} errors in the answer"

    def stored(self) -> int:
        """Objects on the server."""
        return self.collection.aggregate.over_all(total_count=True).total_count or 0

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def _dense(self, number: int, filters: Any) -> list[int]:
        found = self.collection.query.near_vector(
            self.data.queries[number].tolist(), target_vector="text", limit=10, filters=filters, return_properties=ALL,
            return_metadata=MetadataQuery(distance=True),
        )  # fmt: skip
        return [number_of(str(o.uuid)) for o in found.objects]

    def _insert(self, collection: Any, objects: list[Any], batch: int, threads: int) -> None:
        batches = [objects[i : i + batch] for i in range(0, len(objects), batch)]
        with ThreadPoolExecutor(threads) as pool:
            for answer in pool.map(collection.data.insert_many, batches):
                assert not answer.has_errors, answer.errors

    def _created(self, name: str) -> Any:
        kept: dict[str, Any] = {"index_filterable": False, "index_searchable": False}
        exact: dict[str, Any] = {"tokenization": Tokenization.FIELD, "index_searchable": False}
        return self.client.collections.create(
            name,
            properties=[
                Property(name="text", data_type=DataType.TEXT, index_filterable=False),
                Property(name="node", data_type=DataType.TEXT, **kept),
                *(Property(name=name, data_type=DataType.TEXT, **exact) for name in ("source", "kind", "section")),
                Property(name="page", data_type=DataType.INT, index_range_filters=True),
            ],
            vector_config=[Configure.Vectors.self_provided(name="text")],
        )
