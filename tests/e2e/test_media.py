"""Real recordings, through the command line as a user would: what is said and shown, when, and the clips of it."""

import io
import json
import re
from pathlib import Path
from typing import Any

import av
import pytest
from llama_index.core.schema import TextNode
from tests.e2e.browser import PROGRAM, played
from tests.e2e.conftest import lines, sensorium

import sensorium as library
from sensorium.speech_types import word_times

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
CONTRACTIONS = (("n't", "not"), ("'ve", "have"), ("'ll", "will"), ("'re", "are"), ("'m", "am"))
SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@pytest.fixture(scope="module")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of the corpus's recordings."""
    pytest.importorskip("faster_whisper")
    folder, data = tmp_path_factory.mktemp("recordings"), str(tmp_path_factory.mktemp("data"))
    for name in ("audio", "video"):
        (folder / name).symlink_to(corpus / name)
    report = json.loads(sensorium("index", str(folder), "--data", data, "--json"))
    assert {row["status"] for row in report["sources"]} == {"stored"}, report
    return data


@pytest.fixture(scope="module")
def questions(corpus: Path) -> list[dict[str, Any]]:
    """Those that recordings answer."""
    asked = [q for q in lines(corpus / "questions.jsonl") if q["kind"] in ("speech", "video")]
    assert asked
    return asked


@pytest.fixture(scope="module")
def hits(data: str, questions: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The first five of each question."""
    return {
        q["id"]: json.loads(sensorium("search", q["question"], "--top-k", "5", "--data", data, "--json"))["hits"]
        for q in questions
    }


def overlaps(found: dict[str, Any], truth: dict[str, Any]) -> bool:
    if found["source"] != truth["file"] or found["start_s"] is None:
        return False
    return bool(min(found["end_s"], truth["end_s"]) > max(found["start_s"], truth["start_s"]))


def test_evidence_is_among_the_first_five_with_its_time(
    hits: dict[str, list[dict[str, Any]]], questions: list[dict[str, Any]]
) -> None:
    missed = [
        q["id"] for q in questions if not any(overlaps(h["evidence"], e) for h in hits[q["id"]] for e in q["evidence"])
    ]
    assert missed == []


def test_questions_are_answered_from_recordings(data: str, questions: list[dict[str, Any]]) -> None:
    """A wrong answer is worse than none: those that are given are right, and at least half of them are given."""
    answers = {q["id"]: json.loads(sensorium("ask", q["question"], "--data", data, "--json")) for q in questions}
    given = [q for q in questions if not answers[q["id"]]["abstained"]]
    assert len(given) >= 0.5 * len(questions)
    for question in given:
        answer = answers[question["id"]]
        assert re.search(question["answer_regex"], answer["answer"]), answer["answer"]
        assert any(overlaps(c["evidence"], e) for c in answer["citations"] for e in question["evidence"])


def test_speech_is_recognised(corpus: Path, data: str) -> None:
    """Word error rate of at most 5 % on what has a transcript; what is captioned is taken from the captions."""
    wrong = {}
    nodes = texts(data)
    for known in lines(corpus / "transcripts.jsonl"):
        kind = "caption" if known.get("cues") else "speech"
        said = [n for n in nodes if n.metadata["source"] == known["file"] and n.metadata["kind"] == kind]
        said.sort(key=lambda n: n.metadata["start_s"])
        last = known["cues"][-1][1] if known.get("cues") else float("inf")  # a cue behind it runs past the picture
        timed = [(n.text[a:b], start) for n in said for a, b, start, _ in word_times(n)]
        heard = normal(" ".join(word for word, start in timed if start < last - 0.1))
        truth = normal(known["text"])
        if errors(truth, heard) > 0.05 * len(truth):
            wrong[known["file"]] = (errors(truth, heard), len(truth), heard)
    assert wrong == {}


def test_cues_start_when_they_are_shown(corpus: Path, data: str) -> None:
    """The words of captions stand within half a second of where the file has them."""
    nodes = texts(data)
    for known in (t for t in lines(corpus / "transcripts.jsonl") if t.get("cues")):
        captions = [n for n in nodes if n.metadata["source"] == known["file"] and n.metadata["kind"] == "caption"]
        times = {round(start, 2) for node in captions for _, _, start, _ in word_times(node)}
        times |= {round(float(node.metadata["start_s"]), 2) for node in captions}
        for start, _, text in known["cues"]:
            assert min(abs(start - t) for t in times) <= 0.5, (text, sorted(times))


def texts(data: str) -> list[TextNode]:
    """All nodes of an index."""
    with library.open(data=data) as kb:
        return [node for node in kb.store.get_nodes() if isinstance(node, TextNode)]


def normal(text: str) -> list[str]:
    """Words for comparison: no case, no punctuation, no names of speakers, small numbers in words."""
    text = re.sub(r"^\s*[A-Z]{2,}:", " ", text.replace("\u2019", "'"))
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.lower())
    for short, long in CONTRACTIONS:
        text = re.sub(rf"(?<=\w){short}\b", f" {long}", text)
    words = re.findall(r"[a-z0-9']+", text.replace("-", " "))
    return [SPOKEN[int(w)] if w.isdigit() and int(w) <= 10 else w for w in words]


def errors(truth: list[str], heard: list[str]) -> int:
    """Words that are wrong, missing or too many (edit distance)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


@pytest.fixture(scope="module")
def clips(
    hits: dict[str, list[dict[str, Any]]], data: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """The clips of the best hits of all questions, and their evidence."""
    folder, made = tmp_path_factory.mktemp("clips"), {}
    for hit in {h["node_id"]: h for found in hits.values() for h in found[:2]}.values():
        sound = hit["evidence"]["media_type"].startswith("audio/")
        path = folder / f"{hit['node_id']}.{'m4a' if sound else 'mp4'}"
        sensorium("show", hit["node_id"], "-o", str(path), "--data", data)
        with library.open(data=data) as kb:
            evidence = kb.store.get_nodes([hit["node_id"]])[0].metadata
        made[path.name] = (path.read_bytes(), evidence)
    return made


def test_clips_last_what_the_evidence_says(clips: dict[str, tuple[bytes, dict[str, Any]]]) -> None:
    """Within one frame, as decoded."""
    for name, (clip, evidence) in clips.items():
        lasts, frame_s = length(clip)
        wanted = evidence["end_s"] - evidence["start_s"]
        assert abs(lasts - wanted) <= frame_s + 0.01, (name, lasts, wanted)


def length(clip: bytes) -> tuple[float, float]:
    """Seconds that a clip lasts as decoded, and seconds that one of its frames lasts."""
    with av.open(io.BytesIO(clip), "r") as file:
        if file.streams.video:
            frame_s = 1 / float(file.streams.video[0].average_rate or 1)
            times = [float(frame.time or 0) for frame in file.decode(file.streams.video[0])]
            return times[-1] + frame_s - times[0], frame_s
        sound = file.streams.audio[0]
        samples = [frame.samples for frame in file.decode(sound)]
        return sum(samples) / sound.rate, 1024 / sound.rate


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
def test_clips_play_in_a_browser(clips: dict[str, tuple[bytes, dict[str, Any]]], tmp_path: Path) -> None:
    told = played({name: clip for name, (clip, _) in clips.items()}, tmp_path)
    assert told.keys() == clips.keys()
    for name, result in told.items():
        evidence = clips[name][1]
        assert not result["fault"], (name, result)
        assert result["duration"] == pytest.approx(evidence["end_s"] - evidence["start_s"], abs=0.1), (name, result)
        assert (result["width"] > 0) == name.endswith(".mp4")
