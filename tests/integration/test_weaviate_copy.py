"""An index moves to Weaviate and back, and stays what it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery
from typer.testing import CliRunner

from sensorium.apps.cli import app
from sensorium.stores.base import Space, Store, Vector, Vectors
from sensorium.stores.sqlite import SqliteStore
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.stores.case import node, plain, random_vectors, stored
from sensorium.testing.weaviate import WeaviateServer

SPACES = [Space("text", 8, "fake-1"), Space("sentences", 8, "fake-1/units", multi=True, searchable=False)]


def fill(store: Store) -> None:
    for number, doc in enumerate(("a", "b")):
        nodes = [node(f"{doc} number {i}", i, doc=doc) for i in range(600 if doc == "b" else 4)]
        parts = [random_vectors(3, i) for i in range(len(nodes))]
        vectors: Vectors = {"text": random_vectors(len(nodes), number), "sentences": parts}
        with store.stage(doc) as stage:
            stage.add(nodes, vectors)
            stage.publish(stored(doc, {"text": len(nodes)}, warnings=("a page was empty",)))
    store.record(stored("skipped", {}).changed(status="skipped", reason="no loader", live_sha256=""))
    store.add([plain("x1", doc="loose")], vectors={"text": random_vectors(1, 9)})


def content(store: Store) -> dict[str, tuple[dict[str, Any], dict[str, Vector]]]:
    return {node.node_id: (node.to_dict(), vectors) for node, vectors in store.iter_nodes()}


def assert_same(one: Store, other: Store) -> None:
    first, second = content(one), content(other)
    assert {key: values[0] for key, values in first.items()} == {key: values[0] for key, values in second.items()}
    for key, (_, vectors) in first.items():
        assert vectors.keys() == second[key][1].keys()
        for space, vector in vectors.items():
            np.testing.assert_allclose(second[key][1][space], vector, atol=0.01)
    assert list(one.sources()) == list(other.sources())


def copied(*arguments: str) -> dict[str, Any]:
    made = CliRunner().invoke(app, ["copy", *arguments, "--json"])
    assert made.exit_code == 0, made.output
    report: dict[str, Any] = json.loads(made.stdout)
    return report


def test_to_weaviate_and_back(
    weaviate_server: WeaviateServer, collection_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", weaviate_server.api_key)
    grpc = f"{weaviate_server.grpc_host}:{weaviate_server.grpc_port}"
    options: dict[str, Any] = {"url": weaviate_server.url, "grpc": grpc, "collection": collection_name}
    there = json.dumps({"weaviate": options | {"api_key": "${KEY}"}})
    old, new = tmp_path / "old", tmp_path / "new"
    with_all = SqliteStore(data=old, spaces=SPACES)
    fill(with_all)
    report = copied("--from", "sqlite", "--to", there, "--data", str(old))
    assert report["sources"] == {"copied": 3, "unchanged": 0, "only_in_target": 0}
    assert report["nodes"] == {"copied": 605, "without_source": 1}
    again = copied("--from", "sqlite", "--to", there, "--data", str(old))
    assert again["sources"] == {"copied": 0, "unchanged": 3, "only_in_target": 0}

    weaviate = WeaviateStore(spaces=SPACES, api_key=weaviate_server.api_key, **options)
    query = VectorStoreQuery(query_embedding=[1.0] * 8, similarity_top_k=20)
    ids = [hit.node_id for hit in with_all.search(query)]
    assert len(set(ids) & {hit.node_id for hit in weaviate.search(query)}) >= 19
    assert_same(with_all, weaviate)
    weaviate.close()

    copied("--from", there, "--to", "sqlite", "--data", str(new))
    back = SqliteStore(data=new, spaces=SPACES)
    assert_same(with_all, back)
    back.close()
    with_all.close()
