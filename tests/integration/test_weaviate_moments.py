"""Times of recordings on a real Weaviate server: filters, and what is said and shown then."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.weaviate_case import open_store
from tests.pipelines.spoken import fill

from sensorium.pipelines.context import context
from sensorium.pipelines.retrievers import equality
from sensorium.stores.base import Space
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.weaviate import WeaviateServer


@pytest.fixture
def store(weaviate_server: WeaviateServer, collection_name: str) -> Iterator[WeaviateStore]:
    made = open_store(weaviate_server, collection_name, spaces=[Space("text", 2, "r")])
    fill(made)
    yield made
    made.close()


def texts(nodes: Any) -> list[str]:
    return sorted(" ".join(node.get_content().split()[:2]) for node in nodes)


def test_filters_by_time(store: WeaviateStore) -> None:
    wanted: dict[Any, list[str]] = {
        25: ["Part 2", "Slide 1", "Something else"],
        "0:35-0:41": ["Part 3", "Part 4", "Slide 1", "Slide 2"],
        ("0:05", 55): ["Part 0", "Part 5", "Slide 0", "Slide 2"],
        "1:02:00": [],
    }
    assert {at: texts(store.get_nodes(filters=equality({"at": at}))) for at in wanted} == wanted


def test_context_is_what_is_said_and_shown_then(store: WeaviateStore) -> None:
    (scene,) = store.get_nodes(filters=equality({"kind": "scene", "at": 25}))
    assert texts(context(store, scene, "page")) == ["Part 2", "Part 3", "Slide 1"]
