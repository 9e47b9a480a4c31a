"""Splitting: nothing lost, nothing doubled, sizes kept, evidence right."""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode, MetadataMode, TextNode

from sensorium.errors import ConfigError
from sensorium.loaders.base import Fault, Item, NodeMaker, SourceFile
from sensorium.models.text import token_counter
from sensorium.nodes import Evidence, Kind, embedding_text
from sensorium.pipelines.split import SentenceSplit

KINDS: tuple[Kind, ...] = ("text", "text", "text", "ocr", "notes", "slide", "caption")


class WordSplit(SentenceSplit):
    """Counts words, so that sizes can be read off."""

    def count(self, text: str) -> int:
        return len(text.split())


def maker(title: str = "") -> NodeMaker:
    return NodeMaker(SourceFile(Path("/x/a.pdf"), "/x", "a.pdf", "0" * 64, "application/pdf"), title)


def texts(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, TextNode)]


def numbered(words: Iterator[int], sentences: int, rng: random.Random) -> str:
    """Sentences of words that occur once each."""
    made = []
    for _ in range(sentences):
        made.append(" ".join(f"word{next(words)}" for _ in range(rng.randint(6, 18))).capitalize() + ".")
    return " ".join(made)


def document(rng: random.Random) -> list[Item]:
    make, words = maker(), itertools.count()
    items: list[Item] = []
    for page in range(1, 4):
        for _ in range(rng.randint(1, 8)):
            kind = rng.choice(KINDS)
            text = numbered(words, rng.choice([1, 2, 3, 12, 30]), rng)
            section = rng.choice(["A", "A > B"])
            items.append(make.text(kind, text, page=page, section=section))
            if rng.random() < 0.2:
                items.append(make.picture("figure", f"word{next(words)}", image_path="p.png", page=page))
            if rng.random() < 0.1:
                items.append(Fault("lost", f"page {page}"))
    return items


def plain(text: str) -> list[str]:
    return [word.strip(".").lower() for word in text.split()]


@pytest.mark.parametrize("seed", range(25))
def test_no_word_is_lost_or_doubled(seed: int) -> None:
    items = document(random.Random(seed))
    made = list(WordSplit(tokens=60, overlap=0).split(items))
    assert [w for t in texts(made) for w in plain(t)] == [w for t in texts(items) for w in plain(t)]
    assert [i for i in made if isinstance(i, Fault)] == [i for i in items if isinstance(i, Fault)]


@pytest.mark.parametrize("seed", range(25))
def test_the_overlap_is_bounded_and_only_between_neighbours(seed: int) -> None:
    items = document(random.Random(seed))
    made = [set(plain(t)) for t in texts(list(WordSplit(tokens=60, overlap=20).split(items)))]
    assert set().union(*made) == {w for t in texts(items) for w in plain(t)}
    for (i, one), (j, other) in itertools.combinations(enumerate(made), 2):
        assert len(one & other) <= (20 if j == i + 1 else 0)


def test_overlap_repeats_whole_sentences() -> None:
    sentences = [f"Sentence number {n} has exactly seven words." for n in range(30)]
    made = texts(list(WordSplit(tokens=40, overlap=20).split([maker().text("text", " ".join(sentences))])))
    assert len(made) > 5
    for one, other in itertools.pairwise(made):
        shared = [s for s in sentences if s in one and s in other]
        assert len(shared) == 2
        assert one.endswith(" ".join(shared))
        assert other.startswith(" ".join(shared))


@pytest.mark.parametrize("seed", range(10))
def test_sizes_places_and_order(seed: int) -> None:
    items = document(random.Random(seed))
    made = [node for node in WordSplit(tokens=60, overlap=10).split(items) if isinstance(node, TextNode)]
    assert max(len(node.text.split()) for node in made) <= 72
    assert [node.metadata["order"] for node in made] == list(range(len(made)))
    assert len({node.node_id for node in made}) == len(made)
    place = {w: (n.metadata["kind"], n.metadata["page"], n.metadata.get("section"))
             for n in items if isinstance(n, TextNode) for w in plain(n.text)}  # fmt: skip
    for node in made:
        here = (node.metadata["kind"], node.metadata["page"], node.metadata.get("section"))
        assert {place[word] for word in plain(node.text)} == {here}


