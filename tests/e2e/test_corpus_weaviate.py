"""The corpus gives the same hits on both engines, copied or indexed there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sensorium
from sensorium.knowledge_base import KnowledgeBase
from sensorium.pipelines.copy import copy
from sensorium.testing.weaviate import WeaviateServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SMALLEST = {"pdf": 4, "pptx": 2, "images": 4}
DIRECTLY = {"pdf": 1, "pptx": 1, "images": 1}
PIPELINES = {"dense": {"extends": "default", "retrieve": [{"vector": {"space": "text", "top_k": 10}}]}}
MODES = {"default": 0.95, "dense": 0.98}
"""Pipelines, and how much of the first ten hits has to be the same on the average.

Dense search differs where hits tie, and where HNSW misses one. Keyword search ranks otherwise: SQLite's BM25 weighs
title, section, caption and text apart, Weaviate's sees their words as one text; so hybrid search differs at the end
of the list.
"""


@pytest.fixture(scope="module")
def staged(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest files of each kind."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, number in SMALLEST.items():
        (folder / name).mkdir()
        for file in smallest(corpus / name, number):
            (folder / name / file.name).symlink_to(file)
    return folder


def smallest(folder: Path, number: int) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda file: (file.stat().st_size, file.name))[:number]


@pytest.fixture(scope="module")
def questions(corpus: Path) -> list[str]:
    rows = map(json.loads, (corpus / "questions.jsonl").read_text(encoding="utf-8").splitlines())
    return [row["question"] for row in rows if row["query_modality"] == "text"]


@pytest.fixture(scope="module")
def embedded(staged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """An index in the embedded store."""
    with sensorium.open({"data": str(tmp_path_factory.mktemp("data")), "pipelines": PIPELINES}) as kb:
        assert not kb.index(staged).failed
        yield kb


def on_weaviate(server: WeaviateServer, name: str, data: Path) -> dict[str, Any]:
    """A configuration with the same pipelines on the server."""
    store = {
        "url": server.url, "grpc": f"{server.grpc_host}:{server.grpc_port}", "api_key": server.api_key,
        "collection": name,
    }  # fmt: skip
    return {"data": str(data), "store": {"weaviate": store}, "pipelines": PIPELINES}


def test_the_same_hits(
    weaviate_server: WeaviateServer, collection_name: str, embedded: KnowledgeBase, questions: list[str]
) -> None:
    config = on_weaviate(weaviate_server, collection_name, embedded.spec.data_folder)
    copy("sqlite", json.dumps(config["store"]), None, embedded.spec.data_folder)
    with sensorium.open(config) as kb:
        assert kb.verify().sound
        assert kb.store.count() == embedded.store.count()
        for name, least in MODES.items():
            shares = [overlap(*(hits(each, name, question) for each in (embedded, kb))) for question in questions]
            assert sum(shares) / len(shares) >= least, (name, shares)


def hits(kb: KnowledgeBase, pipeline: str, question: str) -> set[str]:
    return {hit.node.node_id for hit in kb.search(question, pipeline=pipeline, top_k=10)}


def overlap(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(len(one), len(other), 1)


def test_indexed_directly(
    weaviate_server: WeaviateServer, collection_name: str, embedded: KnowledgeBase, staged: Path, tmp_path: Path
) -> None:
    """A run on the server leaves the same nodes and ledger as one on the embedded store; again, nothing is done."""
    with sensorium.open(on_weaviate(weaviate_server, collection_name, tmp_path)) as kb:
        files = [file for name, number in DIRECTLY.items() for file in smallest(staged / name, number)]
        report = kb.index(*files)
        assert [row.status for row in report.rows] == ["stored"] * len(files)
        wanted = {record.sha256: dict(record.counts) for record in embedded.sources()}
        for record in kb.sources():
            assert dict(record.counts) == wanted[record.sha256]
        outcome = kb.verify()
        assert outcome.sound, outcome.public()
        assert outcome.nodes == sum(sum(record.counts.values()) for record in kb.sources())
        assert {row.status for row in kb.index(*files).rows} == {"unchanged"}
        top = kb.search("What is shown here?", top_k=3)
        assert top
        assert kb.picture(top[0].node.node_id).data
