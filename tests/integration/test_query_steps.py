"""Query steps, routing and rerankers over a scripted model on this machine."""

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import sensorium
from sensorium.errors import ConfigError
from sensorium.knowledge_base import KnowledgeBase
from sensorium.pipelines.results import Answer
from sensorium.testing.llm_server import ChatRequest, ChatServer, Drop, Fail, Raw, Reply, Say

pytestmark = pytest.mark.integration

TEXTS = {
    "lamp.md": "# Lamp\n\nThe lantern of the tower burns two litres of paraffin an hour.",
    "keeper.md": "# Keeper\n\nMartha Quill kept the station from 1902 to 1931.",
    "boat.md": "# Boat\n\nThe supply cutter came every second Tuesday with mail and coal.",
    "storm.md": "# Storm\n\nIn the gale of 1912 the gallery railing was torn off.",
    "paint.md": "# Paint\n\nThe tower is painted white with a red band.",
    "fog.md": "# Fog\n\nThe horn sounds once every ninety seconds in thick weather.",
}
QUESTION = "How much fuel does the light need?"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("station")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    picture = Image.new("RGB", (640, 200), "white")
    ImageDraw.Draw(picture).text((20, 60), "FUEL STORE 40 BARRELS", fill="black", font_size=44)
    picture.save(folder / "sign.png")
    data = tmp_path_factory.mktemp("data")
    with sensorium.open(data=data) as kb:
        assert not kb.index(folder).failed
    return data


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def open_kb(data: Path) -> Iterator[Any]:
    opened: list[KnowledgeBase] = []

    def make(pipelines: dict[str, Any] | None = None, **default: Any) -> KnowledgeBase:
        opened.append(sensorium.open({"data": str(data), "pipelines": {"default": default, **(pipelines or {})}}))
        return opened[-1]

    yield make
    for kb in opened:
        kb.close()


def sources(hits: Any) -> list[str]:
    return [hit.evidence.source for hit in hits]


KEYWORD = {"retrieve": [{"keyword": {"top_k": 5}}]}


def test_other_words_find_what_the_question_does_not(open_kb: Any, server: ChatServer) -> None:
    server.script('1. How many litres of paraffin are burnt?\n- "How much oil does the lantern use?"\nSure:\n')
    plain = open_kb(**KEYWORD).search("Consumption of the beacon")
    kb = open_kb(**KEYWORD, expand=[{"multi_query": {"llm": server.llm(), "n": 2}}])
    answer = kb.ask("Consumption of the beacon")
    assert "lamp.md" not in sources(plain)
    assert sources(answer.hits)[0] == "lamp.md"
    (step,) = answer.trace["expand"]
    assert step["searched_for"] == ["How many litres of paraffin are burnt?", "How much oil does the lantern use?"]
    assert step["llm"]["tokens"]["input"] > 0
    assert answer.trace["expand_s"] > 0
    assert set(answer.trace["legs"]) == {"keyword", "keyword (multi_query 1)", "keyword (multi_query 2)"}
    assert "Consumption of the beacon" in server.requests[0].text
    assert "2 other ways" in server.requests[0].text


def test_an_invented_passage_is_only_compared_by_its_vector(open_kb: Any, server: ChatServer) -> None:
    server.always("The lantern of the tower burns two litres of paraffin every hour.\nIt is refilled at dusk.")
    answer = open_kb(expand=[{"hyde": {"llm": server.llm(), "weight": 1}}]).ask("Consumption of the beacon")
    assert sources(answer.hits)[0] == "lamp.md"
    assert set(answer.trace["legs"]) == {"vector:text", "keyword", "vector:text (hyde 1)"}


async def test_steps_are_asked_at_once_on_every_path(open_kb: Any, server: ChatServer) -> None:
    def reply(request: ChatRequest) -> Reply:
        general = "more general question" in request.text
        return Say("What is the tower lit with?" if general else "What does the lantern burn?", wait_s=0.4)

    server.always(reply)
    steps = [{"multi_query": {"llm": server.llm(), "n": 1}}, {"step_back": {"llm": server.llm()}}]
    kb = open_kb(expand=steps)
    kb.search(QUESTION)  # imports the client and loads the embedder
    *_, streamed = [part async for part in kb.astream(QUESTION)]
    asked = await kb.aask(QUESTION)
    found = await kb.asearch(QUESTION)
    nodes = await kb.retriever().aretrieve(QUESTION)
    assert isinstance(streamed, Answer)
    for answer in (streamed, asked, await asyncio.to_thread(kb.ask, QUESTION)):
        assert [s["searched_for"] for s in answer.trace["expand"]] == [
            ["What does the lantern burn?"], ["What is the tower lit with?"]
        ]  # fmt: skip
        assert 0.4 <= answer.trace["expand_s"] < 0.75, "one after the other would take 0.8 s"
    assert sources(found) == sources(asked.hits)
    assert [n.node.node_id for n in nodes] == [h.node.node_id for h in found]


