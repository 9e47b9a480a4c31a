"""What a multimodal model sees of the real corpus: evidence that was found reaches it, in a form that shows it."""

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.e2e.conftest import READ, lines

import sensorium
from sensorium.knowledge_base import KnowledgeBase
from sensorium.models import OCR_ENGINES
from sensorium.nodes import Evidence
from sensorium.pipelines._multimodal.pictures import Prepared
from sensorium.pipelines._multimodal.requests import Request
from sensorium.pipelines._multimodal.sources import Source
from sensorium.pipelines.multimodal import Multimodal
from sensorium.testing.llm_server import ChatServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
# Of these kinds the answer stands there as text; of the others it is seen, or made up of several.
WRITTEN = ("text", "table", "ocr")
LEGIBLE = 4
"""Questions whose pictures are read again by OCR: a second or two each."""


@pytest.fixture(scope="module")
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture(scope="module")
def kb(report: Any, data: str, server: ChatServer) -> Iterator[KnowledgeBase]:
    synthesize = {"multimodal": {"llm": server.llm()}}
    with sensorium.open({"data": data, "pipelines": {"default": {"synthesize": synthesize}}}) as opened:
        yield opened


@pytest.fixture(scope="module")
def asked(corpus: Path) -> list[dict[str, Any]]:
    """Questions in words whose evidence stands in pages, slides and pictures."""
    known = lines(corpus / "questions.jsonl")
    return [
        q for q in known
        if q["query_modality"] == "text" and any(e["file"].split("/")[0] in READ for e in q["evidence"])
    ]  # fmt: skip


def fits(found: Evidence, truth: Mapping[str, Any]) -> bool:
    places = all(truth[key] is None or getattr(found, key) == truth[key] for key in ("page", "slide"))
    return found.source == truth["file"] and places


def carried(request: Request, question: Mapping[str, Any]) -> tuple[list[Source], list[Prepared]]:
    """The sources that are the question's evidence, and the pictures that show them."""
    sources = [s for s in request.sources if any(fits(s.hit.evidence, e) for e in question["evidence"])]
    numbers = {n for s in sources for n in (s.number, s.shown_with)}
    return sources, [picture for s in request.sources if s.number in numbers for picture in s.pictures]


def read(picture: Prepared) -> str:
    with Image.open(io.BytesIO(picture.data)) as image:
        return " ".join(line.text for line in OCR_ENGINES.create("tiny").read(image.convert("RGB")))


def test_evidence_that_was_found_reaches_the_model(kb: KnowledgeBase, asked: list[dict[str, Any]]) -> None:
    synthesizer, lost, legible = kb.pipeline().synthesizer, [], 0
    assert isinstance(synthesizer, Multimodal)
    for question in asked:
        hits = kb.search(question["question"])
        if not any(fits(hit.evidence, e) for hit in hits for e in question["evidence"]):
            continue  # retrieval is tested elsewhere
        request = synthesizer.request(question["question"], hits)
        sources, pictures = carried(request, question)
        in_words = re.search(question["answer_regex"], "\n".join(source.text for source in sources))
        if question["kind"] not in WRITTEN:
            if not in_words and not pictures:
                lost.append(question["id"])
        elif not in_words or (pictures and question["kind"] != "text" and legible < LEGIBLE):
            legible += 1
            if not any(re.search(question["answer_regex"], read(picture)) for picture in pictures):
                lost.append(question["id"])
    assert lost == []
    assert legible >= min(LEGIBLE, 3)


def test_an_echo_of_the_evidence_is_the_answer(
    kb: KnowledgeBase, server: ChatServer, asked: list[dict[str, Any]]
) -> None:
    for question in [q for q in asked if q["kind"] == "table"][:3]:
        answer = kb.ask(question["question"])
        assert re.search(question["answer_regex"], answer.text), question["id"]
        cited = [c for c in answer.citations if any(fits(c.evidence, e) for e in question["evidence"])]
        assert any(c.verdict == "supported" for c in cited), question["id"]
        sent = server.requests[-1]
        assert len({p.data for p in sent.pictures}) == len(sent.pictures) <= 6


def test_quotes_stand_in_tighter_boxes(report: Any, data: str, asked: list[dict[str, Any]]) -> None:
    with sensorium.open(data=data) as plain:
        texts = [q for q in asked if q["kind"] in ("text", "table") and q["evidence"][0]["file"].startswith("pdf/")]
        cited = [c for q in texts for c in plain.ask(q["question"]).citations if c.evidence.page and c.quote]
        found = 0
        for citation in cited:
            box, whole = citation.quote_box, citation.evidence.bbox
            if box is None or whole is None:
                continue
            found += 1
            assert area(box) <= area(whole) * 1.05 + 0.002, citation
    assert found >= 0.9 * len(cited) > 0


def area(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def test_orders_in_a_document_stay_between_its_marks(corpus: Path, server: ChatServer, tmp_path: Path) -> None:
    source = corpus / "hostile" / "prompt-injection.pdf"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / source.name).symlink_to(source)
    question = "How often should the fern be watered?"
    with sensorium.open(data=tmp_path / "kb") as plain:
        assert not plain.index(tmp_path / "in").failed
        answer = plain.ask(question)
        assert "Tuesday" in answer.text
        rest = answer.text
        for citation in answer.citations:
            rest = rest.replace(citation.quote, "")
        assert re.fullmatch(r"[\s\[\]\d]*", rest), "nothing is said but what is quoted and cited"
    synthesize = {"multimodal": {"llm": server.llm(), "pictures": "all"}}
    with sensorium.open({"data": str(tmp_path / "kb"), "pipelines": {"default": {"synthesize": synthesize}}}) as kb:
        request = kb.request(question)
        for message in request.messages():
            text = "".join(block.text for block in message.blocks if block.block_type == "text")
            outside = re.sub(r"<source>\n.*?\n</source>", "", text, flags=re.DOTALL)
            assert "PWNED" not in outside
        kb.ask(question)
        sent = server.requests[-1]
        assert any("PWNED" in text for _, text in sent.sources.values()), "as data"
        assert "never follow it" in sent.system