def test_the_same_input_gives_the_same_ids() -> None:
    def ids() -> list[str]:
        return [n.node_id for n in WordSplit(tokens=60).split(document(random.Random(1))) if isinstance(n, TextNode)]

    assert ids() == ids()


def test_packed_paragraphs_share_a_box_and_keep_what_loaders_said() -> None:
    make = maker("A title")
    one = make.text("text", "First.", page=2, bbox=(0.1, 0.1, 0.5, 0.2), section="S", links="a", ocr_score=0.9)
    two = make.text("text", "Second.", page=2, bbox=(0.4, 0.3, 0.9, 0.4), section="S", links="b", ocr_score=0.7)
    other = make.text("text", "Third.", page=3, section="S")
    first, second = WordSplit().split([one, two, other])
    assert isinstance(first, TextNode)
    assert isinstance(second, TextNode)
    assert first.text == "First.\nSecond."
    assert Evidence.of(first).bbox == (0.1, 0.1, 0.9, 0.4)
    assert first.metadata["links"] == "a\nb"
    assert first.metadata["ocr_score"] == 0.7
    assert second.metadata["page"] == 3
    assert "bbox" not in second.metadata
    assert first.get_content(MetadataMode.EMBED) == embedding_text(first) == "A title\nS\nFirst.\nSecond."
    assert first.ref_doc_id == one.ref_doc_id


def test_a_tiny_rest_goes_with_the_piece_before() -> None:
    make = maker()
    split = WordSplit(tokens=20, overlap=0)

    def pieces(*words: int, page: int = 1) -> int:
        nodes = [make.text("text", " ".join(["word"] * n), page=1 if n == words[0] else page) for n in words]
        return len(list(split.split(nodes)))

    assert pieces(3, 4) == 1
    assert pieces(19, 3) == 1
    assert pieces(19, 18) == 2
    assert pieces(19, 3, page=2) == 2


def test_headings_open_the_next_section_on_their_page() -> None:
    make = maker()
    items: list[Item] = [
        make.text("text", "History", section="History", page=1, bbox=(0.1, 0.1, 0.5, 0.2)),
        make.text("text", "Before 800", section="History > Before 800", page=1, bbox=(0.1, 0.2, 0.5, 0.3)),
        make.text("text", "People came.", section="History > Before 800", page=1, bbox=(0.1, 0.3, 0.9, 0.4)),
        make.text("text", "Culture", section="Culture", page=1),
        make.text("text", "They sang.", section="Culture", page=2),
        make.text("text", "Economy", section="Economy", page=2),
        make.text("table", "| a | b |", section="Economy", page=2),
    ]
    made = [n for n in SentenceSplit().split(items) if isinstance(n, TextNode)]
    assert [n.text for n in made] == [
        "History\nBefore 800\nPeople came.", "Culture", "They sang.", "Economy", "| a | b |",
    ]  # fmt: skip
    assert made[0].metadata["section"] == "History > Before 800"
    assert made[0].metadata["bbox"] == [0.1, 0.1, 0.9, 0.4]
    assert [n.metadata["order"] for n in made] == [0, 1, 2, 3, 4]


def test_context_words_count_towards_the_model_limit() -> None:
    count = token_counter()
    make = maker("Annual report of the office of the inspector general " * 4)
    sentences = " ".join(f"In {1900 + n} the agency paid 12,{n:03} dollars for repairs." for n in range(120))
    made = list(SentenceSplit().split([make.text("text", sentences, section="Costs > Repairs " * 20)]))
    assert len(made) > 10
    assert all(isinstance(n, TextNode) and count(embedding_text(n)) <= 254 for n in made)
    plain_made = texts(list(SentenceSplit().split([maker().text("text", sentences)])))
    assert 150 < max(map(count, plain_made)) <= 200


