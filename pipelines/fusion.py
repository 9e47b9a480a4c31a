"""Fusion of ranked lists by node id. Scores of legs stay what they are; only their ranks or shares are added up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from pydantic import Field

from sensorium.stores.base import Scored


@dataclass(frozen=True)
class Ranked:
    """What one leg found.

    Attributes:
        leg: Its name in traces ("vector:text").
        weight: Its say in the fusion, above 0.
        found: Best first.
    """

    leg: str
    weight: float
    found: Sequence[Scored]


@dataclass
class Fused:
    """A node's place after fusion: the sum, and for each leg that found it (rank from 1, raw score)."""

    node_id: str
    score: float = 0.0
    legs: dict[str, tuple[int, float]] = field(default_factory=dict)


class Fusion(Protocol):
    """Joins ranked lists into one."""

    def fuse(self, lists: Sequence[Ranked]) -> list[Fused]:
        """Best first; ties in order of node id."""
        ...


class ReciprocalRank:
    """Weighted reciprocal rank fusion: sum of weight / (k + rank), rank from 1.

    Source: Cormack, Clarke and Büttcher, SIGIR 2009. Hits without any relevance (score <= 0 of a keyword leg) must
    not reach it: they would earn rank credit.

    Args:
        k: The larger, the less the first ranks stand out.
    """

    def __init__(self, k: Annotated[float, Field(ge=0)] = 60.0) -> None:
        self.k = k

    def fuse(self, lists: Sequence[Ranked]) -> list[Fused]:
        """See `Fusion.fuse`."""
        fused: dict[str, Fused] = {}
        for ranked in lists:
            for rank, scored in enumerate(ranked.found, 1):
                _credit(fused, ranked.leg, rank, scored, ranked.weight / (self.k + rank))
        return _sorted(fused)


class RelativeScore:
    """Weighted sum of min-max normalised scores: in each list the best counts 1, the worst 0.

    A list whose scores are all equal counts 1 throughout. Scores are relative to this search: not comparable
    between questions.
    """

    def fuse(self, lists: Sequence[Ranked]) -> list[Fused]:
        """See `Fusion.fuse`."""
        fused: dict[str, Fused] = {}
        total = sum(ranked.weight for ranked in lists) or 1.0
        for ranked in lists:
            scores = [scored.score for scored in ranked.found]
            low, span = (min(scores), max(scores) - min(scores)) if scores else (0.0, 0.0)
            for rank, scored in enumerate(ranked.found, 1):
                share = (scored.score - low) / span if span > 0 else 1.0
                _credit(fused, ranked.leg, rank, scored, share * ranked.weight / total)
        return _sorted(fused)


def _credit(fused: dict[str, Fused], leg: str, rank: int, scored: Scored, credit: float) -> None:
    entry = fused.setdefault(scored.node_id, Fused(scored.node_id))
    entry.score += credit
    entry.legs[leg] = (rank, scored.score)


def _sorted(fused: dict[str, Fused]) -> list[Fused]:
    return sorted(fused.values(), key=lambda f: (-f.score, f.node_id))
