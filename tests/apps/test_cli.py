"""The command line: shapes of its JSON, exit codes, texts for people, and what goes wrong."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import typer
from typer.testing import CliRunner, Result

from sensorium.apps._cli.guard import guarded
from sensorium.apps._cli.output import place, printable
from sensorium.apps._cli.progress import words
from sensorium.apps.cli import SCHEMA_FILE, app
from sensorium.errors import StoreError
from sensorium.pipelines.ingest import Progress, Reading
from sensorium.pipelines.spec import load_spec

COMMAND = [sys.executable, "-m", "sensorium.apps.cli"]
EVIDENCE = {"source", "media_type", "kind", "page", "slide", "bbox", "start_s", "end_s"}
LINES = (
    "The lighthouse at Cape Arden was built in 1871 by the engineer Maria Lind.",
    "Its lamp reaches 23 nautical miles and flashes every 12 seconds.",
    "The keeper's house was turned into a museum of navigation in 1994.",
)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "pdf").mkdir()
    with pymupdf.open() as document:
        page = document.new_page()
        for at, line in enumerate(LINES):
            page.insert_text((72, 100 + 60 * at), line, fontsize=11)
        document.save(folder / "pdf" / "lighthouse.pdf")
    (folder / "birds.md").write_text(
        "# Birds\n\nIn 2021 the survey counted 48 puffins on the northern cliff.\n\n"
        "Razorbills nest on the ledges below the lighthouse.\n",
        encoding="utf-8",
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing of a PDF follows\n")
    return folder


@pytest.fixture(scope="module")
def data(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An indexed knowledge base; the indexing itself is looked at by the tests of `index`."""
    folder = tmp_path_factory.mktemp("kb") / "data"
    done = call("index", documents, "--data", folder, "--json")
    assert done.exit_code == 3, done.stderr
    (folder.parent / "report.json").write_text(done.stdout)
    return folder


