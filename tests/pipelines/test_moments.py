"""Recordings in results: filters by time, quotes with their second, neighbours as one, what is said and shown then."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image
from tests.loaders.recordings import Read, write
from tests.pipelines.spoken import fill, maker, speech
from typer.testing import CliRunner

import sensorium
from sensorium.apps._cli.output import hits_text
from sensorium.apps.cli import app
from sensorium.errors import EvidenceError, QueryError
from sensorium.loaders.base import Advance, NodeMaker, SourceFile
from sensorium.nodes import Evidence
from sensorium.pipelines._multimodal.pictures import wanted
from sensorium.pipelines.context import context
from sensorium.pipelines.duplicates import fold
from sensorium.pipelines.moments import at_filter, evidence_of, joined, quoted_evidence
from sensorium.pipelines.results import Hit, usual_form
from sensorium.pipelines.retrievers import equality
from sensorium.pipelines.split import SentenceSplit
from sensorium.pipelines.units import units
from sensorium.speech_types import word_times
from sensorium.stores.base import Space
from sensorium.stores.sqlite import SqliteStore


def hits(*nodes: TextNode) -> list[Hit]:
    return [Hit(rank, 1 / rank, node) for rank, node in enumerate(nodes, 1)]


TALK = "Good day to all of you. The mirror has eighteen segments of beryllium. Thank you for the questions."


def test_a_quote_has_the_seconds_of_its_words() -> None:
    node = speech(maker(), TALK, 10.0)
    start = TALK.index("The mirror")
    end = TALK.index(" Thank")
    evidence = quoted_evidence(node, [(start, end)])
    assert (evidence.start_s, evidence.end_s) == (13.0, 16.5)
    assert evidence_of(node, "The  mirror has eighteen\nsegments of beryllium.") == evidence
    both = evidence_of(node, "Good day … Thank you")
    assert (both.start_s, both.end_s) == (10.0, 17.5)
    assert evidence_of(node, "words of nobody") == Evidence.of(node)
    paper = NodeMaker(SourceFile(Path("/x/a.pdf"), "/x", "a.pdf", "0" * 64, "application/pdf"))
    page = paper.text("text", TALK, page=3)
    assert evidence_of(page, "The mirror") == Evidence.of(page)


def test_long_speech_is_cut_with_the_times_of_its_parts() -> None:
    text = " ".join(f"Sentence number {n} speaks of the thing called word{n} at length." for n in range(60))
    node = speech(maker(), text, 100.0)
    done = Advance(10, 20)
    parts = list(SentenceSplit(tokens=60, overlap=0).split([node, done]))
    assert parts.pop() is done
    spoken = [part for part in parts if isinstance(part, TextNode)]
    assert len(spoken) > 5
    whole = word_times(node)
    found = [
        (part.text[a:b], start, end) for part in spoken for a, b, start, end in word_times(part)
    ]  # fmt: skip
    assert found == [(text[a:b], start, end) for a, b, start, end in whole]
    for part in spoken:
        times = word_times(part)
        assert (part.metadata["start_s"], part.metadata["end_s"]) == (times[0][2], times[-1][3])
    assert len({part.node_id for part in spoken}) == len(spoken)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(data=tmp_path, spaces=[Space("text", 2, "r")])
    fill(made)
    yield made
    made.close()


def texts(nodes: Any) -> list[str]:
    return sorted(" ".join(node.get_content().split()[:2]) for node in nodes)


@pytest.mark.parametrize(
    ("at", "found"),
    [
        (25, ["Part 2", "Slide 1", "Something else"]),
        ("0:55", ["Part 5", "Slide 2"]),
        ("0:35-0:41", ["Part 3", "Part 4", "Slide 1", "Slide 2"]),
        (["0:05", 55], ["Part 0", "Part 5", "Slide 0", "Slide 2"]),
        ("1:02:00", []),
    ],
)
def test_filters_by_time(store: SqliteStore, at: Any, found: list[str]) -> None:
    assert texts(store.get_nodes(filters=equality({"at": at}))) == found
    only = equality({"at": at, "kind": "scene"})
    assert texts(store.get_nodes(filters=only)) == [text for text in found if text.startswith("Slide")]


@pytest.mark.parametrize("at", ["soon", "1:75", "1:30-1:15", None, -3, True, "", float("nan"), [[1]]])
def test_what_is_no_time_is_refused(at: Any) -> None:
    with pytest.raises(QueryError, match="'at'"):
        at_filter(at)


def test_context_is_what_is_said_and_shown_then(store: SqliteStore) -> None:
    by_text = {" ".join(node.get_content().split()[:2]): node for node in store.get_nodes()}
    during = context(store, by_text["Slide 1"], "page")
    assert texts(during) == ["Part 2", "Part 3", "Slide 1"]
    assert [node.metadata["start_s"] for node in during] == [20.0, 20.0, 30.0]
    assert texts(context(store, by_text["Part 3"], "page")) == ["Part 3", "Slide 1"]
    around = texts(context(store, by_text["Part 5"]))
    assert around == ["Part 2", "Part 3", "Part 4", "Part 5", "Slide 1", "Slide 2"]
    room = len(by_text["Part 5"].get_content()) + len("Slide 2")
    assert texts(context(store, by_text["Part 5"], max_chars=room)) == ["Part 5", "Slide 2"]
    assert texts(context(store, by_text["Something else"])) == ["Something else"]


def test_speech_that_goes_on_is_one_result() -> None:
    make = maker()
    first, second, third = (speech(make, f"Part {n} of it all is said.", 10.0 * n, 1.6) for n in range(3))
    far = speech(make, "Much later something is said.", 300.0)
    other = speech(maker("other.mp4"), "Part of another talk.", 10.0)
    found = joined(hits(second, other, far, first, third))
    assert [(hit.rank, hit.node) for hit in found] == [(1, second), (2, other), (3, far)]
    assert found[0].score == 1.0
    assert found[0].text.split("\n") == [first.text, second.text, third.text]
    assert (found[0].evidence.start_s, found[0].evidence.end_s) == pytest.approx((0.0, 31.2))
    public = found[0].public()
    assert (public["node_id"], public["neighbours"]) == (second.node_id, [first.node_id, third.node_id])
    assert "neighbours" not in found[1].public()


def test_speech_is_not_joined_beyond_a_moment_or_across_chapters() -> None:
    make = maker()
    long = [speech(make, "word " * 40, 40.0 * n, 1.0) for n in range(3)]
    assert len(joined(hits(*long))) == 3
    chapters = [speech(make, "word " * 10, 10.0 * n, 1.0, section=f"Chapter {n}") for n in range(2)]
    assert len(joined(hits(*chapters))) == 2
    scene = make.picture("scene", "words", image_path="x.jpg", start_s=10, end_s=20)
    assert len(joined(hits(long[0], scene))) == 2


def test_captions_and_recognised_speech_that_say_the_same_are_folded() -> None:
    make = maker()
    heard = speech(make, "The mirror has eighteen segments, and they are made of beryllium.", 10.0)
    read = speech(make, "The mirror has 18 segments and they are made of beryllium", 10.3, kind="caption")
    other = speech(make, "Let us now turn to the detectors behind the mirror instead.", 10.2, kind="caption")
    folded = fold(hits(heard, read, other))
    assert [hit.node for hit in folded] == [heard, other]
    assert folded[0].duplicates == (read.node_id,)


def test_scenes_are_read_like_pictures() -> None:
    lines = "Primary mirror\n6.5 m\n18 segments"
    assert [lines[u.start : u.end] for u in units(lines, "scene")] == [
        lines[u.start : u.end] for u in units(lines, "ocr")
    ]
    spoken = "The mirror has eighteen segments of beryllium. They were folded for the launch, weren't they?"
    assert len(units(spoken, "speech")) == 2


def test_a_model_that_sees_gets_the_frame_of_what_is_said() -> None:
    make = maker()
    said = speech(make, TALK, 10.0)
    scene = make.picture("scene", "words", image_path="x.jpg", start_s=10, end_s=20)
    heard = speech(maker("talk.mp3", "audio/mpeg"), TALK, 10.0)
    paper = NodeMaker(SourceFile(Path("/x/a.pdf"), "/x", "a.pdf", "0" * 64, "application/pdf"))
    plain = paper.text("text", TALK, page=1)
    found = [(one.index, one.role) for one in wanted(hits(said, heard, plain, scene), "auto")]
    assert found == [(3, "photo"), (0, "photo")]


def test_the_usual_form() -> None:
    make = maker()
    assert usual_form(Evidence.of(speech(make, TALK, 1.0)), {}) == "clip"
    described = speech(make, TALK, 1.0, kind="caption", made_by="a model")
    assert usual_form(Evidence.of(described), described.metadata) == "picture"
    scene = make.picture("scene", "", image_path="x.jpg", start_s=10, end_s=20)
    assert isinstance(scene, ImageNode)
    assert usual_form(Evidence.of(scene), scene.metadata) == "picture"


CAPTIONS = """1
00:00:00,200 --> 00:00:03,000
Good day and welcome to the harbour museum, which has been open to all who care for ships and for the sea since the
old warehouse on the quay was given to the town by the widow of its last owner.

