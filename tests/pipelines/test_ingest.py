"""Indexing end to end: real files, real worker processes, the real embedded store."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from tests.pipelines.home import Home

from sensorium.errors import LoadError, ModelError, SpaceError, StoreError
from sensorium.loaders.base import Limits
from sensorium.models.text import MiniLM
from sensorium.nodes import source_id
from sensorium.pipelines._ingest import run as run_module
from sensorium.pipelines._ingest.discover import locate
from sensorium.pipelines._ingest.host import launcher
from sensorium.pipelines.ingest import IngestReport, Progress
from sensorium.pipelines.units import units
from sensorium.stores.base import Space
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing import FakeEmbedding

pytestmark = pytest.mark.usefixtures("shared_host")


def statuses(report: IngestReport) -> dict[str, str]:
    return {row.source: row.status for row in report.rows}


def reasons(report: IngestReport) -> dict[str, str]:
    return {row.source: row.reason for row in report.rows}


def all_texts(home: Home) -> list[str]:
    return sorted(node.text for node in home.store().get_nodes() if isinstance(node, TextNode))


def age(folder: Path, seconds: float = 100) -> None:
    """Make files look settled, so that their modification time is trusted."""
    then = time.time() - seconds
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fail when a worker is started."""

    def started(*_: Any) -> None:
        raise AssertionError("a worker process was started")

    return lambda: monkeypatch.setattr(run_module, "launcher", started)


def test_files_become_searchable_nodes_and_a_report(home: Home) -> None:
    home.write("notes/a.md", "# Ducks\n\nDucks live in saltwater.\n\n## Food\n\nThey eat plants.")
    home.write("b.csv", "year,cost\n2020,12\n2021,13\n")
    home.write("z.txt", "Plain words.")
    report = home.ingestor().run([home.docs])
    assert statuses(report) == {"b.csv": "stored", "notes/a.md": "stored", "z.txt": "stored"}
    assert not report.failed
    store = home.store()
    nodes = {node.node_id: node for node in store.get_nodes()}
    assert report.totals["nodes"] == len(nodes) == store.count() > 3
    assert set(store.vectors(list(nodes), "text")) == set(nodes)
    record = store.source(source_id(str(home.docs), "notes/a.md"))
    assert record is not None
    assert record.counts == report.rows[1].counts
    assert (record.media_type, record.status) == ("text/markdown", "stored")
    duck = next(n for n in nodes.values() if "saltwater" in n.get_content())
    assert duck.metadata["section"] == "Ducks"
    public = json.loads(json.dumps(report.public()))
    assert set(public) >= {"sources", "totals", "seconds"}
    assert public["sources"][2] == {
        "source": "z.txt", "root": str(home.docs), "status": "stored", "reason": None, "counts": {"text": 1},
        "warnings": [],
    }  # fmt: skip
    assert public["totals"] == {
        "stored": 3, "unchanged": 0, "skipped": 0, "failed": 0, "removed": 0, "hidden": 0, "nodes": len(nodes),
    }  # fmt: skip


def test_unchanged_files_are_not_read_again(home: Home, no_workers: Any) -> None:
    home.write("a.txt", "One.")
    home.write("letter.rtf", "{\\rtf1 hello}")
    age(home.docs)
    first = home.ingestor().run([home.docs])
    assert statuses(first) == {"a.txt": "stored", "letter.rtf": "skipped"}
    assert reasons(first)["letter.rtf"] == "application/rtf: no loader for RTF document yet"
    before = {node.node_id for node in home.store().get_nodes()}
    no_workers()
    (home.docs / "a.txt").chmod(0o644)
    again = home.ingestor().run([home.docs])
    assert statuses(again) == {"a.txt": "unchanged", "letter.rtf": "skipped"}
    assert again.rows[0].counts == {"text": 1}
    assert again.totals["nodes"] == 1
    assert {node.node_id for node in home.store().get_nodes()} == before
    os.utime(home.docs / "a.txt")  # touched, the same content
    assert statuses(home.ingestor().run([home.docs]))["a.txt"] == "unchanged"


def test_a_file_changed_within_the_clock_tick_is_noticed(home: Home) -> None:
    path = home.write("a.txt", "Old words.")
    home.ingestor().run([home.docs])
    facts = path.stat()
    path.write_text("New words.")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert statuses(home.ingestor().run([home.docs])) == {"a.txt": "stored"}
    assert all_texts(home) == ["New words."]


