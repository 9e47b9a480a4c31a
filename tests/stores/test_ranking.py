from typing import Any

import numpy as np
import pytest

from sensorium.stores.base import Scored, Vector
from sensorium.stores.ranking import diversified, max_sim, pooled, ranked, weighted


def array(rows: Any) -> Vector:
    return np.asarray(rows, dtype=np.float32)


def hits(*pairs: tuple[str, float]) -> list[Scored]:
    return [Scored(node_id, score) for node_id, score in pairs]


def test_ranked_breaks_ties_by_id() -> None:
    assert ranked({"b": 1.0, "a": 1.0, "c": 2.0}, 2) == hits(("c", 2.0), ("a", 1.0))
    assert ranked({"a": 1.0}, 0) == []


def test_weighted_scales_each_list_to_its_own_range() -> None:
    dense, text = hits(("a", 0.9), ("b", 0.5), ("c", 0.1)), hits(("c", 12.0), ("a", 2.0))
    assert weighted(dense, text, 0.5, 3) == hits(("a", 0.5), ("c", 0.5), ("b", 0.25))
    assert weighted(dense, text, 0.0, 3) == hits(("c", 1.0), ("a", 0.0))
    assert weighted(hits(("x", 3.0)), [], 0.4, 3) == hits(("x", 0.4))


def test_diversified_takes_another_direction_second() -> None:
    vectors = {"a": array([1, 0]), "b": array([1, 0.01]), "c": array([0, 1])}
    found = diversified(hits(("a", 1.0), ("b", 0.99), ("c", 0.5)), vectors, 0.5, 3)
    assert [h.node_id for h in found] == ["a", "c", "b"]
    assert [h.score for h in found] == pytest.approx([0.5, 0.25, -0.005], abs=1e-6)
    assert diversified([], {}, 0.5, 3) == []


def test_max_sim_is_mean_of_best_products() -> None:
    query, document = array([[1, 0], [0, 1]]), array([[0.6, 0.8], [1, 0]])
    assert max_sim(query, document) == pytest.approx((1.0 + 0.8) / 2)


def test_pooled_has_length_one_unless_it_is_zero() -> None:
    assert pooled(array([[1, 0], [0, 1]])) == pytest.approx([0.5**0.5, 0.5**0.5])
    assert not pooled(array([[1, 0], [-1, 0]])).any()
