"""Arithmetic of ranked lists that every engine shares: order, relative scores, marginal relevance, MaxSim."""

from collections.abc import Mapping, Sequence

import numpy as np

from sensorium.stores.base import Scored, Vector

POOL = 100
"""Candidates that MMR looks at, at least."""
FUSED = 20
"""Candidates of each search that hybrid looks at, at least. The same in every engine, as scores are scaled over them;
few, as each costs a server time."""
DIVERSIFIED = 1000
"""Candidates that MMR looks at, at most; so it finds no more hits either. Its time grows with their square."""


def ranked(scores: Mapping[str, float], top_k: int) -> list[Scored]:
    """The best `top_k`, ties in order of node id."""
    order = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [Scored(node_id, score) for node_id, score in order[: max(top_k, 0)]]


def weighted(dense: Sequence[Scored], text: Sequence[Scored], alpha: float, top_k: int) -> list[Scored]:
    """Relative-score fusion: each list scaled to 0..1 between its worst and best, then summed by weight.

    Args:
        dense: Hits of the dense search.
        text: Hits of the keyword search.
        alpha: Weight of `dense`; `text` weighs 1 - alpha.
        top_k: Hits to return.
    """
    total: dict[str, float] = {}
    for hits, weight in ((dense, alpha), (text, 1.0 - alpha)):
        if weight > 0:
            for node_id, score in _relative(hits).items():
                total[node_id] = total.get(node_id, 0.0) + weight * score
    return ranked(total, top_k)


def _relative(hits: Sequence[Scored]) -> dict[str, float]:
    if not hits:
        return {}
    low = min(hit.score for hit in hits)
    width = max(hit.score for hit in hits) - low
    return {hit.node_id: (hit.score - low) / width if width > 0 else 1.0 for hit in hits}


def diversified(hits: Sequence[Scored], vectors: Mapping[str, Vector], threshold: float, top_k: int) -> list[Scored]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998).

    Args:
        hits: Candidates with their similarity to the query, best first.
        vectors: Their vectors, (d,).
        threshold: 1 is pure relevance, 0 pure difference from what was taken before.
        top_k: Hits to return.

    Returns:
        Hits in the order in which they were taken, with their marginal relevance.
    """
    if not hits:
        return []
    matrix = np.stack([vectors[hit.node_id] for hit in hits])
    relevance = np.array([hit.score for hit in hits], dtype=np.float64)
    nearest = np.zeros(len(hits))
    left = np.ones(len(hits), dtype=bool)
    chosen: list[Scored] = []
    while left.any() and len(chosen) < top_k:
        # Rounded, so that equal nodes tie, and the better placed one is taken.
        margin = np.round(np.where(left, threshold * relevance - (1.0 - threshold) * nearest, -np.inf), 9)
        best = int(np.argmax(margin))
        similar = (matrix @ matrix[best]).astype(np.float64)
        nearest = np.maximum(nearest, similar) if chosen else similar
        left[best] = False
        chosen.append(Scored(hits[best].node_id, float(margin[best])))
    return chosen


def max_sim(query: Vector, document: Vector) -> float:
    """Late interaction: mean over the query's vectors (m, d) of the best product with the document's (n, d)."""
    return float(np.mean((query @ document.T).max(axis=1)))


def pooled(vectors: Vector) -> Vector:
    """One vector for many: their mean (m, d) -> (d,), of length 1 unless it is zero."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 0 else mean, dtype=np.float32)
