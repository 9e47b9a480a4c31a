"""Fusion by node id, and folding of hits that show the same thing."""

from pathlib import Path

import pytest

from sensorium.loaders.base import NodeMaker, SourceFile
from sensorium.nodes import Kind
from sensorium.pipelines.duplicates import fold
from sensorium.pipelines.fusion import Fusion, Ranked, ReciprocalRank, RelativeScore
from sensorium.pipelines.results import Hit
from sensorium.stores.base import Scored


def ranked(leg: str, *ids: str, weight: float = 1.0) -> Ranked:
    return Ranked(leg, weight, [Scored(node, 1.0 - 0.1 * i) for i, node in enumerate(ids)])


@pytest.mark.parametrize("fusion", [ReciprocalRank(), RelativeScore()])
def test_what_both_legs_find_comes_first(fusion: Fusion) -> None:
    fused = fusion.fuse([ranked("a", "x", "both", "z"), ranked("b", "y", "both", "w")])
    assert fused[0].node_id == "both"
    assert fused[0].legs == {"a": (2, 0.9), "b": (2, 0.9)}


def test_reciprocal_rank_adds_weighted_reciprocals() -> None:
    (first, second) = ReciprocalRank(k=60).fuse([ranked("a", "x", "y", weight=2.0)])
    assert first.score == pytest.approx(2 / 61)
    assert second.score == pytest.approx(2 / 62)


def test_relative_scores_span_zero_to_one() -> None:
    fused = RelativeScore().fuse([ranked("a", "x", "y", "z")])
    assert [f.score for f in fused] == pytest.approx([1.0, 0.5, 0.0])


def test_ties_go_by_id_whatever_the_order_of_legs() -> None:
    one = ReciprocalRank().fuse([ranked("a", "m"), ranked("b", "k")])
    two = ReciprocalRank().fuse([ranked("b", "k"), ranked("a", "m")])
    assert [f.node_id for f in one] == [f.node_id for f in two] == ["k", "m"]


def test_nothing_found_is_nothing_fused() -> None:
    assert ReciprocalRank().fuse([Ranked("a", 1.0, [])]) == []


def hit(text: str, source: str = "a.png", sha256: str = "00", page: int = 1, kind: Kind = "ocr") -> Hit:
    file = SourceFile(Path("/x") / source, "/x", source, sha256, "image/png")
    return Hit(0, 1.0, NodeMaker(file).text(kind, text, page=page))


def test_a_picture_and_its_own_words_are_one_hit() -> None:
    folded = fold([hit("Total due 610.00 EUR"), hit("total due\n610.00"), hit("Something else")])
    assert [h.text for h in folded] == ["Total due 610.00 EUR", "Something else"]
    assert [h.rank for h in folded] == [1, 2]
    assert len(folded[0].duplicates) == 1


def test_the_words_of_a_picture_stand_for_it_whichever_ranks_first() -> None:
    picture, words = hit("Total due 610.00 EUR", kind="figure"), hit("Total due 610.00 EUR")
    assert [h.evidence.kind for h in fold([picture, words])] == ["ocr"]
    assert [h.evidence.kind for h in fold([words, picture])] == ["ocr"]
    part = hit("Total due")
    assert [h.evidence.kind for h in fold([picture, part])] == ["figure"]


def test_a_longer_text_with_news_is_kept() -> None:
    assert len(fold([hit("Total"), hit("Total due 610.00 EUR on 4 May")])) == 2


def test_copies_of_a_file_are_one_hit_and_other_pages_are_not() -> None:
    assert len(fold([hit("Same words"), hit("Same words", source="copy.png")])) == 1
    assert len(fold([hit("Same words"), hit("Same words", page=2)])) == 2
    assert len(fold([hit("Same words"), hit("Same words", source="b.png", sha256="01")])) == 2
