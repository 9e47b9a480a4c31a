"""Bad input: each a clear error within the configured time, with nothing half done."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQuery
from tests.integration.weaviate_case import SPACES, open_store, proxied

from sensorium.errors import QueryError, SpaceError, StoreError
from sensorium.stores._weaviate import reading, searching
from sensorium.stores.base import Space
from sensorium.testing.stores.case import only, plain, raises
from sensorium.testing.weaviate import WeaviateServer

QUERY = VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=3)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A web server that gives the same answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://127.0.0.1:1"}, ("127.0.0.1:1", "start the server")),
        ({"url": "http://nosuch.invalid"}, ("nosuch.invalid", "address")),
        ({"url": "ftp://localhost"}, ("ftp", "http://localhost:8080")),
        ({"url": "http://localhost:99999"}, ("99999", "port")),
        ({"grpc": "127.0.0.1:1", "timeout_s": 2}, ("grpc port 127.0.0.1:1", "grpc: host:port")),
        ({"grpc": "nonsense"}, ("nonsense", "localhost:50051")),
        ({"collection": "docs"}, ("docs", "capital")),
        ({"collection": "Ümlaut"}, ("Ümlaut", "capital")),
        ({"tenant": "a b"}, ("a b", "tenant")),
        ({"filter_fields": {"x": "date"}}, ("date", "text, number")),
        ({"replication_factor": 99}, ("replication", "99")),
        ({"batch": 0}, ("batch", "0")),
    ],
)
def test_wrong_settings(
    weaviate_server: WeaviateServer, collection_name: str, options: dict[str, Any], words: tuple[str, ...]
) -> None:
    with within(10), raises(StoreError, *words):
        open_store(weaviate_server, collection_name, **options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"index": "hnws"}, "hnsw"),
        ({"index": "flat", "ef": 100}, "hnsw"),
        ({"quantisation": "rq", "bits": 4}, "8 or 1"),
        ({"efs": 100}, "ef_construction"),
        ({"ef": -1}, "above 0"),
        ({"encoding": "muvera"}, "several vectors"),
        ({"index": "flat", "quantisation": "pq"}, "bq"),
    ],
)
def test_wrong_space_options(
    weaviate_server: WeaviateServer, collection_name: str, options: dict[str, Any], word: str
) -> None:
    with raises(SpaceError, "'text'", word):
        open_store(weaviate_server, collection_name, spaces=[Space("text", 4, "r", options=options)])


def test_wrong_key(weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not weaviate_server.api_key:
        pytest.skip("the server at WEAVIATE_URL takes everybody")
    with within(10), raises(StoreError, "refuses the API key", "WEAVIATE_API_KEY"):
        open_store(weaviate_server, collection_name, api_key="wrong")
    monkeypatch.delenv("WEAVIATE_API_KEY", raising=False)
    with raises(StoreError, "refuses the API key"):
        open_store(weaviate_server, collection_name, api_key=None)


def test_servers_that_are_too_old_or_something_else(weaviate_server: WeaviateServer, collection_name: str) -> None:
    for body, words in (
        (json.dumps({"version": "1.32.9"}).encode(), ("1.32.9", "1.33", "update")),
        (b"<html>hello</html>", ("no Weaviate server",)),
        (b"{}", ("no Weaviate server",)),
    ):
        with answering(body) as url, within(10), raises(StoreError, *words):
            open_store(weaviate_server, collection_name, url=url)


def test_collections_of_somebody_else_stay_as_they_are(weaviate_server: WeaviateServer, collection_name: str) -> None:
    with weaviate_server.client() as client:
        client.collections.create(collection_name)
        with raises(StoreError, collection_name, "did not make", "collection: NAME"):
            open_store(weaviate_server, collection_name)
        assert not client.collections.get(collection_name).config.get().properties
        assert not client.collections.exists(f"{collection_name}_Ledger")


def test_tenants_that_do_not_fit(weaviate_server: WeaviateServer, collection_name: str) -> None:
    with_tenants, without = f"{collection_name}_T", f"{collection_name}_P"
    one = open_store(weaviate_server, with_tenants, tenant="one")
    open_store(weaviate_server, without).close()
    with raises(StoreError, "has tenants", "tenant: NAME"):
        open_store(weaviate_server, with_tenants)
    with raises(StoreError, "without tenants", "'one'"):
        open_store(weaviate_server, without, tenant="one")
    one.client.collections.get(with_tenants).tenants.remove(["one"])
    with raises(StoreError, "tenant", "one"):
        one.get_nodes()
    one.close()


def test_read_only_server(weaviate_server: WeaviateServer, collection_name: str) -> None:
    store = open_store(weaviate_server, collection_name)
    config = store.client.collections.get(collection_name).config
    config.update_shards("READONLY")
    with raises(StoreError, "read-only", "disk"):
        store.add([plain("a"), plain("b")])
    assert store.count() == 0
    config.update_shards("READY")
    store.add([plain("a")])
    assert store.count() == 1
    store.close()


def test_a_lost_server_is_an_error_within_the_deadline(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The client alone would let a query hang for 63 seconds."""
    with proxied(weaviate_server) as proxy:
        store = open_store(weaviate_server, collection_name, grpc=proxy.address, timeout_s=2)
        store.add([plain("a")], vectors={"text": [[1.0] * 16]})
        proxy.close()
        calls: list[Callable[[], object]] = [
            lambda: store.search(QUERY), store.count, lambda: store.get_nodes(), lambda: store.source("a"),
            lambda: store.delete_nodes(["a"]), lambda: store.add([plain("b")]),
        ]  # fmt: skip
        for call in calls:
            with within(8), raises(StoreError, "no weaviate answers", proxy.address):
                call()
        store.close()


def test_a_frozen_server_is_an_error_within_the_deadline(weaviate_server: WeaviateServer, collection_name: str) -> None:
    with proxied(weaviate_server) as proxy:
        store = open_store(weaviate_server, collection_name, grpc=proxy.address, timeout_s=1)
        proxy.frozen.set()
        with within(4), raises(StoreError, "did not answer in time"):
            store.search(QUERY)
        proxy.frozen.clear()
        assert store.search(QUERY) == []
        store.close()


def test_deleted_collections(weaviate_server: WeaviateServer, collection_name: str) -> None:
    store = open_store(weaviate_server, collection_name)
    store.delete_index()
    with raises(StoreError, "gone", collection_name):
        store.count()
    store.close()


def test_more_hits_than_the_server_gives(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter that only the metadata can decide is refused, with a hint, where it would have to see too much."""
    monkeypatch.setattr(searching, "MOST", 100)
    monkeypatch.setattr(reading, "MOST", 100)
    store = open_store(weaviate_server, collection_name, spaces=SPACES[:1])
    store.add([plain(f"n{i}", "same", score=i) for i in range(150)], vectors={"text": [[1.0] * 16] * 150})
    with raises(QueryError, "100", "score", "filter_fields"):
        store.search(VectorStoreQuery(query_embedding=[1.0] * 16, filters=only("score", 149, FilterOperator.GTE)))
    with raises(QueryError, "at most 100"):
        store.search(VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=140))
    assert len(store.get_nodes(filters=only("score", 147, FilterOperator.GTE))) == 3
    assert len(store.get_nodes(filters=only("score", 3, FilterOperator.GTE))) == 147
    store.delete_nodes(filters=only("score", 0, FilterOperator.GTE))
    assert store.count() == 0
    store.close()