def test_changed_content_and_changed_configuration_are_indexed_anew(home: Home) -> None:
    home.write("a.txt", "Old words.")
    home.write("b.txt", "Same words.")
    age(home.docs)
    home.ingestor().run([home.docs])
    home.write("a.txt", "New words.")
    assert statuses(home.ingestor().run([home.docs])) == {"a.txt": "stored", "b.txt": "unchanged"}
    assert all_texts(home) == ["New words.", "Same words."]
    assert set(statuses(home.ingestor(fingerprint="two").run([home.docs])).values()) == {"stored"}
    assert all_texts(home) == ["New words.", "Same words."]


def test_vanished_files_go_only_when_asked(home: Home) -> None:
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        home.write(name, f"Words of {name}.")
    home.ingestor().run([home.docs])
    (home.docs / "b.txt").unlink()
    shutil.rmtree(home.docs / "sub")
    report = home.ingestor().run([home.docs])
    assert report.totals["removed"] == 0
    assert report.notes == [
        "2 files have vanished (b.txt, sub/c.txt) and stay searchable; --prune removes such sources."
    ]
    assert len(all_texts(home)) == 3
    assert home.ingestor().run([home.docs / "a.txt"], prune=True).removed == []
    report = home.ingestor().run([home.docs], prune=True)
    assert report.removed == ["b.txt", "sub/c.txt"]
    assert all_texts(home) == ["Words of a.txt."]


