"""The Python API on the example documents: index, search, ask, evidence, and the LlamaIndex parts it hands out."""

import asyncio
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymupdf
import pytest
from llama_index.core.base.response.schema import Response
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from PIL import Image

import sensorium
from sensorium.errors import EvidenceError, QueryError

ROOT = Path(__file__).parents[1]
VISITORS = "How many visitors did Sandreef have in 2024?"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    subprocess.run([sys.executable, ROOT / "examples" / "make_documents.py", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def kb(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[sensorium.KnowledgeBase]:
    with sensorium.open(data=tmp_path_factory.mktemp("data")) as opened:
        assert not opened.index(documents).failed
        yield opened


@pytest.mark.parametrize(
    ("question", "answer", "source", "kind"),
    [
        (VISITORS, "20,115", "report-2024.pdf", "table"),
        ("Who leads the training of the tour guides?", "Lindqvist", "report-2024.pdf", "text"),
        ("Until when is the permit for the fog signal of Old Mole valid?", "31 March 2027", "report-2024.pdf", "ocr"),
        ("What was the amount for energy in 2023?", "38", "members-meeting.pptx", "table"),
        ("What is the total due on the invoice of Brightwater Lamps?", "10,476.00", "invoice.jpg", "ocr"),
    ],
)
def test_answers_quote_the_right_place(
    kb: sensorium.KnowledgeBase, question: str, answer: str, source: str, kind: str
) -> None:
    found = kb.ask(question)
    assert answer in found.text
    assert not found.abstained
    assert (found.citations[0].evidence.source, found.citations[0].evidence.kind) == (source, kind)
    assert answer in " ".join(c.quote for c in found.citations)


@pytest.mark.parametrize("question", ["Who painted the Mona Lisa?", "What is the boiling point of tungsten?"])
def test_what_the_sources_do_not_tell_is_declined(kb: sensorium.KnowledgeBase, question: str) -> None:
    answer = kb.ask(question)
    assert answer.abstained
    assert "not" in answer.text.lower() or "No " in answer.text


def test_a_citation_opens_the_region_it_names(kb: sensorium.KnowledgeBase, documents: Path) -> None:
    citation = kb.ask(VISITORS).citations[0]
    picture = Image.open(io.BytesIO(citation.asset().data))
    assert citation.evidence.bbox is not None
    x0, y0, x1, y1 = citation.evidence.bbox
    with pymupdf.open(documents / "report-2024.pdf") as document:
        page = document[0]
        clip = pymupdf.Rect(x0 * page.rect.width, y0 * page.rect.height, x1 * page.rect.width, y1 * page.rect.height)
        assert "20,115" in page.get_text(clip=clip)
    assert picture.width / picture.height == pytest.approx(clip.width / clip.height, rel=0.15)


def test_evidence_of_a_changed_or_vanished_source_says_so(documents: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(documents / "members-meeting.pptx", folder)
    with sensorium.open({"index": {"ocr": "off"}}, data=tmp_path / "data") as kb:
        kb.index(folder)
        hit = kb.search("yearly fee")[0]
        assert kb.picture(hit.node.node_id).data
        (folder / "members-meeting.pptx").write_bytes(b"other")
        with pytest.raises(EvidenceError, match="changed since it was indexed"):
            kb.picture(hit.node.node_id)
        (folder / "members-meeting.pptx").unlink()
        with pytest.raises(EvidenceError, match="gone"):
            kb.picture(hit.node.node_id)


def test_filters_narrow_every_leg(kb: sensorium.KnowledgeBase) -> None:
    assert {h.evidence.kind for h in kb.search("visitors", filters={"kind": "table"})} == {"table"}
    assert {
        h.evidence.source for h in kb.search("energy", filters={"source": ["invoice.jpg", "energy-chart.png"]})
    } <= {
        "invoice.jpg",
        "energy-chart.png",
    }


def test_context_is_the_section_around_a_hit(kb: sensorium.KnowledgeBase) -> None:
    hit = kb.search("sea wall of Cape Ebb")[0]
    captions = [node.metadata.get("caption", "") for node in kb.context(hit, scope="page")]
    assert any(caption.startswith("Figure 1") for caption in captions)
    assert kb.context(hit, max_chars=1) == [hit.node]


def test_a_picture_is_a_query_by_the_words_in_it(kb: sensorium.KnowledgeBase, documents: Path) -> None:
    assert kb.search(image=documents / "invoice.jpg")[0].evidence.source == "invoice.jpg"
    with pytest.raises(QueryError, match="sound"):
        kb.search(audio="call.mp3")
    with pytest.raises(QueryError, match="does not exist"):
        kb.search(image=documents / "missing.png")


def test_hands_out_plain_llama_index_parts(kb: sensorium.KnowledgeBase) -> None:
    engine, retriever = kb.query_engine(), kb.retriever()
    assert isinstance(engine, RetrieverQueryEngine)
    assert isinstance(retriever, BaseRetriever)
    assert isinstance(kb.store, BasePydanticVectorStore)
    response = engine.query(VISITORS)
    assert isinstance(response, Response)
    assert "20,115" in str(response)
    assert response.metadata is not None
    assert response.metadata["abstained"] is False
    assert response.metadata["citations"][0]["evidence"]["page"] == 1
    assert response.source_nodes[0].node.metadata["source"] == "report-2024.pdf"
    assert [n.node.node_id for n in retriever.retrieve(VISITORS)] == [h.node.node_id for h in kb.search(VISITORS)]


async def test_async_gives_the_same(kb: sensorium.KnowledgeBase) -> None:
    answers = await asyncio.gather(*(kb.aask(VISITORS) for _ in range(3)))
    assert {a.text for a in answers} == {kb.ask(VISITORS).text}
    assert [h.node.node_id for h in await kb.asearch("fees")] == [h.node.node_id for h in kb.search("fees")]
    pieces = [piece async for piece in kb.astream(VISITORS)]
    assert isinstance(pieces[-1], sensorium.Answer)
    assert "".join(str(p) for p in pieces[:-1]) == pieces[-1].text
    assert str(await kb.query_engine().aquery(VISITORS)) == pieces[-1].text


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(kb: sensorium.KnowledgeBase, question: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        kb.search(question)


def test_unknown_pipelines_are_named(kb: sensorium.KnowledgeBase) -> None:
    with pytest.raises(QueryError, match="Known: default"):
        kb.ask("x", pipeline="nope")


@pytest.mark.parametrize("question", ['"; DROP TABLE nodes; --', "NEAR(a b) AND * OR ^", "a" * 100_000, "?!"])
def test_odd_questions_harm_nothing(kb: sensorium.KnowledgeBase, question: str) -> None:
    before = kb.status()["nodes"]
    kb.ask(question)
    assert kb.status()["nodes"] == before


def test_more_hits_than_there_are_is_all_of_them(kb: sensorium.KnowledgeBase) -> None:
    assert kb.search("lighthouse", top_k=0) == []
    assert len(kb.search("lighthouse", top_k=1_000_000)) >= 10


def test_deleted_sources_are_gone(documents: Path, tmp_path: Path) -> None:
    with sensorium.open({"index": {"ocr": "off"}}, data=tmp_path / "data") as kb:
        kb.index(documents)
        assert kb.delete("*.pdf") == ["report-2024.pdf"]
        assert all(h.evidence.source != "report-2024.pdf" for h in kb.search("lighthouse visitors"))


def test_threads_share_what_is_made_at_first(documents: Path, tmp_path: Path) -> None:
    with sensorium.open(data=tmp_path) as kb, ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, pool.map(lambda _: kb.pipeline(), range(4))))) == 1
        assert len(set(map(id, pool.map(lambda _: kb._parts.embedder("text"), range(4))))) == 1
