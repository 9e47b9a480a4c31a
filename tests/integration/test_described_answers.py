"""Pictures that a model described while indexing: found by that, shown, and never quoted as the source's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

import sensorium
from sensorium.apps.cli import app
from sensorium.knowledge_base import KnowledgeBase
from sensorium.testing.llm_server import ChatRequest, ChatServer

pytestmark = pytest.mark.integration
TOWER = "A red and white lighthouse stands on a cliff above breaking waves; two people wave from its gallery."
CHART = "Rainfall at Cape Ebb by month.\n\n| Month | Rain (mm) |\n|---|---|\n| May | 12 |\n| June | ~31 |"


def described(request: ChatRequest) -> str:
    return CHART if request.pictures[0].size[0] > 350 else TOWER


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    for name, size in (("dsc-0041.png", (300, 200)), ("dsc-0042.png", (400, 200))):
        picture = Image.new("RGB", size, "navy")
        ImageDraw.Draw(picture).rectangle((100, 50, 150, 190), fill="red")
        picture.save(made / name)
    (made / "notes.txt").write_text("The trust was founded in 1871. Its office is in Eastmouth.", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    with ChatServer() as server:
        server.always(described)
        with sensorium.open({"data": str(data), "index": {"captions": {"llm": server.llm()}}}) as kb:
            report = kb.index(folder)
            assert not report.failed
            assert len(server.requests) == 2
    return data


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def ask(data: Path, server: ChatServer) -> Iterator[Any]:
    opened: list[KnowledgeBase] = []

    def make(synthesize: Any = "extractive", **llm: Any) -> KnowledgeBase:
        if synthesize == "multimodal":
            synthesize = {"multimodal": {"llm": server.llm(**llm)}}
        opened.append(sensorium.open({"data": str(data), "pipelines": {"default": {"synthesize": synthesize}}}))
        return opened[-1]

    yield make
    for kb in opened:
        kb.close()


def test_a_photograph_is_found_by_what_it_shows(ask: Any) -> None:
    hit = ask().search("people waving from a lighthouse", top_k=1)[0]
    assert (hit.evidence.source, hit.evidence.kind) == ("dsc-0041.png", "caption")
    assert hit.public()["made_by"] == "openai/gpt-5-mini"
    filtered = ask().search("rainfall", filters={"made_by": "openai/gpt-5-mini"})
    assert {found.evidence.kind for found in filtered} == {"caption"}


@pytest.mark.parametrize("question", ["How much rain fell in May?", "Who waves from the lighthouse on the cliff?"])
def test_the_extractive_answer_names_the_picture_and_quotes_nothing(ask: Any, question: str) -> None:
    answer = ask().ask(question)
    assert answer.abstained
    pictures = [c for c in answer.citations if c.described_by]
    assert pictures
    for citation in pictures:
        assert (citation.quote, citation.evidence.kind) == ("", "figure")
        assert citation.public()["described_by"] == "openai/gpt-5-mini"
        assert citation.asset().media_type.startswith("image/")
        assert ask().picture(citation.node_id).media_type.startswith("image/"), "the picture's own node"
    said = f"{answer.text} {[c.quote for c in answer.citations]}"
    assert "12" not in said
    assert "cliff" not in said
    assert f"dsc-004{1 if 'waves' in question else 2}.png" in answer.text


def test_words_of_the_source_are_quoted_as_before(ask: Any) -> None:
    answer = ask().ask("When was the trust founded?")
    assert not answer.abstained
    assert [c.described_by for c in answer.citations] == [""]


def test_the_model_is_told_that_it_is_a_description_and_gets_the_picture(ask: Any, server: ChatServer) -> None:
    server.script(lambda r: "ANSWERABLE: yes\n12 mm of rain fell in May [1].")
    answer = ask("multimodal").ask("How much rain fell at Cape Ebb in May?")
    (request,) = server.requests
    labels = [where for where, _ in request.sources.values()]
    assert "dsc-0042.png, description of the figure by a model" in labels
    assert "is called a description was written by a model" in request.system
    assert len(request.pictures) == len({picture.data for picture in request.pictures}) == 2
    (citation,) = answer.citations
    assert (citation.verdict, citation.quote, citation.described_by) == ("from picture", "", "openai/gpt-5-mini")


@pytest.mark.parametrize(
    ("said", "verdict"),
    [("12 mm of rain fell at Cape Ebb in May", "from picture"), ("99 mm of rain fell in May", "unsupported")],
)
def test_a_model_without_eyes_reads_descriptions_and_they_confirm_nothing_as_words(
    ask: Any, server: ChatServer, said: str, verdict: str
) -> None:
    def reply(request: ChatRequest) -> str:
        number = next(n for n, (_, text) in request.sources.items() if "| May | 12 |" in text)
        return f"ANSWERABLE: yes\n{said} [{number}]."

    server.script(reply)
    answer = ask("multimodal", model="gpt-3.5-turbo").ask("How much rain fell at Cape Ebb in May?")
    assert server.requests[0].pictures == []
    (citation,) = answer.citations
    assert (citation.verdict, citation.quote) == (verdict, "")


def test_the_command_line_says_what_it_would_cost_and_where_a_quote_stands(
    folder: Path, data: Path, server: ChatServer, tmp_path: Path
) -> None:
    import json

    llm = server.llm(price={"input": 1, "output": 10})
    (tmp_path / "config.yaml").write_text(json.dumps({"index": {"captions": {"llm": llm}}}))

    def run(*words: str, config: bool = True) -> str:
        options = ["--config", str(tmp_path / "config.yaml")] if config else []
        result = CliRunner().invoke(app, [*words, *options])
        assert result.exit_code == 0, result.output
        return result.output

    shown = run("index", str(folder), "--dry-run", "--data", str(tmp_path / "new"))
    assert "2 pictures in 2 new or changed sources" in shown
    assert "2 requests to openai/gpt-5-mini" in shown
    assert "cost about 0.00" in shown
    found = json.loads(run("index", str(folder), "--dry-run", "--json", "--data", str(tmp_path / "new")))
    assert (found["requests"], found["dry_run"], server.requests) == (2, True, [])
    plain = CliRunner().invoke(app, ["index", str(folder), "--dry-run", "--data", str(tmp_path / "new")])
    assert plain.exit_code == 2
    assert "captions is off" in plain.output
    asked = ("ask", "When was the trust founded?", "--data", str(data), "--json")
    assert "quote_box" not in json.loads(run(*asked, config=False))["citations"][0]
    assert json.loads(run(*asked, "--locate", config=False))["citations"][0]["quote_box"] is None, "a text has no page"