# Without an index ----------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(spent) < 0.3
    code = (
        "import sys, sensorium.apps.cli; "
        "heavy = {'llama_index', 'pymupdf', 'onnxruntime', 'numpy', 'PIL', 'pydantic', 'rich'}; "
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["init", "index", "search", "ask", "show", "status", "delete", "validate", "schema"])
def test_every_verb_explains_itself(verb: str) -> None:
    done = call(verb, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",), ("ask",), ("search",), ("index",), ("index", "/no/such/folder"), ("search", "x", "--top-k", "-1"),
        ("search", "x", "--filter", "kind"), ("search", "x", "--filter", "page=three"), ("delete",),
        ("delete", "x", "--all"), ("ask", "x", "--batch", "f.jsonl"), ("show",), ("validate", "/no/such.yaml"),
        ("show", "x", "-o", "-", "--json"), ("ask", "x", "--config", "/no/such.yaml"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    verb_takes_data = arguments[0] in ("index", "search", "ask", "show", "delete")
    done = call(*arguments, *(("--data", tmp_path / "kb") if verb_takes_data else ()))
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "rror" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "kb").exists()


def test_an_invalid_configuration_is_2_and_names_every_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("stor: sqlite\nindex:\n  worker: 2\n")
    monkeypatch.chdir(tmp_path)
    done = call("ask", "anything", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "config.yaml:1:1: stor: unknown key" in done.stderr
    assert "config.yaml:3:3: index.worker: unknown key" in done.stderr
    assert "Did you mean 'workers'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_validate_gives_faults_as_json(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("index:\n  worker: 2\n")
    done = call("validate", bad, "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout) == {
        "file": str(bad), "valid": False,
        "faults": [{
            "file": str(bad), "line": 2, "column": 3, "path": "index.worker", "problem": "unknown key 'worker'",
            "expected": "one of split, spaces, ocr, speech, captions, limits, workers", "nearest": "workers",
        }],
    }  # fmt: skip
    bad.write_text("index:\n  workers: 2\n")
    assert json.loads(call("validate", "--config", bad, "--json").stdout)["valid"] is True
    assert "is valid" in call("validate", bad).stdout


@pytest.mark.parametrize("arguments", [("ask", "x"), ("search", "x"), ("show", "x"), ("status",), ("delete", "x")])
def test_without_an_index_it_says_how_to_make_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = call(*arguments, "--data", tmp_path / "none", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"sensorium index FOLDER --data {tmp_path / 'none'}" in done.stderr
    assert not (tmp_path / "none").exists()


def test_progress_in_words() -> None:
    moment = Progress(3, 12, 4_000_000, 16_000_000, 240, (Reading("pdf/a\x1b.pdf"),), 2.0)
    assert words(moment) == "3/12 files, 240 nodes, 2.0 MB/s, 0:06 left, reading pdf/a\\x1b.pdf"
    talk = replace(moment, readings=(*moment.readings, Reading("talk.mp3", 9, 750.0, 2700.0)))
    assert words(talk).endswith("reading talk.mp3 12:30 of 45:00")


def test_schema_prints_the_schema() -> None:
    shown = json.loads(call("schema").stdout)
    assert shown["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert shown == json.loads(call("schema", "--json").stdout)


def test_init_writes_a_configuration_that_loads(tmp_path: Path) -> None:
    done = call("init", tmp_path)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "config.yaml").read_text()
    first = text.splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{SCHEMA_FILE}"
    assert json.loads((tmp_path / SCHEMA_FILE).read_text()) == json.loads(call("schema").stdout)
    assert load_spec(tmp_path / "config.yaml").model_dump() == load_spec().model_dump()


def test_init_overwrites_only_when_forced(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: mine\n")
    done = call("init", tmp_path)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    assert (tmp_path / "config.yaml").read_text() == "data: mine\n"
    assert json.loads(call("init", tmp_path, "--force", "--json").stdout)["written"]
    assert (tmp_path / "config.yaml").read_text() != "data: mine\n"


def test_the_reader_may_leave() -> None:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m sensorium.apps.cli schema | head -c 10"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def ending(function: Callable[..., int | None], **options: Any) -> tuple[int, str]:
    one = typer.Typer(pretty_exceptions_enable=False)

    @one.command()
    @guarded
    def verb(debug: bool = False) -> int | None:
        return function()

    done = CliRunner().invoke(one, ["--debug"] if options.get("debug") else [])
    return done.exit_code, done.stderr


def test_an_interrupt_is_130() -> None:
    def stop() -> int:
        raise KeyboardInterrupt

    assert ending(stop) == (130, "interrupted\n")


def test_unexpected_errors_are_one_line_unless_debugged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-live-0987654321")
    load_spec({"data": "${MY_KEY}"})

    def fail() -> int:
        raise RuntimeError("401: key sk-live-0987654321 is not known\nmore")

    code, shown = ending(fail)
    assert code == 1
    assert shown.splitlines()[0] == "error: unexpected RuntimeError: 401: key ${MY_KEY} is not known"
    assert "Traceback" not in shown
    code, shown = ending(fail, debug=True)
    assert "Traceback" in shown
    assert "sk-live" not in shown


def test_errors_on_purpose_say_what_to_do() -> None:
    def fail() -> int:
        raise StoreError("The disk is full.", "Make room.")

    assert ending(fail) == (1, "error: The disk is full.\nhint: Make room.\n")


def test_control_characters_never_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc\udcffd") == "a\\x1b[31mb\\nc\\udcffd"
    assert printable("a\nb\u00a0c", lines=True) == "a\nb c"


def test_places_in_words() -> None:
    box = {"source": "a.pdf", "kind": "table", "page": 3, "bbox": [0.1, 0.2, 0.9, 0.4]}
    assert place(box) == "a.pdf, page 3, table (x 10-90 %, y 20-40 %)"
    assert place({"source": "a.mp4", "kind": "speech", "start_s": 62.0, "end_s": 3723.0}) == (
        "a.mp4, speech (1:02-1:02:03)"
    )


# With an index -------------------------------------------------------------------------------------------------


def test_index_reports_every_source(data: Path) -> None:
    report = json.loads((data.parent / "report.json").read_text())
    rows = {row["source"]: row for row in report["sources"]}
    assert set(rows) == {"pdf/lighthouse.pdf", "birds.md", "broken.pdf"}
    assert rows["pdf/lighthouse.pdf"]["status"] == "stored"
    assert sum(rows["birds.md"]["counts"].values()) > 0
    assert rows["birds.md"]["reason"] is None
    assert (rows["broken.pdf"]["status"], bool(rows["broken.pdf"]["reason"])) == ("failed", True)
    assert {"source", "status", "reason", "counts", "warnings"} <= set(rows["birds.md"])
    assert {"stored": 2, "failed": 1, "skipped": 0, "unchanged": 0}.items() <= report["totals"].items()
    assert report["totals"]["nodes"] == sum(sum(row["counts"].values()) for row in report["sources"])
    assert report["seconds"] > 0


def test_index_again_for_people(documents: Path, data: Path) -> None:
    done = call("index", documents, "--data", data)
    assert done.exit_code == 3
    assert "2 unchanged" in done.stdout
    assert "failed: broken.pdf: " in done.stdout
    assert "Traceback" not in done.stderr


def test_search_json(data: Path) -> None:
    done = call("search", "How many puffins were counted?", "--top-k", 2, "--data", data, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found) == {"query", "hits", "seconds"}
    assert found["query"] == "How many puffins were counted?"
    assert [hit["rank"] for hit in found["hits"]] == [1, 2]
    assert all(set(hit) == {"rank", "score", "node_id", "text", "evidence"} for hit in found["hits"])
    assert set(found["hits"][0]["evidence"]) == EVIDENCE
    assert found["hits"][0]["evidence"]["source"] == "birds.md"


def test_search_filters(data: Path) -> None:
    every = ("search", "lighthouse", "--data", data, "--json")
    only = json.loads(call(*every, "--filter", "source=birds.md").stdout)
    assert {hit["evidence"]["source"] for hit in only["hits"]} == {"birds.md"}
    both = json.loads(call(*every, "--filter", "source=birds.md", "--filter", "source=pdf/lighthouse.pdf").stdout)
    assert len({hit["evidence"]["source"] for hit in both["hits"]}) == 2
    paged = json.loads(call(*every, "--filter", "page=1").stdout)
    assert {hit["evidence"]["source"] for hit in paged["hits"]} == {"pdf/lighthouse.pdf"}


def test_ask_json(data: Path) -> None:
    done = call("ask", "When was the lighthouse at Cape Arden built?", "--data", data, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert {"question", "answer", "abstained", "support", "citations", "seconds"} <= set(answer)
    assert answer["abstained"] is False
    assert "1871" in answer["answer"]
    first = answer["citations"][0]
    assert first["marker"] == 1
    assert {"marker", "quote", "score", "evidence"} <= set(first)
    assert (first["evidence"]["source"], first["evidence"]["page"]) == ("pdf/lighthouse.pdf", 1)


def test_ask_for_people_and_the_command_it_offers(data: Path, tmp_path: Path) -> None:
    done = call("ask", "When was the lighthouse at Cape Arden built?", "--data", data)
    assert "1871" in done.stdout
    assert "[1] pdf/lighthouse.pdf, page 1, text (x " in done.stdout
    hint = next(line for line in done.stdout.splitlines() if "sensorium show" in line)
    arguments = hint.split("sensorium ", 1)[1].split()
    arguments[arguments.index("crop.png")] = str(tmp_path / "crop.png")
    shown = call(*arguments)
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "crop.png").read_bytes().startswith(b"\x89PNG")


def test_search_for_people(data: Path) -> None:
    done = call("search", "puffins", "--data", data)
    assert done.stdout.startswith("1. birds.md, text")
    assert "48 puffins" in done.stdout


def test_ask_takes_any_query(data: Path) -> None:
    for query in ("", "   ", "\udcff"):
        done = call("ask", query, "--data", data)
        assert done.exit_code in (0, 2)
        assert "unexpected" not in done.stderr
    assert call("ask", "", "--data", data).exit_code == 2
    for query in ('"', "NEAR(a b) OR *:*", "x" * 100_000, "' ; DROP TABLE nodes"):
        assert call("ask", query, "--data", data, "--json").exit_code == 0
    for top_k in (0, 1_000_000):
        found = call("search", "lighthouse", "--top-k", top_k, "--data", data, "--json")
        assert found.exit_code == 0
        assert bool(json.loads(found.stdout)["hits"]) is bool(top_k)
    unknown = call("ask", "x", "--pipeline", "nope", "--data", data)
    assert unknown.exit_code == 2
    assert "default" in unknown.stderr


@pytest.mark.parametrize("verb", ["search", "ask"])
def test_batch_answers_line_by_line(verb: str, data: Path, tmp_path: Path) -> None:
    batch = tmp_path / "questions.jsonl"
    lines = [{"id": f"q{n}", "question": text} for n, text in enumerate(("puffins?", "Who built it?", "lamp range"))]
    batch.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    done = call(verb, "--batch", batch, "--data", data, "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["q0", "q1", "q2"]
    assert all(("hits" if verb == "search" else "answer") in row for row in rows)


def test_batch_goes_on_after_a_bad_line(data: Path, tmp_path: Path) -> None:
    batch = tmp_path / "questions.jsonl"
    batch.write_text(
        '{"id": 1, "question": "puffins"}\n{"id": 2, "question": \n{"question": "x"}\n[]\n{"id": 3, "question": 5}\n'
        '{"id": 4, "question": ""}\n{"id": 5, "question": "", "image": "none.png"}\n{"id": 6, "question": "lamp"}\n'
    )
    done = call("ask", "--batch", batch, "--data", data)
    assert done.exit_code == 2
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == [1, None, None, None, 3, 4, 5, 6]
    assert ["error" in row for row in rows] == [False, True, True, True, True, True, True, False]
    assert "questions.jsonl:2: no JSON" in done.stderr
    assert call("ask", "--batch", tmp_path / "absent.jsonl", "--data", data).exit_code == 2


def node(data: Path, query: str = "lighthouse engineer") -> str:
    found = call("search", query, "--filter", "page=1", "--data", data, "--json")
    return str(json.loads(found.stdout)["hits"][0]["node_id"])


def test_show_minds_the_suffix(data: Path, tmp_path: Path) -> None:
    id_ = node(data)
    done = call("show", id_, "-o", tmp_path / "crop", "--data", data, "--json")
    shown = json.loads(done.stdout)
    assert (shown["file"], shown["media_type"]) == (str(tmp_path / "crop.png"), "image/png")
    assert (tmp_path / "crop.png").stat().st_size > 500
    assert call("show", id_, "-o", tmp_path / "crop.jpg", "--data", data).exit_code == 0
    assert (tmp_path / "crop.jpg").read_bytes().startswith(b"\xff\xd8")
    refused = call("show", id_, "-o", tmp_path / "crop.mp4", "--data", data)
    assert refused.exit_code == 2
    assert "crop.png" in refused.stderr
    assert not (tmp_path / "crop.mp4").exists()
    assert call("show", id_, "-o", "-", "--data", data).stdout_bytes.startswith(b"\x89PNG")
    assert call("show", id_, "-o", tmp_path / "no" / "dir.png", "--data", data).exit_code == 2
    unknown = call("show", "no-such-node", "-o", tmp_path / "x.png", "--data", data)
    assert unknown.exit_code == 1
    assert "no-such-node" in unknown.stderr


def test_status(data: Path) -> None:
    done = call("status", "--data", data, "--json")
    facts = json.loads(done.stdout)
    assert facts["sources"] == {"stored": 2, "failed": 1}
    assert facts["nodes"]["text"] > 0
    shown = call("status", "--data", data).stdout
    assert "failed: broken.pdf: " in shown
    assert "stored" in shown


def test_delete(documents: Path, tmp_path: Path) -> None:
    kb = tmp_path / "kb"
    assert call("index", documents / "birds.md", "--data", kb).exit_code == 0
    wrong = call("delete", "bird.md", "--data", kb)
    assert wrong.exit_code == 2
    assert "Did you mean 'birds.md'?" in wrong.stderr
    assert json.loads(call("delete", "*.md", "--data", kb, "--json").stdout) == {"deleted": ["birds.md"]}
    assert json.loads(call("search", "puffins", "--data", kb, "--json").stdout)["hits"] == []
    assert json.loads(call("delete", "--all", "--data", kb, "--json").stdout) == {"deleted": []}
    assert "Nothing found" in call("search", "puffins", "--data", kb).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_odd_file_names_are_printed_safely(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    names = [b"new\nline.md", b"latin-\xe9.md", b"esc\x1b[31m.md"]
    for name in names:
        (folder / os.fsdecode(name)).write_text("Terns breed on the sandbank in June.", encoding="utf-8")
    done = call("index", folder, "--data", tmp_path / "kb", "--json")
    assert done.exit_code == 0, done.stderr
    reported = {row["source"] for row in json.loads(done.stdout)["sources"]}
    assert len(reported) == 3
    assert {"new\nline.md", "esc\x1b[31m.md"} <= reported
    assert call("search", "terns", "--data", tmp_path / "kb", "--json").exit_code == 0
    for arguments in (("search", "terns"), ("status",), ("index", folder)):
        shown = call(*arguments, "--data", tmp_path / "kb")
        assert shown.exit_code == 0, shown.stderr
        assert "\x1b" not in shown.stdout
        assert "\nline.md" not in shown.stdout


def test_ctrl_c_ends_cleanly_and_the_index_stays_whole(tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.md").write_text(f"Note {number}. " + "Gulls circle above the pier at noon. " * 40)
    process = subprocess.Popen(
        [*COMMAND, "index", str(folder), "--data", str(tmp_path / "kb")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    ledger = tmp_path / "kb"
    until = time.monotonic() + 60
    while not ledger.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("indexing was done before the interrupt")
    assert process.returncode == 130, err
    assert "Traceback" not in out + err
    assert call("status", "--data", tmp_path / "kb", "--json").exit_code == 0
