"""Faults in the middle of an indexing run: nothing lost, doubled, torn, or stored and never found."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery
from tests.integration.weaviate_case import open_store, proxied, publish, version, versions

from sensorium.errors import PartialWriteError, StoreError
from sensorium.stores._weaviate.names import doc_key, first_generation
from sensorium.stores._weaviate.server import EmbeddedServer, start
from sensorium.stores.base import SourceRecord
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.stores.case import raises
from sensorium.testing.weaviate import WeaviateServer

NODES = 60
WRITER = """
import sys
from tests.integration.weaviate_case import open_store, publish, version
from sensorium.testing.weaviate import WeaviateServer
url, host, port, key, name = sys.argv[1:]
store = open_store(WeaviateServer(url, host, int(port), key), name, batch=20, timeout_s=15)
print("open", flush=True)
for number in range(1, 1000):
    publish(store, "doc", number)
    print("published", number, flush=True)
    nodes, vectors = version("free", number, 40)
    store.add(nodes, vectors=vectors)
    print("added", number, flush=True)
"""


class Child:
    """A process that indexes until it is killed."""

    def __init__(self, server: WeaviateServer, name: str) -> None:
        arguments = [server.url, server.grpc_host, str(server.grpc_port), server.api_key, name]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WRITER, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self.lines: list[str] = []
        self.opened = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.opened.wait(60), self.process.poll()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self.opened.set()
        self.opened.set()

    def kill(self) -> str:
        """Kill it; what it wrote to its error stream."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        time.sleep(0.1)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return errors

    def done(self, what: str) -> list[int]:
        """Numbers of what it said it had finished."""
        return [int(line.split()[1]) for line in list(self.lines) if line.startswith(f"{what} ")]


def swept(store: WeaviateStore) -> None:
    """Wait until nothing that was left behind remains."""

    def clean() -> bool:
        store._parts.sweep(now=True)
        return not store._parts.generations.read().updates

    wait_for(clean)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


def assert_whole(store: WeaviateStore, child: Child, before: int = 0) -> None:
    """One whole version, not older than what was published; every added node; all found through every space."""
    seen = versions(store, "doc")
    assert list(seen.values()) in ([NODES], []), seen
    assert max(seen, default=0) >= max(child.done("published"), default=before)
    record = store.source("doc")
    assert (record.sha256 if record else "") == (str(max(seen)) if seen else "")
    stored = [n.node_id for n in store.get_nodes()]
    assert len(stored) == len(set(stored))
    for number in child.done("added"):
        assert {f"free-{number}-{i}" for i in range(40)} <= set(stored)


@pytest.mark.parametrize("seed", range(3))
def test_client_killed(weaviate_server: WeaviateServer, collection_name: str, seed: int) -> None:
    child = Child(weaviate_server, collection_name)
    time.sleep(random.Random(seed).uniform(0.1, 2.5))
    child.kill()
    store = open_store(weaviate_server, collection_name, timeout_s=1)
    assert_whole(store, child)
    publish(store, "other", 1)
    swept(store)
    assert_whole(store, child)
    found = store.verify()
    assert found.sound, found.public()
    assert found.nodes == store.count()
    store.close()


def test_server_killed(weaviate_server: WeaviateServer, tmp_path: Path) -> None:
    """The writer goes on when the server is back; a reader never sees half of a source."""
    if weaviate_server.embedded is None:
        pytest.skip("the server at WEAVIATE_URL is not ours to kill")
    with start(tmp_path / "server") as embedded:
        server = WeaviateServer(embedded.url, "127.0.0.1", embedded.grpc_port, embedded.api_key, embedded)
        child = Child(server, "Faults")
        reader = open_store(server, "Faults", timeout_s=30)
        for seed in range(2):
            already = len(child.done("published"))
            wait_for(lambda already=already: len(child.done("published")) > already)  # type: ignore[misc]
            time.sleep(random.Random(seed).uniform(0, 0.5))
            embedded = restarted(embedded)
            query = VectorStoreQuery(query_embedding=[1.0] * 16, similarity_top_k=500, doc_ids=["doc"])
            hits = [hit.node_id for hit in reader.search(query)]
            assert len(hits) == NODES
            assert len({node_id.split("-")[1] for node_id in hits}) == 1
        already = len(child.done("added"))
        wait_for(lambda: len(child.done("added")) > already)
        child.kill()
        assert_whole(reader, child)
        reader.close()
        store = open_store(server, "Faults", timeout_s=1)
        swept(store)
        found = store.verify()
        assert found.sound, found.public()
        assert_whole(store, child)
        store.close()
        embedded.stop()