@pytest.mark.parametrize("reply", [Fail(401, "wrong key"), Drop(), Raw(b"<html>"), Say(""), Say("42"), Say('{"a": 1}')])
def test_a_step_that_fails_leaves_the_plain_question(
    open_kb: Any, server: ChatServer, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    server.always(reply)
    kb = open_kb(
        expand=[{"multi_query": {"llm": server.llm(max_retries=0)}}, {"hyde": {"llm": server.llm(max_retries=0)}}]
    )
    with caplog.at_level(logging.WARNING, "sensorium.query"):
        answer = kb.ask(QUESTION)
    assert sources(answer.hits) == sources(open_kb().search(QUESTION))
    where = ["pipelines.default.expand[0].multi_query", "pipelines.default.expand[1].hyde"]
    assert [note.split(" ")[0] for note in answer.notes if "expand" in note] == where
    assert sorted(record.message.split(" ")[0] for record in caplog.records) == where
    assert all(step["problem"] for step in answer.trace["expand"])


def test_a_chat_rewrites_with_a_model_of_its_own(open_kb: Any, server: ChatServer) -> None:
    server.script("When did Martha Quill keep the station?")
    chat = open_kb(expand=[{"rewrite": {"llm": server.llm()}}]).chat()
    chat.ask("Who kept the station?")
    answer = chat.ask("When was that?")
    assert answer.trace["searched_for"] == "When did Martha Quill keep the station?"
    assert answer.trace["rewrite"]["llm"]["tokens"]["output"] > 0
    server.script(Fail(500, "down"))
    server.always(Fail(500, "down"))
    failed = open_kb(expand=[{"rewrite": {"llm": server.llm(max_retries=0)}}]).chat()
    failed.ask("Who kept the station?")
    answer = failed.ask("When did she?")
    assert answer.trace["searched_for"] == "When did she?"
    assert "rewrite was left out" in answer.notes[0]


ROUTES: dict[str, Any] = {
    "weather": {"retrieve": [{"keyword": {"top_k": 3}}], "top_k": 3},
    "pictures": {"extends": "default", "retrieve": [{"keyword": {"filters": {"kind": "ocr"}}}]},
}


def choose(server: ChatServer) -> dict[str, Any]:
    return {"choose": {"llm": server.llm(max_retries=0), "pipelines": {
        "weather": "storms and fog", "default": "everything else about the station",
    }}}  # fmt: skip


async def test_an_llm_chooses_the_pipeline(open_kb: Any, server: ChatServer) -> None:
    kb = open_kb(ROUTES, route=[choose(server)])
    server.script("1", "2.", "0", "weather", "1")
    answers = [kb.ask("How often does the horn sound?") for _ in range(4)]
    assert [a.trace["route"]["pipeline"] for a in answers] == ["weather", "default", None, "weather"]
    assert [len(a.hits) <= 3 for a in answers] == [True, False, False, True]
    assert "1. storms and fog\n2. everything else" in server.requests[0].text
    assert answers[0].trace["route"]["steps"][0]["llm"]["tokens"]["input"] > 0
    assert (await kb.aask("How often does the horn sound?")).trace["route"]["pipeline"] == "weather"
    assert "route" not in (await kb.aask("How often?", pipeline="pictures")).trace, "routes are not inherited"


@pytest.mark.parametrize("reply", [Drop(), Say("maybe the first?"), Say("7")])
def test_without_a_choice_the_pipeline_answers_itself(open_kb: Any, server: ChatServer, reply: Reply) -> None:
    server.always(reply)
    answer = open_kb(ROUTES, route=[choose(server)]).ask("How often does the horn sound?")
    assert sources(answer.hits) == sources(open_kb().search("How often does the horn sound?"))
    assert answer.notes[0].startswith("pipelines.default.route[0].choose was left out: ")


def test_rules_come_first_and_ask_nobody(open_kb: Any, server: ChatServer, tmp_path: Path) -> None:
    rules = {"rules": {"image": "pictures", "words": {"gale|storm": "weather"}}}
    kb = open_kb(ROUTES, route=[rules, choose(server)])
    Image.new("RGB", (60, 40), "white").save(tmp_path / "asked.png")
    assert kb.ask("What did the GALE break?").trace["route"]["pipeline"] == "weather"
    assert kb.ask("What is stored?", image=tmp_path / "asked.png").trace["route"]["pipeline"] == "pictures"
    assert server.requests == []


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    "reply",
    [
        '{"1": 0, "2": 1, "3": 3}',
        '```json\n{"3": 3, "2": 1, "1": 0}\n```',
        "1: 0\n2: 1\n3: 3",
        "<think>hm {</think>[3] > [2] > [1]",
    ],
)
def test_an_llm_orders_hits_by_their_words_and_pictures(open_kb: Any, server: ChatServer, reply: str) -> None:
    question = "How many barrels of fuel are in the store?"
    before = open_kb().search(question)
    server.always(reply)
    kb = open_kb(rerank=[{"llm": {"llm": server.llm(), "hits": 3}}])
    answer = kb.ask(question)
    assert sources(answer.hits) == [sources(before)[i] for i in (2, 1, 0)] + sources(before)[3:]
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    (stage,) = answer.trace["rerank"]
    assert stage["llm"]["tokens"]["input"] > 0
    request = server.requests[0]
    assert len(request.sources) == 3
    assert len(request.pictures) == 1
    assert request.pictures[0].size == (640, 200)


