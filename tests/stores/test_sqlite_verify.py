"""`verify` of the embedded store: every kind of damage is found, mended or named, and nothing else is touched."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sensorium.stores.base import Space, Store, Vectors
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing.stores.case import TEXT, dense, keyword, node, publish, random_vectors, stored, unit

PAGES = Space("pages", 4, "r", multi=True)
KEPT = Space("kept", 8, "r", multi=True, searchable=False)
NODES = 30
_Harm = Callable[[sqlite3.Connection], None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = SqliteStore(data=tmp_path, spaces=[TEXT, PAGES, KEPT])
    nodes = [node(f"saltwater {i}", i) for i in range(NODES)]
    vectors: Vectors = {
        "text": random_vectors(NODES),
        "pages": [random_vectors(3, i, 4) for i in range(NODES)],
        "kept": [random_vectors(2, i) for i in range(NODES)],
    }
    with made.stage("doc") as stage:
        stage.add(nodes, vectors)
        stage.publish(stored("doc", {"text": NODES}))
    publish(made, "other", [node("river", 0, doc="other")])
    return made


def harm(store: Store, *statements: str) -> None:
    connection = sqlite3.connect(store.status()["path"])
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_whole_index_is_sound(store: Store) -> None:
    outcome = store.verify()
    assert outcome.sound
    assert (outcome.nodes, outcome.sources) == (NODES + 1, 2)
    assert outcome.vectors == {"text": NODES + 1, "pages": NODES, "kept": NODES}
    assert store.verify(repair=True).found == ()


@pytest.mark.parametrize(
    ("statement", "fault", "where"),
    [
        ("DELETE FROM pooled_2 WHERE row < 4", "unfindable", "pages"),
        ("DELETE FROM texts WHERE rowid = 2", "unfindable", "keyword search"),
        ("INSERT INTO vectors_1 (row, data) VALUES (999, zeroblob(32))", "orphaned", "vectors_1"),
        ("INSERT INTO bodies (row, body) VALUES (999, '{}')", "orphaned", "bodies"),
        ("INSERT INTO texts (rowid, text) VALUES (999, 'saltwat')", "orphaned", "texts"),
        ("DELETE FROM texts_data WHERE id > 10", "damaged", "keyword search"),
    ],
)
def test_what_can_be_mended_is(store: Store, statement: str, fault: str, where: str) -> None:
    before = [(one.node_id, one.to_dict()) for one in store.get_nodes()]
    harm(store, statement)
    found = store.verify()
    assert not found.sound
    assert (fault, where) in {(f.fault, f.where) for f in found.left}
    mended = store.verify(repair=True)
    assert mended.found
    assert mended.sound, mended.public()
    assert store.verify().found == ()
    assert [(one.node_id, one.to_dict()) for one in store.get_nodes()] == before
    assert len(keyword(store, "saltwater", 99)) == NODES
    assert len(dense(store, unit(1), 99)) == NODES + 1


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("DELETE FROM bodies WHERE row = 3", "bodies"),
        ("UPDATE bodies SET body = 'x' WHERE row = 3", "nodes"),
        ("UPDATE vectors_1 SET data = x'0011' WHERE row = 3", "text"),
        ("UPDATE vectors_3 SET data = x'0011' WHERE row = 3", "kept"),
    ],
)
def test_a_node_that_is_gone_is_named_and_its_source_marked(store: Store, statement: str, where: str) -> None:
    harm(store, statement)
    assert where in {f.where for f in store.verify().left}
    mended = store.verify(repair=True)
    assert [(f.fault, f.where) for f in mended.left] == [("miscounted", "doc.pdf")]
    assert "sensorium index /root" in mended.left[0].hint
    record = store.source("doc")
    assert record is not None
    assert (record.status, dict(record.counts)) == ("failed", {"text": NODES - 1})
    assert "29 of its 30" in record.reason
    assert store.count() == NODES
    publish(store, "doc", [node("saltwater", 0)])
    assert store.verify().sound


def test_a_vector_that_is_not_finite_is_damage(store: Store) -> None:
    connection = sqlite3.connect(store.status()["path"])
    connection.execute("UPDATE vectors_1 SET data = ? WHERE row = 1", (np.full(8, np.nan, "<f4").tobytes(),))
    connection.commit()
    connection.close()
    assert [f.where for f in store.verify().left] == ["text"]


def test_counts_of_the_ledger_are_compared(store: Store) -> None:
    record = store.source("doc")
    assert record is not None
    store.record(record.changed(counts={"text": NODES, "table": 2}))
    (finding,) = store.verify().left
    assert (finding.fault, finding.where, finding.number) == ("miscounted", "doc.pdf", 2)
    assert "2 table" in finding.text


def test_a_damaged_file_is_named(store: Store, tmp_path: Path) -> None:
    """No repair can mend it; it says what to do."""
    store.close()
    file = tmp_path / "index.sqlite3"
    connection = sqlite3.connect(file)
    page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ledger_in_order'").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\x00" * size)
    again = SqliteStore(data=tmp_path, spaces=[TEXT])
    outcome = again.verify(repair=True)
    assert outcome.left[0].fault == "damaged"
    assert "index again" in outcome.left[0].hint
    again.close()