2
00:00:03,200 --> 00:00:06,000
The lighthouse at the end of the mole was built by Maria Lind in 1871, after three winters in which more ships were
lost on the reef than in the thirty years before, as the town's chronicle says.

3
00:00:06,500 --> 00:00:09,800
Its lamp reaches twenty-three nautical miles at night, and was carried up the stairs by hand in eleven pieces, none
of which was dropped, which the keepers used to tell every child that came to visit.
"""
RUN = CliRunner()


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording with captions beside it, indexed as users do."""
    folder = tmp_path_factory.mktemp("recordings")
    docs = folder / "docs"
    docs.mkdir()
    write(docs / "talk.mp3", 10, video="", sound="libmp3lame")
    (docs / "talk.srt").write_text(CAPTIONS)
    (docs / "note.txt").write_text("The harbour master lives in the yellow house near the pier.")
    with sensorium.open(data=folder / "data") as kb:
        rows = {row.source: row.status for row in kb.index(docs).rows}
    assert rows["talk.mp3"] == rows["note.txt"] == "stored"
    return folder


def test_an_answer_from_a_recording_is_heard_in_its_second(indexed: Path) -> None:
    with sensorium.open(data=indexed / "data") as kb:
        answer = kb.ask("Who built the lighthouse?")
        citation = answer.citations[0]
        assert "Maria Lind" in citation.quote
        assert not answer.abstained
        assert citation.evidence.start_s == pytest.approx(3.2, abs=0.1)
        assert citation.evidence.end_s == pytest.approx(6.0, abs=0.1)
        made = citation.asset()
        assert made.media_type == "audio/mp4"
        assert Read(made.data).seconds == pytest.approx(2.8, abs=0.1)
        assert Image.open(io.BytesIO(citation.asset("picture").data)).format == "PNG"
        found = kb.search("lamp", filters={"at": "0:08"})
        assert [hit.evidence.source for hit in found] == ["talk.mp3"]
        assert kb.picture(found[0].node.node_id).media_type == "image/png"
        assert kb.clip(found[0].node.node_id).media_type == "audio/mp4"
        note = kb.search("Where does the harbour master live?")[0].node.node_id
        with pytest.raises(EvidenceError, match=r"note\.txt is no recording"):
            kb.clip(note)