@pytest.mark.parametrize(
    "reply",
    [Say("All of them are great!"), Say("{}"), Say('{"1": "high"}'), Say('{"77": 3}'), Drop(), Fail(401, "wrong key")],
)
async def test_nonsense_keeps_the_order(open_kb: Any, server: ChatServer, reply: Reply) -> None:
    server.always(reply)
    kb = open_kb(rerank=[{"llm": {"llm": server.llm(max_retries=0)}}])
    answer, before = await kb.aask(QUESTION), open_kb().search(QUESTION)
    assert sources(answer.hits) == sources(before)
    assert "The reranker llm was left out" in answer.notes[0]
    assert answer.trace["rerank"][0]["problem"]


def test_a_reranker_that_is_not_installed_names_its_package(open_kb: Any) -> None:
    import importlib.util

    for name in ("fastembed", "flashrank"):
        if importlib.util.find_spec(name) is None:
            with pytest.raises(sensorium.SensoriumError, match=f"pip install '{name}'"):
                open_kb(rerank=[name]).search(QUESTION)


@pytest.mark.parametrize(
    ("pipeline", "path", "said"),
    [
        ({"rerank": [{"postprocessor": "SimilarityPostproces"}]}, "rerank[0].postprocessor", "SimilarityPostprocessor"),
        ({"rerank": [{"postprocessor": "llama_index.postprocessor.cohere_rerank.CohereRerank"}]},
         "rerank[0].postprocessor", "pip install 'llama-index-postprocessor-cohere-rerank'"),
        ({"rerank": [{"postprocessor": {"name": "SimilarityPostprocessor", "options": {"cutof": 1}}}]},
         "postprocessor.options", "no option 'cutof'"),
        ({"rerank": [{"fastembed": {"path": "no/such"}}]}, "fastembed.path", "no folder 'no/such'"),
        ({"rerank": ["llmm"]}, "rerank[0]", "Did you mean 'llm'"),
        ({"expand": [{"hydee": {}}]}, "expand[0]", "Did you mean 'hyde'"),
        ({"expand": [{"hyde": {}}]}, "expand[0].hyde", "'llm' is missing"),
        ({"expand": [{"hyde": {"llm": {"opnai": "x"}}}]}, "expand[0].hyde.llm", "openai"),
        ({"expand": [{"multi_query": {"llm": "openai", "n": 0}}]}, "multi_query.n", "at least 1"),
        ({"route": [{"rules": {"image": "vison"}}]}, "route[0].rules.image", "no pipeline 'vison'"),
        ({"route": [{"rules": {"words": {"(": "default"}}}]}, "route[0].rules.words", "no regular expression"),
        ({"route": [{"choose": {"llm": "openai", "pipelines": {"tabels": "x"}}}]},
         "choose.pipelines.tabels", "no pipeline"),
    ],
)  # fmt: skip
def test_faults_stand_where_they_are(tmp_path: Path, pipeline: dict[str, Any], path: str, said: str) -> None:
    from ruamel.yaml import YAML

    with (tmp_path / "config.yaml").open("w") as file:
        YAML().dump({"pipelines": {"default": pipeline}}, file)
    with pytest.raises(ConfigError) as caught:
        sensorium.open(tmp_path / "config.yaml")
    (fault,) = caught.value.faults
    assert "config.yaml:" in str(fault)
    assert path in str(fault)
    assert said in str(fault)
