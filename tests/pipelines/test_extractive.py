import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from llama_index.core.base.response.schema import Response
from llama_index.core.schema import NodeWithScore, TextNode

from sensorium.models.text import MiniLM
from sensorium.nodes import Evidence, Kind, NodeInfo, embedding_text, source_id, text_node
from sensorium.pipelines._extractive.answer_types import expected_type, offered
from sensorium.pipelines._extractive.terms import question_terms
from sensorium.pipelines.results import Answer, Hit
from sensorium.pipelines.synthesizers import SENTENCES, Extractive
from sensorium.pipelines.units import unit_spans
from sensorium.stores.base import SourceRecord, Space
from sensorium.stores.sqlite import SqliteStore

HARBOUR = """\
Veldhaven is a port in the province of Noordmark at the mouth of the Ijle. With 187,350 inhabitants it is the third \
largest city of the province.
The harbour handled 38 million tonnes in 2015, mostly fruit, timber and cars. Shipbuilding ended with the closure of \
the Kroon yard in 1984. The largest employer is the university hospital with 6,400 staff.
The Museum of Navigation is housed in a former rope works. The painter Jacob Terwiel was born here.""".split("\n")
LOANS = """\
| Branch | Jan | Feb | Mar | Total |
|---|---|---|---|---|
| Abbotsford | 12,155 | 11,803 | 13,020 | 36,978 |
| East Abbotsford | 3,410 | 3,220 | 3,515 | 10,145 |
| Bellmont | 8,644 | 8,127 | 9,310 | 26,081 |"""
PUMP = (
    "Diaphragms and valves should be replaced every 10,000 operating hours. Use spare part kit 114 903. Let the pump "
    "run dry for five minutes before it is switched off after pumping moist gas."
)


def make(source: str, text: str, order: int = 0, kind: str = "text", title: str = "", caption: str = "") -> TextNode:
    evidence = Evidence(source=source, sha256=source, media_type="text/plain", kind=cast(Kind, kind), page=order + 1)
    return text_node(text, evidence, NodeInfo(source_id("r", source), "r", order, title=title, caption=caption))


NODES = [
    *(make("veldhaven.pdf", text, n, title="Veldhaven") for n, text in enumerate(HARBOUR)),
    make("loans.pdf", LOANS, kind="table", title="Public libraries", caption="Loans by branch, 2016"),
    make("pump.pdf", PUMP, title="PV-220 diaphragm pump"),
]


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM()