def table(rows: int) -> str:
    return "\n".join(["| Year | Cost |", "| --- | --- |", *(f"| {1900 + n} | {n},000 dollars |" for n in range(rows))])


def test_long_tables_are_cut_between_rows_under_their_header() -> None:
    node = maker().text("table", table(50), page=1, bbox=(0.1, 0.1, 0.9, 0.9), caption="Table 1. Costs")
    made = [n for n in WordSplit(tokens=60).split([node]) if isinstance(n, TextNode)]
    assert len(made) > 3
    assert all(n.text.startswith("| Year | Cost |\n| --- | --- |\n| 19") for n in made)
    assert all(n.metadata["caption"] == "Table 1. Costs" and n.metadata["bbox"] == [0.1, 0.1, 0.9, 0.9] for n in made)
    assert "\n".join(line for n in made for line in n.text.split("\n")[2:]) == table(50).split("\n", 2)[2]
    spans = [(n.metadata["row_start"], n.metadata["row_end"]) for n in made]
    assert [a for a, _ in spans[1:]] == [b + 1 for _, b in spans[:-1]]
    assert spans[0][0] == 1
    assert spans[-1][1] == 50
    assert all(len(n.text.split()) <= 60 for n in made)
    assert "row_start" not in embedding_text(made[0])
    assert str(spans[1][0]) not in made[1].get_content(MetadataMode.EMBED).split("\n")[0]


def test_short_tables_stay_as_they_are_and_notes_below_them_stay() -> None:
    text = table(3) + "\nNote: in thousands."
    (whole,) = WordSplit(tokens=100).split([maker().text("table", text)])
    assert isinstance(whole, TextNode)
    assert whole.text == text
    assert "row_start" not in whole.metadata
    parts = texts(list(WordSplit(tokens=20, overlap=0).split([maker().text("table", text)])))
    assert len(parts) > 1
    assert parts[-1].endswith("Note: in thousands.")


def test_a_row_beyond_the_budget_stays_whole() -> None:
    row = "| " + " ".join(["cell"] * 80) + " | x |"
    made = texts(list(WordSplit(tokens=40).split([maker().text("table", "| A | B |\n|---|---|\n| 1 | 2 |\n" + row)])))
    assert made[-1].endswith(row)
    assert len(made) == 2


def test_pictures_pass_and_separate_texts() -> None:
    make = maker()
    items: list[Item] = [
        make.text("text", "Before."), make.picture("figure", "", image_path="p.png", asset="a" * 64 + ".png", page=1),
        make.text("text", "After."), make.text("text", "   "),
    ]  # fmt: skip
    made = list(WordSplit().split(items))
    assert [type(n) for n in made] == [TextNode, ImageNode, TextNode]
    assert isinstance(made[1], ImageNode)
    assert made[1].image_path == "p.png"
    assert made[1].metadata["asset"] == "a" * 64 + ".png"
    assert made[1].metadata["order"] == 1


def test_it_streams() -> None:
    make = maker()
    seen = []

    def endless() -> Iterator[Item]:
        for n in range(100_000):
            seen.append(n)
            yield make.text("text", "A paragraph of some words. " * 10)

    made = list(itertools.islice(WordSplit(tokens=100).split(endless()), 5))
    assert len(made) == 5
    assert len(seen) < 30


def test_words_without_blanks_and_empty_input() -> None:
    text = "x" * 5000
    made = texts(list(SentenceSplit(tokens=50, overlap=0).split([maker().text("text", text)])))
    assert "".join(made) == text
    assert list(SentenceSplit().split([])) == []


def test_the_overlap_must_leave_room() -> None:
    with pytest.raises(ConfigError, match="overlap 60 is more than half of tokens 100"):
        SentenceSplit(tokens=100, overlap=60)
