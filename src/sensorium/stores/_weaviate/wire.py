"""Searches and inserts of one collection, as messages of Weaviate's gRPC interface.

weaviate-client makes objects of its own from each message and each object, and checks every argument: more than half
of the time that a query or an insert takes on this side. These are the same messages, written and read directly.
They go through the client's connection, which has its addresses, keys, deadlines and errors.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from weaviate.classes.data import DataObject
from weaviate.collections import Collection
from weaviate.collections.filters import _FilterToGRPC
from weaviate.proto.v1 import base_pb2, base_search_pb2, batch_pb2, search_get_pb2

from sensorium.stores._weaviate.connection import Connection

_SINGLE, _MULTI = base_pb2.Vectors.VECTOR_TYPE_SINGLE_FP32, base_pb2.Vectors.VECTOR_TYPE_MULTI_FP32
_RETRIES = 2


class Wire:
    """Messages to and from one collection.

    Args:
        connection: To the server.
        collection: With its tenant and consistency level.
    """

    def __init__(self, connection: Connection, collection: Collection[Any, Any]) -> None:
        self._connection = connection
        self._name, self._tenant = collection.name, collection.tenant
        level = collection.consistency_level
        self._level = base_pb2.ConsistencyLevel.Value(f"CONSISTENCY_LEVEL_{level.value}") if level else None

    def search(
        self,
        how: Mapping[str, Any],
        limit: int,
        filters: Any,
        properties: Sequence[str] | None,
        scores: Sequence[str] = (),
        vectors: Sequence[str] = (),
    ) -> Sequence[Any]:
        """Ask for objects.

        Args:
            how: `near`, `bm25` or `hybrid`; nothing for those that a filter takes; or `after`, to go through all.
            limit: How many.
            filters: The client's filter, or None.
            properties: To bring along; None for all.
            scores: "distance" or "score".
            vectors: Named vectors to bring along.

        Returns:
            Results: `metadata.id`, `metadata.distance` and `metadata.score`; see `properties_of` and `vectors_of`.
        """
        wanted = search_get_pb2.PropertiesRequest(
            non_ref_properties=properties or (), return_all_nonref_properties=properties is None
        )
        request = search_get_pb2.SearchRequest(
            collection=self._name, tenant=self._tenant, consistency_level=self._level, limit=limit, properties=wanted,
            metadata=search_get_pb2.MetadataRequest(uuid=True, vectors=vectors, **dict.fromkeys(scores, True)),
            filters=_FilterToGRPC.convert(filters),
            uses_123_api=True, uses_125_api=True, uses_127_api=True, **how,
        )  # fmt: skip
        # Typed as the synchronous and the asynchronous connection's.
        reply: Any = self._connection.client._connection.grpc_search(request)
        return reply.results  # type: ignore[no-any-return]

    def insert(self, objects: Sequence[DataObject[Any, Any]]) -> dict[int, str]:
        """Write objects.

        Returns:
            Index and reason of those that the server refused.
        """
        request = batch_pb2.BatchObjectsRequest(consistency_level=self._level)
        for o in objects:
            self._write(request.objects.add(), o)
        inner = self._connection.client._connection
        refused: Any = inner.grpc_batch_objects(request, inner.timeout_config.insert, _RETRIES)
        return dict(refused)

    def _write(self, message: Any, o: DataObject[Any, Any]) -> None:
        """Fill a message with an object, whose properties are texts, numbers and lists of texts."""
        message.uuid, message.collection = str(o.uuid), self._name
        if self._tenant is not None:
            message.tenant = self._tenant
        properties = message.properties
        fields = properties.non_ref_properties.fields
        for name, value in o.properties.items():
            if isinstance(value, str):
                fields[name].string_value = value
            elif not isinstance(value, list):
                fields[name].number_value = value
            elif value:
                properties.text_array_properties.add(prop_name=name, values=value)
            else:
                properties.empty_list_props.append(name)
        vectors: Any = o.vector or {}
        for name, vector in vectors.items():
            message.vectors.add(name=name, **_packed(vector))


def near(vector_name: str, query: NDArray[np.float32]) -> dict[str, Any]:
    """The nearest objects: query of shape (d,), or (m, d) for a multi-vector space."""
    return {"near_vector": base_search_pb2.NearVector(vectors=[_vectors(query)], targets=_target(vector_name))}


def bm25(words: str, properties: Sequence[str]) -> dict[str, Any]:
    """Objects by keywords."""
    return {"bm25_search": base_search_pb2.BM25(query=words, properties=properties)}


def hybrid(
    vector_name: str, query: NDArray[np.float32], words: str, properties: Sequence[str], alpha: float
) -> dict[str, Any]:
    """Both, fused by the server by relative score."""
    message = base_search_pb2.Hybrid(
        query=words, properties=properties, alpha=alpha, vectors=[_vectors(query)], targets=_target(vector_name),
        fusion_type=base_search_pb2.Hybrid.FUSION_TYPE_RELATIVE_SCORE,
    )  # fmt: skip
    return {"hybrid_search": message}


def texts_of(result: Any, names: Sequence[str]) -> list[str]:
    """Properties of a result that are texts; empty where it has none of that name."""
    fields = result.properties.non_ref_props.fields
    return [fields[name].text_value if name in fields else "" for name in names]


def properties_of(result: Any) -> dict[str, Any]:
    """Properties of a result by name."""
    fields = result.properties.non_ref_props.fields
    # Texts are most of them; what is false as a text is empty or something else.
    return {name: (value := fields[name]).text_value or _value(value) for name in fields}


def vectors_of(result: Any) -> dict[str, NDArray[np.float32]]:
    """Named vectors of a result."""
    found = result.metadata.vectors
    return {v.name: _unpacked(v) for v in found} if found else {}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return list(value.list_value.text_values.values)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _target(vector_name: str) -> Any:
    return base_search_pb2.Targets(target_vectors=[vector_name])


def _vectors(vector: NDArray[np.float32]) -> Any:
    return base_pb2.Vectors(**_packed(vector))


def _packed(vector: Any) -> dict[str, Any]:
    rows = np.asarray(vector, dtype="<f4")
    if rows.ndim == 1:
        return {"vector_bytes": rows.tobytes(), "type": _SINGLE}
    return {"vector_bytes": struct.pack("<H", rows.shape[1]) + rows.tobytes(), "type": _MULTI}


def _unpacked(vectors: Any) -> NDArray[np.float32]:
    raw = vectors.vector_bytes
    if vectors.type != _MULTI:
        return np.frombuffer(raw, dtype="<f4")
    return np.frombuffer(raw, dtype="<f4", offset=2).reshape(-1, struct.unpack_from("<H", raw)[0])
