"""Looking for everything that is stored, and mending what is wrong."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

from sensorium.stores.base import Space, Vector
from sensorium.testing.stores.case import TEXT, StoreCase, add, node, plain, publish, random_vectors, stored

PAGES = Space("pages", 4, "r", multi=True)
KEPT = Space("kept", 8, "r", multi=True, searchable=False)


class VerifyTests(StoreCase):
    """Looking for everything that is stored, and mending what is wrong."""

    def test_what_was_written_is_found(self) -> None:
        """After updates, single nodes, deletes and opening again; `verify` says how much it looked for."""
        store = self.store(TEXT, PAGES, KEPT)
        assert store.verify().public()["nodes"] == 0
        nodes = [node(f"saltwater {i}", i) for i in range(5)]
        with store.stage("doc") as stage:
            pages: list[Vector | None] = [random_vectors(3, 1, 4)] * 4 + [None]
            stage.add(nodes, {"text": random_vectors(5), "pages": pages, "kept": [random_vectors(2)] * 5})
            stage.publish(stored("doc", {"text": 5}))
        publish(store, "other", [node("river", 0, doc="other")])
        publish(store, "other", [node("mountain", 0, doc="other")], seed=2)
        publish(store, "gone", [node("gone", 0, doc="gone")])
        store.remove_source("gone")
        add(store, [plain("free"), plain("loose", doc="free")])
        store.delete_nodes([nodes[0].node_id])
        for again in (False, True):
            one = self.reopen(store) if again else store
            outcome = one.verify()
            assert outcome.sound, outcome.public()
            assert outcome.found == ()
            assert outcome.nodes == one.count() == 7
            assert outcome.sources == 2
            assert {"text": 7, "pages": 3}.items() <= dict(outcome.vectors).items()
            assert json.loads(json.dumps(outcome.public()))["sound"] is True

    def test_nothing_is_wrong_while_others_write(self) -> None:
        """What comes and goes while `verify` looks is no fault."""
        store = self.store()
        done = threading.Event()

        def write() -> None:
            try:
                for version in range(8):
                    publish(store, "doc", [node(f"v{version} {i}", i) for i in range(20 + version)], seed=version)
                    store.add([plain("free", f"v{version}")], vectors={"text": random_vectors(1, version)})
                    store.delete_nodes(["free"])
            finally:
                done.set()

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            found = [store.verify().found]
            while not done.is_set():
                found.append(store.verify().found)
            writing.result(timeout=120)
        assert not any(found), [str(f) for one in found for f in one]

    def test_a_source_with_other_counts_is_marked(self) -> None:
        """It is indexed again by the next run: its ledger row says so after a repair."""
        store = self.store()
        record = publish(store, "doc", [node("a", 0), node("b", 1)])
        store.record(record.changed(counts={"text": 3}))
        (finding,) = store.verify().left
        assert (finding.fault, finding.where, finding.number) == ("miscounted", record.source, 1)
        outcome = store.verify(repair=True)
        assert [f.fault for f in outcome.left] == ["miscounted"]
        assert not outcome.sound
        marked = store.source("doc")
        assert marked is not None
        assert (marked.status, dict(marked.counts)) == ("failed", {"text": 2})
        assert "index it again" in marked.reason
        assert store.count() == 2
        assert store.verify().sound
