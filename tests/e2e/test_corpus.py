"""The main job on real files, through the command line as a user would run it."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.e2e.conftest import READ, lines, sensorium

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def hits(report: dict[str, Any], corpus: Path, data: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    batch = tmp_path_factory.mktemp("batch") / "questions.jsonl"
    asked = [q for q in lines(corpus / "questions.jsonl") if q["query_modality"] == "text"]
    batch.write_text("".join(json.dumps({"id": q["id"], "question": q["question"]}) + "\n" for q in asked))
    rows = sensorium("search", "--batch", str(batch), "--top-k", "10", "--data", data, "--json").splitlines()
    return {row["id"]: row["hits"] for row in map(json.loads, rows)}


def test_every_file_is_accounted_for(report: dict[str, Any], staged: Path) -> None:
    status = {row["source"]: row["status"] for row in report["sources"]}
    files = {p.relative_to(staged).as_posix() for name in staged.iterdir() for p in name.iterdir()}
    assert set(status) == files
    assert {s for s in files if s.split("/")[0] in READ and status[s] != "stored"} == set()
    assert all(row["reason"] for row in report["sources"] if row["status"] in ("skipped", "failed"))


@pytest.mark.parametrize("kind", ["text", "table", "ocr"])
def test_evidence_is_among_the_first_five(hits: dict[str, Any], corpus: Path, kind: str) -> None:
    asked = [q for q in lines(corpus / "questions.jsonl") if q["kind"] == kind and q["query_modality"] == "text"]
    missed = [
        q["id"] for q in asked if not any(fits(h["evidence"], e) for h in hits[q["id"]][:5] for e in q["evidence"])
    ]
    assert len(missed) <= 0.1 * len(asked), missed


def fits(found: dict[str, Any], truth: dict[str, Any]) -> bool:
    places = all(truth[key] is None or found[key] == truth[key] for key in ("page", "slide"))
    return found["source"] == truth["file"] and places


def test_every_hit_has_a_box_inside_its_page(hits: dict[str, Any]) -> None:
    for hit in (hit for found in hits.values() for hit in found):
        if hit["evidence"]["media_type"].startswith(("audio/", "video/")):
            assert hit["evidence"]["start_s"] < hit["evidence"]["end_s"]
            continue
        x0, y0, x1, y1 = hit["evidence"]["bbox"]
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1


def test_show_writes_the_crop_of_a_hit(hits: dict[str, Any], data: str, tmp_path: Path) -> None:
    one_a_source = {hit["evidence"]["source"]: hit["node_id"] for found in hits.values() for hit in found[:1]}
    for number, node in enumerate(one_a_source.values()):
        out = tmp_path / f"{number}.png"
        sensorium("show", node, "-o", str(out), "--data", data)
        picture = Image.open(io.BytesIO(out.read_bytes()))
        assert picture.width > 40
        assert len(picture.convert("L").getcolors(256) or ()) > 1, f"{node} shows an empty area"


def test_answers_quote_their_source(report: dict[str, Any], corpus: Path, data: str) -> None:
    question = next(q for q in lines(corpus / "questions.jsonl") if q["kind"] == "table")
    answer = json.loads(sensorium("ask", question["question"], "--data", data, "--json"))
    assert answer["abstained"] is False
    assert re.search(question["answer_regex"], answer["answer"])
    assert all(f"[{c['marker']}]" in answer["answer"] for c in answer["citations"])


def test_unchanged_files_cost_nothing(report: dict[str, Any], staged: Path, data: str) -> None:
    again = json.loads(sensorium("index", str(staged), "--data", data, "--json"))
    before, after = ({r["source"]: r["status"] for r in x["sources"]} for x in (report, again))
    assert {s: after[s] for s in before if before[s] == "stored"} == {
        s: "unchanged" for s in before if before[s] == "stored"
    }
    assert again["totals"]["nodes"] == report["totals"]["nodes"]
    assert again["seconds"] < 0.1 * report["seconds"]


def test_hostile_files_harm_nothing(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    cases = lines(corpus / "hostile.jsonl")
    for case in cases:
        (folder / Path(case["file"]).name).symlink_to(corpus / case["file"])
    (folder / "good.txt").write_text("The lamp of Gull Point was converted in 2024.")
    found = json.loads(sensorium("index", str(folder), "--data", str(tmp_path / "data"), "--json", code=3))
    rows = {row["source"]: row for row in found["sources"]}
    assert len(rows) == len(cases) + 1
    assert rows["good.txt"]["status"] == "stored"
    assert all(row["reason"] for row in rows.values() if row["status"] in ("failed", "skipped"))
    assert all(sum(row["counts"].values()) > 0 for row in rows.values() if row["status"] == "stored")
