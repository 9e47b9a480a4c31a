"""What speaks for a sentence or table row as the answer: seven named features, each 0..1 or nearly so."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensorium.pipelines._extractive.passages import Passage
from sensorium.pipelines._extractive.tables import Row, Table
from sensorium.pipelines._extractive.terms import Match
from sensorium.pipelines.units import Unit

EXPLAINED = 0.15  # a heading that leaves less of the question open explains all of it


class Features(NamedTuple):
    """What speaks for a unit.

    Attributes:
        cosine: Of the question with the unit in its context.
        context: Share of the question covered by the unit and, with less weight, its surroundings.
        relation: Share covered by the unit of what the heading leaves open.
        answer_type: Whether it offers the kind of thing asked for.
        label: How well a row's label is the one asked for.
        rank: 1 / rank of its hit.
        repeats: 1 for a question or a mere repetition of the question, .6 for a reference or URL line.
    """

    cosine: float
    context: float
    relation: float
    answer_type: float
    label: float
    rank: float
    repeats: float


# Round numbers near the optimum on the development set of benchmarks/extractive.
SELECT = Features(cosine=6.0, context=6.0, relation=2.0, answer_type=2.0, label=1.5, rank=0.25, repeats=-1.0)
_SELECT = np.array(SELECT)


@dataclass(frozen=True)
class Cell:
    """The cell of a row that answers, or the whole row.

    Attributes:
        table: The table.
        row: The row.
        columns: The answering columns, best first: those whose header fits the question (nearly) best; empty when
            the whole row is the answer.
        order: All value columns, best first.
        certainty: How well the best column's header fits the question, 0..1.
    """

    table: Table
    row: Row
    columns: tuple[int, ...]
    order: tuple[int, ...]
    certainty: float


@dataclass(frozen=True)
class Candidate:
    """A unit that may answer.

    Attributes:
        passage: Its hit.
        index: Position of the unit in the passage.
        features: What speaks for it.
        covered: What of the question the unit covers itself (a row: with its headers).
        near: What it covers together with its neighbours and heading.
        context: The same with the rest of the document.
        vector: Its unit vector.
        cell: For rows.
    """

    passage: Passage
    index: int
    features: Features
    covered: Match
    near: Match
    context: Match
    vector: NDArray[np.float32]
    cell: Cell | None = None

    @property
    def unit(self) -> Unit:
        """The unit."""
        return self.passage.units[self.index]

    @cached_property
    def score(self) -> float:
        """How well it answers, compared with others; 0 to about 18."""
        return float(_SELECT @ np.array(self.features))


def relation(passage: Passage, own: Match) -> float:
    """What the heading does not explain has to stand in the unit itself."""
    terms = passage.asked.terms
    open_weights = terms.weights * (1 - passage.in_heading)
    left = float(open_weights.sum())
    return float(open_weights @ own) / left if left > EXPLAINED * terms.total else 1.0


def ranked(found: Sequence[Candidate]) -> list[Candidate]:
    """Best first; ties in order of rank and position."""
    return sorted(found, key=lambda c: (-c.score, c.passage.hit.rank, c.index))
