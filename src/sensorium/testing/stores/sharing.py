"""Several threads and several store objects at once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from llama_index.core.vector_stores.types import VectorStoreQuery

from sensorium.stores.base import Store
from sensorium.testing.stores.case import (
    MODE,
    TEXT,
    StoreCase,
    add,
    dense,
    keyword,
    plain,
    random_vectors,
    stored,
    unit,
)

PARTS = 12
VERSIONS = 15


class SharingTests(StoreCase):
    """Several threads and several store objects at once."""

    def test_parallel_queries_find_the_same(self) -> None:
        """Eight threads, three modes."""
        store = self.store()
        add(store, [plain(f"n{i:03d}", f"word w{i % 7}") for i in range(200)])
        queries = [
            VectorStoreQuery(query_embedding=v.tolist(), query_str=f"w{i % 7}", similarity_top_k=5, mode=mode)
            for i, v in enumerate(random_vectors(10, 4))
            for mode in (MODE.DEFAULT, MODE.TEXT_SEARCH, MODE.HYBRID)
        ]
        expected = [store.search(q) for q in queries]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(store.search, queries * 4)) == expected * 4

    def test_readers_see_one_whole_version(self) -> None:
        """While a source is replaced again and again, every read is of one version, never of half a one."""
        store = self.store()
        replace(store, 0)
        done = threading.Event()

        def write() -> None:
            try:
                for version in range(1, VERSIONS):
                    replace(store, version)
            finally:
                done.set()

        def watch(read: Callable[[], set[str]]) -> int:
            reads = 0
            while not done.is_set() or not reads:
                found = read()
                versions = {node_id.split("-")[0] for node_id in found}
                assert len(found) == PARTS, found
                assert len(versions) == 1, versions
                reads += 1
            return reads

        readers: list[Callable[[], set[str]]] = [
            lambda: {n.node_id for n in store.get_nodes()},
            lambda: {node_id for node_id, _ in dense(store, unit(1), 100)},
            lambda: set(keyword(store, "word", 100)),
        ]
        with ThreadPoolExecutor(len(readers) + 1) as pool:
            writing = pool.submit(write)
            watching = [pool.submit(watch, read) for read in readers]
            writing.result(timeout=120)
            assert all(w.result(timeout=120) > 0 for w in watching)
        assert dense(store, unit(1), 100)[0][0].startswith(f"v{VERSIONS - 1}-")

    def test_threads_can_write_at_once(self) -> None:
        """Nothing is lost, whoever comes first."""
        store = self.store()

        def work(number: int) -> None:
            for i in range(5):
                with store.stage(f"doc{number}") as stage:
                    nodes = [plain(f"d{number}-{i}-{k}", doc=f"doc{number}") for k in range(4)]
                    stage.add(nodes, {"text": random_vectors(4, number)})
                    stage.publish(stored(f"doc{number}", {"text": 4}))
                store.add([plain(f"free{number}-{i}")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert store.count() == 4 * 4 + 4 * 5
        assert len(list(store.sources())) == 4

    def test_other_store_objects_see_changes(self) -> None:
        """A second object on the same data sees what the first one writes, also after it has searched."""
        writer = self.store()
        add(writer, [plain(f"n{i}", "word", even=i % 2) for i in range(6)])
        reader = self.reopen_store(writer, (TEXT,))
        self._opened.append(reader)
        assert len(dense(reader, unit(1))) == len(keyword(reader, "word")) == 6
        writer.add([plain("new", "word")], vectors={"text": [unit(1)]})
        assert dense(reader, unit(1), 1) == [("new", 1.0)]
        writer.delete_nodes(["new", "n0"])
        writer.add([plain("n1", "changed")], vectors={"text": [unit(0, 1)]})
        assert {i for i, _ in dense(reader, unit(1))} == {"n1", "n2", "n3", "n4", "n5"}
        assert dense(reader, unit(0, 1), 1) == [("n1", 1.0)]
        assert reader.document_frequency(["word", "chang"]) == {"word": 4, "chang": 1}
        writer.clear()
        assert dense(reader, unit(1)) == []
        assert keyword(reader, "word") == []


def replace(store: Store, version: int) -> None:
    """Publish a new version of the source "doc"."""
    nodes = [plain(f"v{version}-{i}", "word") for i in range(PARTS)]
    with store.stage("doc") as stage:
        stage.add(nodes[:5], {"text": random_vectors(5, version)})
        stage.add(nodes[5:], {"text": random_vectors(PARTS - 5, version + 100)})
        stage.publish(stored("doc", {"text": PARTS}))