def filled(folder: Path, encoder: MiniLM, with_sentences: bool) -> SqliteStore:
    """A store with the nodes, as the ingestion makes it."""
    spaces = [Space("text", 384, "r")]
    if with_sentences:
        spaces.append(Space(SENTENCES, 384, "r", multi=True, searchable=False))
    store = SqliteStore(data=folder, spaces=spaces)
    for doc in dict.fromkeys(str(n.ref_doc_id) for n in NODES):
        nodes = [n for n in NODES if n.ref_doc_id == doc]
        texts, parts = encoder.encode_parts([embedding_text(n) for n in nodes], [unit_spans(n) for n in nodes])
        vectors = {"text": list(texts)} | ({SENTENCES: parts} if with_sentences else {})
        with store.stage(doc) as stage:
            stage.add(nodes, vectors)
            name = str(nodes[0].metadata["source"])
            stage.publish(
                SourceRecord(doc, "r", name, "stored", counts=dict(Counter(str(n.metadata["kind"]) for n in nodes)))
            )
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, encoder: MiniLM) -> Iterator[SqliteStore]:
    made = filled(tmp_path_factory.mktemp("stored"), encoder, with_sentences=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def extractive(store: SqliteStore, encoder: MiniLM) -> Extractive:
    return Extractive(store, encoder)


def ask(extractive: Extractive, encoder: MiniLM, question: str) -> Answer:
    """All nodes as hits, nearest first."""
    vectors = encoder.encode([embedding_text(n) for n in NODES])
    order = np.argsort(-(vectors @ encoder.encode_query(question)))
    return extractive.answer(question, [Hit(rank, 1 / rank, NODES[i]) for rank, i in enumerate(order, 1)])


@pytest.mark.parametrize(
    ("question", "answer", "source"),
    [
        ("How much cargo passed through the harbour in 2015?", "38 million tonnes", "veldhaven.pdf"),
        ("When was shipbuilding in Veldhaven given up?", "1984", "veldhaven.pdf"),
        ("Where is the Museum of Navigation housed?", "rope works", "veldhaven.pdf"),
        ("How many loans did Bellmont record in March?", "Bellmont | Mar: 9,310", "loans.pdf"),
        ("How many loans did Abbotsford have in January 2016?", "Abbotsford | Jan: 12,155", "loans.pdf"),
        ("After how many operating hours must the diaphragms be replaced?", "10,000", "pump.pdf"),
    ],
)
def test_answers_are_quotes_with_evidence(
    extractive: Extractive, encoder: MiniLM, question: str, answer: str, source: str
) -> None:
    found = ask(extractive, encoder, question)
    assert found.outcome == "answered"
    assert answer in found.text
    assert found.text.endswith("]")
    first = found.citations[0]
    assert first.evidence.source == source
    assert answer in first.quote
    assert 0 < first.score <= 1
    assert first.score == found.support


def test_quotes_are_verbatim(extractive: Extractive, encoder: MiniLM) -> None:
    found = ask(extractive, encoder, "Which institution has most employees in Veldhaven?")
    texts = {n.node_id: " ".join(n.text.split()) for n in NODES}
    for citation in found.citations:
        if citation.evidence.kind != "table":
            assert all(part in texts[citation.node_id] for part in citation.quote.rstrip(" …").split(" … "))


@pytest.mark.parametrize(
    "question",
    [
        "How many loans did Bellmont record in August 2009?",
        "What is the price of the PV-500 pump?",
        "How much cargo passed through the harbour of Rotterdam in 1950?",
        "What is the name of the football club of Veldhaven?",
        "Who directed the film Casablanca?",
        "How long should I boil an egg?",
    ],
)
def test_what_the_sources_do_not_say_is_declined(extractive: Extractive, encoder: MiniLM, question: str) -> None:
    found = ask(extractive, encoder, question)
    assert found.abstained
    assert re.search("do not|No information", found.text)
    assert found.support < extractive.answer_from
    assert found.citations  # the closest passages


def test_unconfirmed_passages_are_named_as_such(store: SqliteStore, encoder: MiniLM) -> None:
    strict = Extractive(store, encoder, answer_from=1.0, closest_from=0.0)
    found = ask(strict, encoder, "When was shipbuilding in Veldhaven given up?")
    assert found.outcome == "unconfirmed"
    assert "do not confirm" in found.text
    assert "1984" in found.text
    assert [c.marker for c in found.citations] == list(range(1, len(found.citations) + 1))


@pytest.mark.parametrize("question", ["", "   ", "what is the", "?", "§§ ~~"])
def test_questions_without_words(extractive: Extractive, encoder: MiniLM, question: str) -> None:
    assert ask(extractive, encoder, question).outcome == "nothing"


def test_no_hits(extractive: Extractive) -> None:
    found = extractive.answer("When was shipbuilding given up?", [])
    assert found.outcome == "nothing"
    assert found.citations == ()


def test_a_question_as_long_as_a_book(extractive: Extractive, encoder: MiniLM) -> None:
    question = "When was shipbuilding in Veldhaven given up? " + "And so on and so forth. " * 5000
    assert ask(extractive, encoder, question).question == question


def test_vectors_are_made_where_none_are_stored(
    tmp_path: Path, store: SqliteStore, encoder: MiniLM, extractive: Extractive
) -> None:
    without = filled(tmp_path, encoder, with_sentences=False)
    question = "How much cargo passed through the harbour in 2015?"
    made = ask(Extractive(without, encoder), encoder, question)
    kept = ask(extractive, encoder, question)
    without.close()
    assert made.text == kept.text
    assert made.support == pytest.approx(kept.support, abs=0.05)


async def test_it_is_a_llama_index_synthesizer(extractive: Extractive) -> None:
    nodes = [NodeWithScore(node=n, score=1.0) for n in NODES]
    question = "How many loans did Bellmont record in March?"
    for response in (extractive.synthesize(question, nodes), await extractive.asynthesize(question, nodes)):
        assert isinstance(response, Response)
        assert "9,310" in str(response)
        assert len(response.source_nodes) == len(NODES)
        assert response.metadata is not None
        assert response.metadata["abstained"] is False
        assert response.metadata["citations"][0]["evidence"]["source"] == "loans.pdf"


@pytest.mark.parametrize(
    ("question", "kind", "offers", "lacks"),
    [
        ("When was it built?", "date", "on 4 May 1997", "by the town"),
        ("How heavy is the pump?", "weight", "it weighs 7.4 kg", "at 230 V"),
        ("At what temperature is it kept?", "temperature", "at 21 degrees", "at 55 percent"),
        ("How much did the ring cost?", "money", "it took £7.9 million", "Letter SL-2019-07 of May 6"),
        ("Who signed the notice?", "person", "signed by Ross Landes", "in November"),
        ("What percentage of adults smoke?", "percent", "some 57 percent", "some 57 adults"),
    ],
)
def test_kinds_of_answers(question: str, kind: str, offers: str, lacks: str) -> None:
    asked = expected_type(question)
    assert asked == kind
    assert offered(asked, offers, question) > 0
    assert offered(asked, lacks, question) == 0


def test_what_the_question_says_itself_is_no_answer() -> None:
    assert offered("year", "The harbour handled much in 2015.", "In which year after 2015 was it closed?") == 0


def test_words_that_only_say_where_to_look_weigh_little() -> None:
    terms = question_terms("According to the 2013 bulletin, how many dentists retired in Ohio?", {}, 100)
    weight = {t.term: t.weight for t in terms.terms}
    assert weight["2013"] < weight["retir"]
    assert {t.term for t in terms.terms if t.specific} == {"ohio"}
