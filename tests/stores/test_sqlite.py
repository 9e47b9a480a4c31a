"""What only the embedded store has: its file, other processes, crashes, limits. The rest is in tests/contracts."""

import itertools
import logging
import multiprocessing
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium import analysis
from sensorium.errors import DataVersionError, SpaceError, StoreError
from sensorium.registry import options_model
from sensorium.stores import STORES
from sensorium.stores._sqlite import connections, matrix, schema, text_index, writing
from sensorium.stores._sqlite.sql_filters import where
from sensorium.stores.base import SourceRecord, Space, Stage, Store
from sensorium.stores.sqlite import SqliteStore
from sensorium.stores.terms import indexed
from sensorium.testing.stores.case import (
    MODE,
    TEXT,
    add,
    dense,
    keyword,
    only,
    plain,
    publish,
    raises,
    random_vectors,
    stored,
    unit,
)

# Forked, as a new interpreter takes seconds to import everything. Each process opens a store of its own.
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None
needs_fork = pytest.mark.skipif(FORK is None, reason="needs fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SqliteStore(data=tmp_path, spaces=[TEXT])


def again(store: Store, *spaces: Space) -> SqliteStore:
    return SqliteStore(data=Path(store.status()["path"]).parent, spaces=spaces or [TEXT])


def start(target: Callable[..., None], *arguments: Any) -> Any:
    assert FORK is not None
    process = FORK.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def staged(store: Store, doc: str, count: int, version: int) -> tuple[Stage, SourceRecord]:
    stage = store.stage(doc)
    nodes = [plain(f"{doc}-{version}-{i}", "word", doc=doc) for i in range(count)]
    stage.add(nodes, {"text": random_vectors(count, version)})
    return stage, stored(doc, {"text": count})


# Other processes ------------------------------------------------------------------------------------------


def publish_for_ever(folder: Path, current: Any) -> None:
    store = SqliteStore(data=folder, spaces=[TEXT])
    for version in itertools.count():
        stage, record = staged(store, "doc", 10, version)
        current.value = version
        stage.publish(record)


@needs_fork
def test_killed_process_leaves_the_last_published_state(tmp_path: Path) -> None:
    current = multiprocessing.Value("i", -1)
    for _ in range(3):
        current.value = -1
        process = start(publish_for_ever, tmp_path, current)
        while current.value < 10:
            time.sleep(0.003)
        process.kill()
        process.join()
        store = SqliteStore(data=tmp_path, spaces=[TEXT])
        versions = {n.node_id.split("-")[1] for n in store.get_nodes()}
        assert versions in ({str(current.value)}, {str(current.value - 1)})
        assert store.count() == len(keyword(store, "word", 99)) == len(dense(store, unit(1), 99)) == 10
        assert integrity(store) == "ok"
    publish(store, "doc", [plain("new", doc="doc")])
    assert store.count() == 1


def stage_and_wait(folder: Path, ready: Any) -> None:
    store = SqliteStore(data=folder, spaces=[TEXT])
    staged(store, "doc", 500, 1)
    ready.set()
    time.sleep(600)


@needs_fork
def test_killed_while_staging_leaves_nothing(tmp_path: Path) -> None:
    ready = multiprocessing.Event()
    process = start(stage_and_wait, tmp_path, ready)
    assert ready.wait(60)
    store = SqliteStore(data=tmp_path, spaces=[TEXT])
    publish(store, "doc", [plain("mine", doc="doc")])  # the other process is staging the same source
    process.kill()
    process.join()
    assert [n.node_id for n in again(store).get_nodes()] == ["mine"]
    assert {p.name for p in tmp_path.iterdir()} <= {"index.sqlite3", "index.sqlite3-wal", "index.sqlite3-shm"}


def write_some(folder: Path, name: str) -> None:
    store = SqliteStore(data=folder, spaces=[TEXT])
    for i in range(40):
        stage, record = staged(store, f"{name}-{i}", 5, i)
        stage.publish(record)
        store.add([plain(f"{name}-free-{i}", "word")])
    store.close()


@needs_fork
def test_two_processes_write_at_once(tmp_path: Path) -> None:
    writers = [start(write_some, tmp_path, name) for name in ("one", "two")]
    store = SqliteStore(data=tmp_path, spaces=[TEXT])
    while any(w.is_alive() for w in writers):
        assert len(dense(store, unit(1), 1000)) % 5 == 0
    assert [w.exitcode for w in writers] == [0, 0]
    assert store.count() == len(keyword(store, "word", 1000)) == 2 * 40 * 6
    assert len(dense(store, unit(1), 1000)) == 2 * 40 * 5
    assert len(list(store.sources())) == 80


@needs_fork
def test_store_can_be_used_after_a_fork(store: Store) -> None:
    add(store, [plain("a", "word")])
    assert dense(store, unit(1)) != []
    inherited = {id(c) for c in store._connections._idle}  # type: ignore[attr-defined]

    def use() -> None:
        store.add([plain("b", "word")])
        found = keyword(store, "word")
        own = {id(c) for c in store._connections._idle}  # type: ignore[attr-defined]
        os._exit(0 if found == ["a", "b"] and not own & inherited else 1)

    child = start(use)
    child.join()
    assert child.exitcode == 0
    assert keyword(store, "word") == ["a", "b"]


def test_reading_and_opening_wait_for_no_writer(store: Store) -> None:
    add(store, [plain("a", "word")])
    other = sqlite3.connect(store.status()["path"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM nodes")
    assert again(store).count() == 1
    assert keyword(store, "word") == ["a"]
    other.execute("ROLLBACK")
    other.close()


def test_writer_that_waits_in_vain_says_so(tmp_path: Path) -> None:
    store = SqliteStore(data=tmp_path, spaces=[TEXT], busy_timeout_s=0.1)
    other = sqlite3.connect(store.status()["path"], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with raises(StoreError, "another process", "locked"):
        store.add([plain("a")])
    other.execute("ROLLBACK")
    other.close()
    assert store.add([plain("a")]) == ["a"]


# The file -------------------------------------------------------------------------------------------------


def test_newer_format_is_refused(store: Store) -> None:
    connection = sqlite3.connect(store.status()["path"])
    connection.execute(f"PRAGMA user_version = {schema.FORMAT + 1}")
    connection.close()
    with raises(DataVersionError, f"format {schema.FORMAT + 1}", "update"):
        again(store)


def test_files_of_others_are_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = path.read_bytes()
    with raises(StoreError, "another program"):
        SqliteStore(data=tmp_path, spaces=[TEXT])
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all" * 1000)
    with raises(StoreError, "no index"):
        SqliteStore(data=tmp_path, spaces=[TEXT])
    assert path.read_bytes() == b"no database at all" * 1000


def test_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with raises(StoreError, "data folder"):
        SqliteStore(data=tmp_path / "file", spaces=[TEXT])
    (tmp_path / "index.sqlite3").mkdir()
    with raises(StoreError, "index.sqlite3"):
        SqliteStore(data=tmp_path, spaces=[TEXT])


def test_damage_is_named(store: Store) -> None:
    add(store, [plain(f"n{i}", "word " * 50) for i in range(200)])
    path = Path(store.status()["path"])
    store.close()
    data = bytearray(path.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    path.write_bytes(data)
    with raises(StoreError, "index"):
        SqliteStore(data=path.parent, spaces=[TEXT]).get_nodes()


@pytest.mark.parametrize("room", range(0, 60, 6))
def test_full_disk_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    store = SqliteStore(data=tmp_path, spaces=[TEXT])
    record = publish(store, "doc", [plain(f"old{i}", "word", doc="doc") for i in range(3)])
    connect = connections.connect

    def full(path: Path, timeout: float) -> sqlite3.Connection:
        connection = connect(path, timeout)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + room}")
        return connection

    monkeypatch.setattr(connections, "connect", full)
    small = again(store)
    new = [plain(f"new{i}", f"word number{i} " * 40, doc="doc") for i in range(300)]
    with raises(StoreError, "disk is full", "intact"):
        publish(small, "doc", new)
    with raises(StoreError, "disk is full"):
        small.add(new)
    monkeypatch.undo()
    for opened in (store, small, again(store)):
        assert sorted(keyword(opened, "word")) == ["old0", "old1", "old2"]
        assert len(dense(opened, unit(1))) == 3
        assert list(opened.sources()) == [record]
    assert integrity(store) == "ok"
    publish(store, "doc", new)
    assert store.count() == 300


def test_interpreters_without_full_text_search_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 30, 0))
    with raises(StoreError, "too old", "3.37"):
        SqliteStore(data=tmp_path, spaces=[TEXT])


def test_spaces_can_be_taken_from_the_file(store: Store) -> None:
    add(store, [plain("a")])
    opened = SqliteStore(data=Path(store.status()["path"]).parent)
    assert dict(opened.spaces) == {"text": TEXT}
    opened.clear()
    changed = Space("text", 3, "other")
    assert dict(again(opened, changed).spaces) == {"text": changed}


def test_engine_options_of_spaces_are_refused(tmp_path: Path) -> None:
    with raises(SpaceError, "options", "text"):
        SqliteStore(data=tmp_path, spaces=[Space("text", 3, "r", options={"quantizer": "rq"})])


def test_options_in_yaml() -> None:
    options = STORES.options("sqlite")
    assert set(options.model_fields) == {"busy_timeout_s", "warn_vectors"}
    assert options_model(SqliteStore, ("data", "spaces"))().model_dump()["warn_vectors"] == 250_000


# Search ---------------------------------------------------------------------------------------------------


def test_terms_pass_the_tokenizer_unchanged(store: Store) -> None:
    words = "1234.50 1/2018 10:30 $ € % ½ a⑴ ﷺ x٣ İstanbul ß 東T don't"
    add(store, [plain("a", words)])
    terms = list(analysis.terms(words))
    assert len(terms) > 12
    assert store.document_frequency(terms) == dict.fromkeys(terms, 1)
    assert store.term_counts("doc", terms) == dict.fromkeys(terms, 1)
    for term in terms:
        assert "1234" not in term or term == "1234.50"
    with sqlite3.connect(store.status()["path"]) as connection:
        known = {row[0] for row in connection.execute("SELECT term FROM vocabulary")}
    assert known == {indexed(term) for term in terms}


def test_common_terms_are_dropped_when_rarer_ones_remain(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add(store, [plain(f"n{i:02d}", f"common rare{i // 5}") for i in range(40)])
    assert len(keyword(store, "common rare3", 40)) == 40
    monkeypatch.setattr(text_index, "SMALL", 30)
    assert len(keyword(store, "common rare3", 40)) == 5
    assert len(keyword(store, "common", 40)) == 40


def test_usual_filters_use_an_index(store: Store) -> None:
    sql, bound = where(only("kind", "table"))
    with sqlite3.connect(store.status()["path"]) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT row FROM nodes WHERE {sql}", bound).fetchall()
    assert "nodes_by_kind" in plan[0][3]


def test_matrices_follow_long_histories(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding, replacing and deleting in all proportions, and more removals than are remembered."""
    rng = np.random.default_rng(5)
    reader = again(store)
    live: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    for step in range(60):
        if step == 30:
            monkeypatch.setattr(writing, "_REMEMBERED", 3)
        names = [f"n{i:03d}" for i in rng.integers(0, 80, size=rng.integers(1, 30))]
        if step % 3 == 2:
            store.delete_nodes(names)
            live = {name: vector for name, vector in live.items() if name not in names}
        else:
            vectors = random_vectors(len(names), step)
            store.add([plain(name) for name in names], vectors={"text": vectors})
            live |= dict(zip(names, vectors, strict=True))
        if step % 7 == 0 or step > 50:
            for opened in (store, reader):
                found = dict(dense(opened, unit(1, 2, 3), 1000))
                query = np.array(unit(1, 2, 3))
                expected = {name: float(v @ query / np.linalg.norm(v)) for name, v in live.items()}
                assert found == pytest.approx(expected, abs=1e-5)


def test_views_stay_as_they_were(store: Store) -> None:
    """A search that holds a view is not disturbed by what comes later."""
    add(store, [plain(f"n{i}") for i in range(10)])
    followed = matrix.Matrix("vectors_1", 8)
    connection = store.client
    view = followed.view(connection)
    assert view is not None
    query = np.array(unit(1), dtype=np.float32)
    before = view.best(query, 10, None)
    store.delete_nodes(["n0", "n1", "n2", "n3"])
    add(store, [plain(f"m{i}") for i in range(50)], seed=3)
    later = followed.view(connection)
    assert later is not None
    assert len(later.best(query, 100, None)) == 56
    assert view.best(query, 10, None) == before
    connection.close()


def test_older_transaction_is_told_to_begin_again(store: Store) -> None:
    """A matrix never shows a transaction more than it sees, and never goes back."""
    add(store, [plain("a")])
    followed = matrix.Matrix("vectors_1", 8)
    old, new = store.client, store.client
    old.execute("BEGIN")
    assert matrix.counter(old, "generation") == 1
    store.add([plain("b")], vectors={"text": [unit(1)]})
    later = followed.view(new)
    assert later is not None
    assert len(later.rows) == 2
    assert followed.view(old) is None
    old.execute("COMMIT")
    assert followed.view(old) is not None
    old.close()
    new.close()


def test_mmr_of_many_nodes_is_bounded(store: Store) -> None:
    add(store, [plain(f"n{i:04d}") for i in range(1200)])
    assert len(dense(store, unit(1), 10**6, mode=MODE.MMR)) == 1000


def test_guard_points_to_weaviate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(data=tmp_path, spaces=[TEXT], warn_vectors=5)
    add(store, [plain(f"n{i}") for i in range(4)])
    with caplog.at_level(logging.WARNING):
        dense(store, unit(1))
        assert store.status()["warnings"] == []
        add(store, [plain(f"m{i}") for i in range(4)])
        dense(store, unit(1))
        dense(store, unit(1))
    assert len(caplog.records) == 1
    assert "weaviate" in caplog.text
    assert "8 vectors" in store.status()["warnings"][0]


def test_late_interaction_rescoring_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the nearest pooled vectors are compared vector by vector."""
    monkeypatch.setattr("sensorium.stores.sqlite.RESCORED", 10)
    store = SqliteStore(data=tmp_path, spaces=[Space("late", 4, "r", multi=True)])
    documents = [random_vectors(5, i, 4) for i in range(100)]
    store.add([plain(f"n{i:03d}") for i in range(100)], vectors={"late": documents})
    found = dense(store, random_vectors(1, 7, 4)[0].tolist(), 2, embedding_field="late")
    assert len(found) == 2
    assert found[0][1] >= found[1][1]
    assert len(dense(store, [1.0, 0, 0, 0], 1000, embedding_field="late")) == 100


def test_late_interaction_looks_for_the_mean_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes with one near vector among far ones do not crowd out a node that is near as a whole."""
    monkeypatch.setattr("sensorium.stores.sqlite.RESCORED", 4)
    store = SqliteStore(data=tmp_path, spaces=[Space("late", 2, "r", multi=True)])
    decoy, target = [[0.9, 0.44], [-1, 0], [-1, 0]], [[-1, 0], [0.98, 0.2], [0.98, 0.2]]
    nodes = [plain(f"decoy{i}") for i in range(30)]
    store.add([*nodes, plain("target")], vectors={"late": [*[decoy] * 30, target]})
    assert dense(store, [1.0, 0.0], 1, embedding_field="late")[0][0] == "target"


def test_streaming_sees_one_state(store: Store) -> None:
    add(store, [plain(f"n{i}") for i in range(10)])
    stream = store.iter_nodes(batch=3)
    first = next(stream)[0].node_id
    store.clear()
    assert [first, *(n.node_id for n, _ in stream)] == [f"n{i}" for i in range(10)]
    assert list(store.iter_nodes()) == []


def test_idle_threads_leave_no_connections(store: Store) -> None:
    add(store, [plain("a")])
    threads = [threading.Thread(target=store.count) for _ in range(20)]
    for thread in threads:
        thread.start()
        thread.join()
    assert len(store._connections._idle) <= 2  # type: ignore[attr-defined]


def integrity(store: Store) -> str:
    """What SQLite says about the file and the full text about itself."""
    connection = sqlite3.connect(store.status()["path"])
    try:
        connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


def test_stage_of_many_nodes(store: Store) -> None:
    """Row numbers stay in step between nodes, texts and vectors."""
    nodes = [plain(f"n{i:04d}", f"word{i}", doc="doc") for i in range(700)]
    vectors = random_vectors(700)
    with store.stage("doc") as stage:
        for start_at in range(0, 700, 100):
            part = slice(start_at, start_at + 100)
            stage.add(nodes[part], {"text": [v if i % 2 else None for i, v in enumerate(vectors[part])]})
        stage.publish(stored("doc", {"text": 700}))
    assert keyword(store, "word437") == ["n0437"]
    assert dense(store, vectors[437].tolist(), 1)[0][0] == "n0437"
    assert store.vectors(["n0436", "n0437"], "text").keys() == {"n0437"}