def call(indexed: Path, *arguments: object) -> Any:
    return RUN.invoke(app, [str(part) for part in (*arguments, "--data", indexed / "data")])


def test_show_goes_by_the_suffix(indexed: Path, tmp_path: Path) -> None:
    with sensorium.open(data=indexed / "data") as kb:
        talk = kb.search("lighthouse")[0].node.node_id
        note = kb.search("Where does the harbour master live?")[0].node.node_id
    assert call(indexed, "show", talk, "-o", tmp_path / "a.m4a").exit_code == 0
    assert Read((tmp_path / "a.m4a").read_bytes()).streams == {"audio": "aac"}
    assert call(indexed, "show", talk, "-o", tmp_path / "a.png").exit_code == 0
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert call(indexed, "show", talk, "-o", tmp_path / "plain").exit_code == 0
    assert (tmp_path / "plain.m4a").exists()
    refused = call(indexed, "show", note, "-o", tmp_path / "note.mp4")
    assert refused.exit_code == 2
    assert "it is text/plain: name the file" in refused.output
    assert not (tmp_path / "note.mp4").exists()


def _length(evidence: Evidence) -> float:
    assert evidence.start_s is not None
    assert evidence.end_s is not None
    return evidence.end_s - evidence.start_s


def test_a_clip_plays_what_the_result_says(indexed: Path, tmp_path: Path) -> None:
    """Not what its node says: quotes are shorter, and neighbouring speech is one result."""
    with sensorium.open(data=indexed / "data") as kb:
        cited = kb.ask("Who built the lighthouse?").citations[0]
        assert Read(kb.clip(cited).data).seconds == pytest.approx(_length(cited.evidence), abs=0.03)
        whole = kb.search("lighthouse")[0]
        parts = [whole.node.model_copy(deep=True) for _ in range(2)]
        parts[0].metadata |= {"start_s": 1.0, "end_s": 2.0}
        parts[1].metadata |= {"start_s": 2.5, "end_s": 4.5}
        joint = replace(whole, node=parts[0], neighbours=(parts[1],))
        assert Read(kb.clip(joint).data).seconds == pytest.approx(3.5, abs=0.03)
        assert kb.picture(joint).media_type == "image/png"
        assert Read(kb.asset(whole.node.node_id, at=(7.0, 8.0)).data).seconds == pytest.approx(1.0, abs=0.03)
        note = kb.search("Where does the harbour master live?")[0]
        with pytest.raises(EvidenceError, match=r"note\.txt is no recording: it has no time 0:01-0:02"):
            kb.asset(note.node.node_id, at=(1, 2))
        listed = replace(joint, duplicates=()).public()
    offered = next(line for line in hits_text([listed], "") if "sensorium show" in line)
    assert offered.endswith("-o clip.m4a --at 1-4.5")
    answered = call(indexed, "ask", "Who built the lighthouse?").output
    command = next(line for line in answered.splitlines() if "sensorium show" in line).split("sensorium ", 1)[1].split()
    command[command.index("clip.m4a")] = str(tmp_path / "clip.m4a")
    assert RUN.invoke(app, command).exit_code == 0
    assert Read((tmp_path / "clip.m4a").read_bytes()).seconds == pytest.approx(2.8, abs=0.1)
    refused = call(indexed, "show", listed["node_id"], "--at", "soon", "-o", tmp_path / "x.m4a")
    assert (refused.exit_code, "--at: 'soon' is no time" in refused.output) == (2, True)


def test_the_command_line_tells_and_takes_times(indexed: Path) -> None:
    answered = call(indexed, "ask", "Who built the lighthouse?")
    assert "talk.mp3, caption (0:03-0:06)" in answered.output
    assert "-o clip.m4a" in answered.output
    assert "talk.mp3" in call(indexed, "search", "house", "--at", "0:05").output
    assert "Nothing found with at=1:05" in call(indexed, "search", "house", "--at", "1:05").output
    refused = call(indexed, "search", "house", "--at", "1:75")
    assert refused.exit_code == 2
    assert "at=1:15" in refused.output