def test_a_folder_that_cannot_be_listed_is_not_pruned(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("open/a.txt", "Open.")
    home.write("closed/b.txt", "Closed.")
    home.ingestor().run([home.docs])
    scandir = os.scandir

    def guarded(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (home.docs / "open/a.txt").unlink()
    monkeypatch.setattr(os, "scandir", guarded)
    report = home.ingestor().run([home.docs], prune=True)
    assert reasons(report) == {"closed": "folder cannot be read: Permission denied"}
    assert report.failed
    assert report.removed == ["open/a.txt"]
    assert all_texts(home) == ["Closed."]


@pytest.mark.usefixtures("faulty")
def test_a_failed_update_leaves_the_old_version(home: Home) -> None:
    path = home.write("a.txt", "Old words.")
    home.ingestor().run([home.docs])
    for orders, reason in (
        ("New words.\nTHROW no", "the parser failed: ValueError: no"),
        ("New words.\nKILL 9", "the parser crashed (signal 9, SIGKILL)"),
        ("", "is empty (0 bytes)"),
        ("FAULT page is broken", "no text or picture was found in it; page 1: page is broken"),
    ):
        path.write_text(orders)
        report = home.ingestor().run([home.docs])
        assert report.rows[0].reason.startswith(reason)
        assert report.rows[0].reason.endswith("; its older version stays searchable")
        assert report.rows[0].counts == {"text": 1}
        assert all_texts(home) == ["Old words."]
    record = home.store().source(source_id(str(home.docs), "a.txt"))
    assert record is not None
    assert record.status == "failed"
    assert record.live_sha256 != record.sha256
    path.write_text("Newest words.")
    assert statuses(home.ingestor().run([home.docs])) == {"a.txt": "stored"}
    assert all_texts(home) == ["Newest words."]


@pytest.mark.usefixtures("faulty")
def test_bad_files_do_not_disturb_good_ones(home: Home) -> None:
    limits = Limits(seconds=1, memory_mb=300, file_mb=1)
    home.write("crash.txt", "SEGFAULT")
    home.write("empty.txt", "\n \n")
    home.write("good.txt", "Good words.\nFAULT lost a picture\nPICTURE")
    home.write("hang.txt", "HANG")
    home.write("large.txt", "word " * 300_000)
    home.write("memory.txt", "EAT 1000")
    report = home.ingestor(limits=limits).run([home.docs])
    assert statuses(report) == {
        "crash.txt": "failed", "empty.txt": "failed", "good.txt": "stored", "hang.txt": "failed", "large.txt": "failed",
        "memory.txt": "failed",
    }  # fmt: skip
    assert reasons(report)["large.txt"] == "has 2 MB; the limit is 1 MB (index.limits.file_mb)"
    assert reasons(report)["empty.txt"] == "no text or picture was found in it"
    good = report.rows[2]
    assert good.counts == {"figure": 1, "text": 1}
    assert good.warnings == ("page 1: lost a picture",)
    again = home.ingestor(limits=limits).run([home.docs / "good.txt"])
    assert again.rows[0].warnings == ("page 1: lost a picture",)
    picture = next(n for n in home.store().get_nodes() if n.metadata["kind"] == "figure")
    assert home.store().vectors([picture.node_id], "text") == {}


def test_things_that_are_no_files(home: Home) -> None:
    home.write("real/a.txt", "Words.")
    (home.docs / "broken.txt").symlink_to("nowhere.txt")
    (home.docs / "link.txt").symlink_to("real/a.txt")
    (home.docs / "loop.txt").symlink_to("loop.txt")
    (home.docs / "real" / "up").symlink_to("..")
    (home.docs / "twin").symlink_to("real")
    os.mkfifo(home.docs / "pipe")
    home.write(".hidden", "Hidden.")
    home.write(".git/config", "Hidden.")
    home.write("~$lock.docx", "Hidden.")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.relpath(home.docs / "socket"))
    listener.close()
    report = home.ingestor().run([home.docs])
    assert statuses(report) == {
        "broken.txt": "failed", "link.txt": "stored", "loop.txt": "failed", "pipe": "skipped", "real/a.txt": "stored",
        "socket": "skipped",
    }  # fmt: skip
    assert reasons(report)["broken.txt"] == "is a broken link"
    assert "symbolic links" in reasons(report)["loop.txt"]
    assert reasons(report)["pipe"] == "is a named pipe, not a file"
    assert report.totals["hidden"] == 3
    assert len(report.notes) == 2


def test_links_to_folders_outside_are_followed_once(home: Home, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("Outside.")
    (tmp_path / "outside" / "back").symlink_to(home.docs)
    (home.docs / "link").symlink_to(tmp_path / "outside")
    assert statuses(home.ingestor().run([home.docs])) == {"link/a.txt": "stored"}


def test_strange_names_are_shown_and_the_right_file_is_read(home: Home) -> None:
    home.write("two\nlines.txt", "Newline.")
    home.write("ünïcode 文.txt", "Letters.")
    with open(os.fsencode(home.docs) + b"/latin-\xe9.txt", "wb") as file:
        file.write(b"Bytes.")
    report = home.ingestor().run([home.docs])
    assert statuses(report) == {"latin-\\xe9.txt": "stored", "two\nlines.txt": "stored", "ünïcode 文.txt": "stored"}
    assert all_texts(home) == ["Bytes.", "Letters.", "Newline."]
    json.dumps(report.public(), ensure_ascii=False).encode("utf-8")
    assert locate(str(home.docs), "latin-\\xe9.txt").read_bytes() == b"Bytes."
    assert locate(str(home.docs), "two\nlines.txt").read_bytes() == b"Newline."
    age(home.docs)
    home.ingestor().run([home.docs])
    assert set(statuses(home.ingestor().run([home.docs])).values()) == {"unchanged"}


def test_paths(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("a.txt", "One.")
    home.write("sub/b.txt", "Two.")
    with pytest.raises(LoadError, match=r"No such file or folder: .*missing.*Nothing was indexed"):
        home.ingestor().run([home.docs, home.docs / "missing"])
    assert home.store().count() == 0
    monkeypatch.chdir(home.docs)
    report = home.ingestor().run([".", "sub", "sub/../a.txt", str(home.docs / "a.txt")])
    assert [(row.root, row.source) for row in report.rows] == [(str(home.docs), "a.txt"), (str(home.docs), "sub/b.txt")]
    assert statuses(home.ingestor().run(["sub/b.txt"])) == {"b.txt": "stored"}


@pytest.mark.usefixtures("faulty")
def test_a_reader_of_llamaindex_serves_another_format(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "launcher", launcher)  # workers with all of LlamaIndex
    home.write("a.foo", "words for a reader")
    readers: dict[str, tuple[str, dict[str, Any]]] = {".foo": ("faulty_loaders.UpperReader", {})}
    assert statuses(home.ingestor(readers=readers).run([home.docs])) == {"a.foo": "stored"}
    assert all_texts(home) == ["WORDS FOR A READER"]


def test_two_folders_are_kept_apart(home: Home) -> None:
    home.write("one/a.txt", "First.")
    home.write("two/a.txt", "Second.")
    report = home.ingestor().run([home.docs / "one", home.docs / "two"])
    assert [row.source for row in report.rows] == ["a.txt", "a.txt"]
    assert all_texts(home) == ["First.", "Second."]


def test_the_data_folder_is_never_indexed(home: Home) -> None:
    home.data = home.docs / "kb"
    home.write("a.txt", "Words.")
    for _ in range(2):
        assert list(statuses(home.ingestor().run([home.docs]))) == ["a.txt"]


class Failing(FakeEmbedding):
    """Refuses texts with a certain word."""

    fault: Any = None

    def embed(self, text: str) -> list[float]:
        if "poison" in text:
            raise self.fault
        return super().embed(text)


@pytest.mark.usefixtures("faulty")
def test_a_failing_embedder_fails_the_source(home: Home) -> None:
    home.write("bad.txt", "MANY 200\nsome poison\nMANY 3000")
    home.write("good.txt", "Words.")
    report = home.ingestor(embedder=Failing(fault=ModelError("no connection"))).run([home.docs])
    assert statuses(report) == {"bad.txt": "failed", "good.txt": "stored"}
    assert reasons(report)["bad.txt"].startswith("embedding failed: ")
    assert all_texts(home) == ["Words."]


class FullStore(SqliteStore):
    """The disk is full when one source is published, or whenever the ledger is written."""

    _full: str = ""

    def record(self, record: Any) -> None:
        if self._full == "ledger":
            raise StoreError("The disk is full.")
        super().record(record)

    def stage(self, doc_id: str) -> Any:
        stage = super().stage(doc_id)

        def publish(record: Any) -> None:
            raise StoreError("The disk is full.")

        if self._full in (doc_id, "ledger"):
            stage.publish = publish  # type: ignore[method-assign]
        return stage


def test_a_full_disk_fails_sources_and_leaves_the_store_whole(home: Home) -> None:
    home.write("a.txt", "First words.")
    home.write("b.txt", "Second words.")
    spaces = [Space("text", 16, "fake-1")]
    store = FullStore(data=home.data, spaces=spaces)  # type: ignore[call-arg]  # mypy takes it for a model's fields
    home.stores.append(store)
    store._full = source_id(str(home.docs), "a.txt")
    report = home.ingestor(store=store).run([home.docs])
    assert statuses(report) == {"a.txt": "failed", "b.txt": "stored"}
    assert reasons(report)["a.txt"] == "The disk is full."
    assert all_texts(home) == ["Second words."]
    store._full = "ledger"
    report = home.ingestor(store=store).run([home.docs])
    assert statuses(report)["a.txt"] == "failed"
    store._full = ""
    assert statuses(home.ingestor(store=store).run([home.docs])) == {"a.txt": "stored", "b.txt": "unchanged"}


def test_a_really_full_disk(home: Home) -> None:
    """SQLite refuses to grow: the row fails, what was stored before stays."""
    home.write("a.txt", "First words.")
    store = home.store()
    home.ingestor(store=store).run([home.docs])
    home.write("b.txt", "\n\n".join(f"Paragraph {n} with other words {n * n}." * 10 for n in range(300)))
    with store._connections.writing() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    store._connections._writer.execute(f"PRAGMA max_page_count = {pages + 4}")  # type: ignore[union-attr]
    real = store.stage

    def stage(doc_id: str) -> Any:
        made: Any = real(doc_id)
        made._connection.execute(f"PRAGMA max_page_count = {pages + 4}")
        return made

    object.__setattr__(store, "stage", stage)
    report = home.ingestor(store=store).run([home.docs])
    assert statuses(report) == {"a.txt": "unchanged", "b.txt": "failed"}
    assert "disk is full" in reasons(report)["b.txt"].lower()
    assert all_texts(home) == ["First words."]


def test_another_embedder_stops_the_run(home: Home) -> None:
    home.write("a.txt", "Words.")
    home.ingestor().run([home.docs])
    with pytest.raises(SpaceError):
        home.store(FakeEmbedding(revision="fake-2"))


def test_progress_counts_up_to_the_end(home: Home) -> None:
    for n in range(5):
        home.write(f"{n}.txt", f"Words of file {n}.")
    seen: list[Progress] = []
    home.ingestor().run([home.docs], progress=seen.append)
    last = seen[-1]
    assert (last.files_done, last.files_total, last.nodes) == (5, 5, 5)
    assert last.bytes_done == last.bytes_total == sum(p.stat().st_size for p in home.docs.iterdir())
    assert last.eta_s == 0
    assert last.rate > 0
    assert [p.files_done for p in seen] == sorted(p.files_done for p in seen)
    assert any(p.current for p in seen)


@pytest.mark.usefixtures("faulty")
def test_a_file_that_changes_while_it_is_read_fails(home: Home) -> None:
    path = home.write("a.txt", "Words.\nSLEEP 1.5")

    def change(progress: Progress) -> None:
        if progress.current and progress.seconds > 0.2:
            path.write_text("Other words.\nSLEEP 1")

    report = home.ingestor().run([home.docs], progress=change)
    assert reasons(report) == {"a.txt": "was changed while it was being read; index it again"}


@pytest.mark.usefixtures("faulty")
def test_an_interrupt_ends_everything_and_a_later_run_goes_on(home: Home) -> None:
    home.write("a.txt", "First words. " + "and more " * 30)
    home.write("b.txt", "HANG")

    def interrupt(progress: Progress) -> None:
        if progress.files_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.ingestor().run([home.docs], progress=interrupt)
    home.write("b.txt", "Second words.")
    assert statuses(home.ingestor().run([home.docs])) == {"a.txt": "unchanged", "b.txt": "stored"}


def test_sentence_vectors_come_with_the_bundled_embedder(home: Home) -> None:
    home.write("a.md", "# Ducks\n\nDucks live in saltwater all year. They eat plants and small animals in winter.")
    home.write("b.csv", "year,cost\n2020,12\n2021,13\n")
    embedder = MiniLM()
    spaces = [Space("text", 384, "r"), Space("sentences", 384, "r", multi=True, searchable=False)]
    store = SqliteStore(data=home.data, spaces=spaces)
    home.stores.append(store)
    home.ingestor(store=store, embedder=embedder, sentences="sentences").run([home.docs])
    nodes = store.get_nodes()
    ids = [node.node_id for node in nodes]
    vectors, whole = store.vectors(ids, "sentences"), store.vectors(ids, "text")
    assert len(nodes) == 2
    for node in nodes:
        assert isinstance(node, TextNode)
        assert vectors[node.node_id].shape == (len(units(node.text, node.metadata["kind"])), 384)
        assert whole[node.node_id].shape == (384,)


WORKER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
LOADERS.add("faulty", "faulty_loaders:FaultyLoader")
BY_MEDIA_TYPE["text/plain"] = "faulty"
from sensorium.pipelines.ingest import Ingestor
from sensorium.pipelines.split import SentenceSplit
from sensorium.stores.base import Space
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing import FakeEmbedding
store = SqliteStore(data=Path({data!r}), spaces=[Space("text", 16, "fake-1")])
embedders = {{"text": FakeEmbedding()}}
ingestor = Ingestor(store=store, embedders=embedders, split=SentenceSplit(), fingerprint="one", ocr="off")
report = ingestor.run([{docs!r}])
print({{row.source: row.status for row in report.rows}})
"""


def start(home: Home) -> "subprocess.Popen[str]":
    """Index in a process of its own: a plain script, without a `__main__` guard."""
    script = home.docs.parent / "index.py"
    script.write_text(WORKER.format(tests=str(Path(__file__).parent), data=str(home.data), docs=str(home.docs)))
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("faulty")
def test_two_processes_index_the_same_folder_at_once(home: Home) -> None:
    for n in range(8):
        home.write(f"{n}.txt", f"Words of {n}.\nSLEEP 0.05\nMore words of {n}.")
    processes = [start(home), start(home)]
    results = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for result in results:
        assert set(eval(result).values()) <= {"stored", "unchanged"}
    assert len(all_texts(home)) == 8
    age(home.docs)
    report = home.ingestor().run([home.docs])
    assert set(statuses(report).values()) == {"unchanged"}
    assert report.totals["nodes"] == 8


@pytest.mark.usefixtures("faulty")
def test_a_killed_run_goes_on_where_it_was(home: Home) -> None:
    for n in range(3):
        home.write(f"{n}.txt", f"Words of {n}." + " more" * 50)
    home.write("last.txt", "SLEEP 60")
    age(home.docs)
    process = start(home)
    store = home.store()
    end = time.monotonic() + 60
    while store.count() < 3 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    home.write("last.txt", "Last words.")
    report = home.ingestor(store=store).run([home.docs])
    assert statuses(report) == {
        "0.txt": "unchanged", "1.txt": "unchanged", "2.txt": "unchanged", "last.txt": "stored",
    }  # fmt: skip