def restarted(embedded: EmbeddedServer) -> EmbeddedServer:
    """Kill the server and start it again on its folder and ports."""
    folder = embedded.data
    embedded.kill()
    again = start(folder)
    assert again.http_port == embedded.http_port
    return again


def test_connection_cut_in_the_middle_of_a_batch(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The batch is deleted and written again; the caller notices nothing."""
    with proxied(weaviate_server) as proxy:
        store = open_store(weaviate_server, collection_name, grpc=proxy.address, batch=500)
        for number in range(1, 4):
            proxy.cut_after = proxy.bytes_up + 20_000 * number
            publish(store, "doc", number, 300)
            assert versions(store, "doc") == {number: 300}
        nodes, vectors = version("free", 1, 300)
        proxy.cut_after = proxy.bytes_up + 30_000
        store.add(nodes, vectors=vectors)
        assert store.count() == 600
        assert store.verify().sound
        store.close()


def test_insert_deadlines_that_pass(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The old version stays; what was stored without being indexed is cleared away or mended."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    store.close()
    hasty = open_store(weaviate_server, collection_name, timeout_s=1, insert_timeout_s=0.05, batch=2000)
    nodes, vectors = version("doc", 2, 1500)
    with raises(StoreError, "weaviate"), hasty.stage("doc") as stage:
        stage.add(nodes, vectors)
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 1500}))
    free, their = version("free", 3, 800)
    with raises(StoreError, "weaviate"):
        hasty.add(free, vectors=their)
    hasty.close()
    store = open_store(weaviate_server, collection_name, timeout_s=1)
    assert versions(store, "doc") == {1: NODES}
    swept(store)
    assert versions(store, "doc") == {1: NODES}
    found = store.verify()
    assert found.sound, found.public()
    assert found.nodes == store.count()
    store.close()


def test_what_the_index_lost_is_found_and_mended(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Objects that were stored by an insert that was cut off, and that nobody looked after."""
    store = open_store(weaviate_server, collection_name)
    publish(store, "doc", 1)
    for attempt in range(1, 8):
        hasty = open_store(weaviate_server, collection_name, insert_timeout_s=0.2 * attempt)
        nodes, vectors = version("free", attempt, 2000)
        objects = [node.object(first_generation(doc_key("free"))) for node in hasty._parts.prepare(nodes, vectors)]
        with suppress(StoreError):
            hasty._parts.engine.insert(objects)
        hasty.close()
        store._parts.writer._settle()
        if store.verify().lost:
            break
    found = store.repair()
    assert found.lost, "no insert was cut off in the middle"
    after = store.verify()
    assert after.sound, after.public()
    assert after.nodes == found.nodes == store.count()
    assert len({n.node_id for n in store.get_nodes()}) == after.nodes
    store.close()


def test_refused_objects_are_named(
    weaviate_server: WeaviateServer, collection_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in ten nodes is refused by the server: the others are stored and found."""
    store = open_store(weaviate_server, collection_name, batch=15)
    nodes, vectors = version("doc", 1, 40)
    prepare = store._parts.prepare

    def spoiled(*arguments: object) -> list[object]:
        prepared = prepare(*arguments)  # type: ignore[arg-type]
        for node in prepared[::10]:
            node.properties["kind"] = 3  # type: ignore[index]
        return list(prepared)

    monkeypatch.setattr(store._parts, "prepare", spoiled)
    with raises(PartialWriteError, "4 of 40", "doc-1-0") as caught:
        store.add(nodes, vectors=vectors)
    error = caught[0]
    assert isinstance(error, PartialWriteError)
    assert sorted(error.failed) == [f"doc-1-{i}" for i in (0, 10, 20, 30)]
    assert len(error.stored) == store.count() == 36
    with raises(PartialWriteError, "doc-2-0"), store.stage("doc") as stage:
        again, theirs = version("doc", 2, 40)
        stage.add(again, theirs)
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 36}))
    assert store.count() == 36
    assert store.verify().sound
    store.close()
