"""Staged updates, the ledger and statistics of terms."""

import json
from typing import get_args

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery

from sensorium.errors import PartialWriteError, SpaceError, StoreError
from sensorium.stores.base import SourceRecord, Status
from sensorium.testing.stores.case import (
    StoreCase,
    add,
    dense,
    ids,
    keyword,
    node,
    plain,
    publish,
    raises,
    random_vectors,
    stored,
    unit,
)


class StagingTests(StoreCase):
    """Staged updates, the ledger and statistics of terms."""

    def test_staged_nodes_are_invisible_until_published(self) -> None:
        """To every way of reading."""
        store = self.store()
        nodes = [node("saltwater", 0), node("river", 1)]
        with store.stage("doc") as stage:
            for i, one in enumerate(nodes):
                stage.add([one], {"text": random_vectors(1, i)})
            assert store.count() == 0
            assert store.fetch(ids(nodes)) == store.get_nodes() == store.siblings("doc", 0, 9) == []
            assert dense(store, unit(1)) == []
            assert keyword(store, "saltwater") == []
            assert store.document_frequency(["saltwat"]) == {"saltwat": 0}
            assert store.source("doc") is None
            stage.publish(stored("doc", {"text": 2}))
        assert store.siblings("doc", 0, 9) == nodes
        assert len(dense(store, unit(1))) == 2
        assert keyword(store, "saltwater") == [nodes[0].node_id]
        assert store.source("doc") == stored("doc", {"text": 2})

    def test_publish_replaces_the_old_version(self) -> None:
        """Nodes, vectors, text and ledger row; other sources stay; a node in both versions is the new one."""
        store = self.store()
        publish(store, "doc", [node("saltwater", 0), node("kept", 1)])
        publish(store, "other", [node("saltwater", 0, doc="other")], seed=3)
        kept = node("kept", 1)
        new = [node("mountain", 0), kept]
        record = publish(store, "doc", new, seed=5, sha256="c" * 64)
        assert store.siblings("doc", 0, 9) == new
        assert store.count() == 3
        assert len(keyword(store, "saltwater")) == 1
        assert store.source("doc") == record
        assert {i for i, _ in dense(store, unit(1))} == {*ids(new), *keyword(store, "saltwater")}

    def test_several_batches_kinds_and_sources_at_once(self) -> None:
        """Two sources are staged side by side."""
        store = self.store()
        first, second = store.stage("one"), store.stage("two")
        for i in range(3):
            nodes = [node(f"{i} {k}", 2 * i + k, doc="one", kind=("text", "table")[k]) for k in range(2)]
            first.add(nodes, {"text": random_vectors(2, i)})
            second.add([node(f"{i}", i, doc="two")], {})
        second.publish(stored("two", {"text": 3}))
        assert store.count() == 3
        first.publish(stored("one", {"text": 3, "table": 3}))
        assert [n.metadata["order"] for n in store.siblings("one", 0, 99)] == list(range(6))
        assert store.count() == 9

    def test_discarded_updates_leave_the_old_version(self) -> None:
        """By `discard`, by leaving the block and by an error in it."""
        store = self.store()
        old = [node("old", 0)]
        record = publish(store, "doc", old)
        stage = store.stage("doc")
        stage.add([node("new", 0)], {})
        stage.discard()
        with store.stage("doc") as stage:
            stage.add([node("new", 0)], {})
        with raises(ZeroDivisionError), store.stage("doc") as stage:
            stage.add([node("new", 0)], {})
            _ = 1 / 0
        assert store.siblings("doc", 0, 9) == old
        assert store.source("doc") == record
        with raises(StoreError):
            stage.publish(stored("doc", {"text": 1}))

    def test_counts_that_disagree_leave_the_old_version(self) -> None:
        """The message has both counts; the update can still be discarded or published rightly."""
        store = self.store()
        old = [node("old", 0)]
        record = publish(store, "doc", old)
        stage = store.stage("doc")
        stage.add([node("new", 0), node("newer", 1)], {"text": random_vectors(2)})
        for counts in ({"text": 3}, {"text": 1, "table": 1}, {}):
            with raises(StoreError, "doc", "2"):
                stage.publish(stored("doc", counts))
            assert store.siblings("doc", 0, 9) == old
            assert store.source("doc") == record
        stage.publish(stored("doc", {"text": 2, "table": 0}))
        assert store.count() == 2

    def test_publish_without_nodes_empties_the_source(self) -> None:
        """A document may have nothing in it."""
        store = self.store()
        publish(store, "doc", [node("old", 0)])
        with store.stage("doc") as stage:
            stage.publish(stored("doc", {}))
        assert store.count() == 0
        assert store.source("doc") == stored("doc", {})

    def test_what_a_stage_refuses(self) -> None:
        """Nodes of another source, ids that were staged or that another source has, unusable vectors."""
        store = self.store()
        publish(store, "doc", [node("x", 0)])
        taken = node("mine", 0, doc="two")
        store.add([plain(taken.node_id, "word", doc="doc")])
        with store.stage("two") as stage:
            with raises(PartialWriteError, "doc"):
                stage.add([node("x", 0)], {})
            stage.add([taken], {"text": random_vectors(1)})
            with raises(PartialWriteError, "before"):
                stage.add([node("other", 1, doc="two"), taken], {})
            with raises(SpaceError):
                stage.add([node("other", 1, doc="two")], {"text": random_vectors(1, 0, 3)})
            with raises(PartialWriteError, "finite"):
                stage.add([node("other", 1, doc="two")], {"text": random_vectors(1) * np.float32("nan")})
            with raises(StoreError, "doc"):
                stage.publish(stored("doc", {"text": 1}))
            with raises(StoreError, "another source"):
                stage.publish(stored("two", {"text": 1}))
        assert store.source("two") is None

    def test_ledger_rows(self) -> None:
        """Every field comes back, whatever is in the names; rows come in order of root and source."""
        store = self.store()
        names = [("/b", "z.pdf"), ("/b", "a\nb.pdf"), ("/a", "ü/文.pdf"), ("/b", "bad\udcff.pdf"), ("/b", "Z.pdf")]
        statuses = (*get_args(Status), "failed", "skipped")
        rows = [
            SourceRecord(
                f"d{i}", root, source, statuses[i], reason="why\nnot", sha256="a" * 64, size=2**40, mtime_ns=2**62,
                media_type="x/y", fingerprint="f", live_sha256="", counts={}, warnings=("one", "two ü"), seconds=1.25,
                indexed_at="2026-01-01T00:00:00Z",
            )
            for i, (root, source) in enumerate(names)
        ]  # fmt: skip
        for row in rows:
            store.record(row)
        assert all(store.source(row.doc_id) == row for row in rows)
        expected = sorted(rows, key=lambda r: (r.root, r.source))
        assert list(store.sources()) == expected
        changed = rows[0].changed(status="skipped", reason="")
        store.record(changed)
        assert store.source("d0") == changed
        assert len(list(store.sources())) == len(rows)
        assert store.source("nosuch") is None

    def test_failed_update_keeps_the_nodes(self) -> None:
        """A ledger row is written without touching nodes."""
        store = self.store()
        record = publish(store, "doc", [node("old", 0)])
        failed = record.changed(status="failed", reason="broken file", sha256="d" * 64)
        store.record(failed)
        assert store.source("doc") == failed
        assert keyword(store, "old") != []

    def test_removed_sources_are_gone(self) -> None:
        """Nodes, vectors and ledger row, by `remove_source` as by LlamaIndex's `delete`."""
        store = self.store()
        for doc in ("one", "two", "three"):
            publish(store, doc, [node("saltwater", 0, doc=doc)])
        store.remove_source("one")
        store.delete("two")
        assert [r.doc_id for r in store.sources()] == ["three"]
        assert store.count() == 1
        assert len(dense(store, unit(1))) == len(keyword(store, "saltwater")) == 1
        store.remove_source("nosuch")

    def test_single_deletes_are_counted_in_the_ledger(self) -> None:
        """The ledger says what is stored."""
        store = self.store()
        nodes = [node("a", 0), node("b", 1)]
        publish(store, "doc", nodes)
        store.delete_nodes([nodes[0].node_id])
        found = store.source("doc")
        assert found is not None
        assert dict(found.counts) == {"text": 1}

    def test_document_frequency(self) -> None:
        """In how many nodes a term occurs, in any column, as nodes come and go."""
        store = self.store()
        nodes = [node("salt salt water", 0, title="Salt"), node("water 1,234.50", 1), node("x", 2, caption="salt")]
        publish(store, "doc", nodes)
        terms = ["salt", "water", "1234.50", "nosuch", 'a"b', "salt water"]
        expected = {"salt": 2, "water": 2, "1234.50": 1, "nosuch": 0, 'a"b': 0, "salt water": 0}
        assert store.document_frequency(terms) == expected
        publish(store, "doc", nodes[1:])
        assert store.document_frequency(["salt", "water"]) == {"salt": 1, "water": 1}
        assert store.document_frequency([]) == {}

    def test_term_counts(self) -> None:
        """In how many nodes of one source a term occurs, also when sources were written in turns."""
        store = self.store()
        publish(store, "one", [node("salt salt water", 0, doc="one"), node("water", 1, doc="one")])
        publish(store, "two", [node("salt", 0, doc="two")])
        assert store.term_counts("one", ["salt", "water", "nosuch"]) == {"salt": 1, "water": 2, "nosuch": 0}
        assert store.term_counts("two", ["salt", "water"]) == {"salt": 1, "water": 0}
        store.add([plain("late", "salt", doc="one")])
        store.add([plain("later", "salt", doc="two")])
        assert store.term_counts("one", ["salt", "water"]) == {"salt": 2, "water": 2}
        assert store.term_counts("two", ["salt"]) == {"salt": 2}
        assert store.term_counts("nosuch", ["salt"]) == {"salt": 0}

    def test_status_is_for_people_and_json(self) -> None:
        """Engine facts, nodes, sources by status, vectors by space."""
        store = self.store()
        publish(store, "doc", [node("a", 0), node("b", 1)])
        store.record(SourceRecord("x", "/root", "x.pdf", "failed", reason="r"))
        add(store, [plain("free")])
        status = json.loads(json.dumps(store.status()))
        assert status["engine"]
        assert status["nodes"] == 3
        assert status["sources"] == {"failed": 1, "stored": 1}
        assert status["vectors"] == {"text": 3}
        assert isinstance(status["warnings"], list)

    def test_search_result_has_no_traces_of_the_store(self) -> None:
        """Metadata of nodes that come back from a query are those that went in."""
        store = self.store()
        nodes = [node("a", 0, color="red")]
        publish(store, "doc", nodes)
        found = store.query(VectorStoreQuery(query_embedding=unit(1))).nodes or []
        assert [n.metadata for n in found] == [nodes[0].metadata]
