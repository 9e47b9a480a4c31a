"""Table rows as candidates: label, column and value."""

import re
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from sensorium.analysis import tokens
from sensorium.pipelines._extractive.answer_types import NUMERIC_TYPES, offered, offered_by_cell
from sensorium.pipelines._extractive.features import Candidate, Cell, Features, relation
from sensorium.pipelines._extractive.passages import Passage
from sensorium.pipelines._extractive.tables import Row, Table
from sensorium.pipelines._extractive.terms import Match

OTHER_HEADER = 0.5  # what a column that is not quoted is worth for a term
TELLING = 0.34  # a label term tells rows apart when it stands in at most this share of them
UNFIT = 0.4  # a cell that is not the kind of thing asked for
TIED, MOST_COLUMNS = 0.9, 3  # columns that fit nearly as well are quoted too
COLUMN_CHOSEN = 0.12  # share of the question that a header has to match beyond the label


class TableReader:
    """Judges the rows of one table, with what they share worked out once."""

    def __init__(self, passage: Passage, table: Table) -> None:
        self.passage, self.table = passage, table
        terms = passage.asked.terms
        self.headers = [terms.match(h) for h in table.header]
        self.any_header: Match = np.max(self.headers, axis=0) if self.headers else terms.nothing()
        self.above = np.maximum(passage.in_heading, terms.match(passage.before_table))
        self.labels = [f"{row.group} {table.label(row)}" for row in table.rows]
        self.in_labels = [terms.match(label) for label in self.labels]
        counts: Counter[int] = Counter(j for m in self.in_labels for j in np.flatnonzero(m > 0).tolist())
        limit = max(1.0, len(table.rows) * TELLING)
        self.telling = np.array([counts[j] <= limit for j in range(len(terms))], dtype=bool)
        self._position = {row.start: n for n, row in enumerate(table.rows)}

    def candidate(self, i: int, row: Row, cosine: float, vector: NDArray[np.float32]) -> Candidate:
        passage, terms = self.passage, self.passage.asked.terms
        n = self._position[row.start]
        cell = self.cell(row, self.in_labels[n])
        header = self.headers[cell.columns[0]] if cell.columns else terms.nothing()
        words = terms.match(" | ".join((row.group, *row.cells)))
        own = np.max([words, header, OTHER_HEADER * self.any_header], axis=0)
        near = np.max([own, self.above, self.any_header], axis=0)
        context = np.maximum(near, passage.in_document)
        value = " | ".join(row.cells[j] for j in cell.columns or cell.order)
        kind = passage.asked.kind
        features = Features(
            cosine=cosine,
            context=terms.share(context),
            relation=relation(passage, own),
            answer_type=offered_by_cell(kind, value, passage.asked.text) if kind else 0.0,
            label=self.label(n),
            rank=1 / passage.hit.rank,
            repeats=0.0,
        )
        return Candidate(passage, i, features, own, near, context, vector, cell)

    def label(self, n: int) -> float:
        """How well the row's label is the one asked for: "Virginia" beats "West Virginia"."""
        terms = self.passage.asked.terms
        telling = (self.in_labels[n] > 0) & self.telling
        if not telling.any():
            return 0.0
        words = [t.term for t in tokens(self.labels[n]) if not t.is_stop_word]
        precision = sum(map(terms.mentions, words)) / max(1, len(words))
        weight = float(terms.weights[telling].sum()) / float(terms.weights.max())
        return min(1.0, weight) * (0.4 + 0.6 * precision)

    def cell(self, row: Row, in_label: Match) -> Cell:
        """The column whose header covers most of what the label leaves open."""
        terms = self.passage.asked.terms
        gains = {
            j: self._gain(j, row, in_label)
            for j in range(len(self.table.header))
            if j != self.table.labels[0] and row.cells[j]
        }
        order = tuple(sorted(gains, key=lambda j: (-gains[j], j)))
        best = gains[order[0]] if order else 0.0
        chosen = best > COLUMN_CHOSEN * terms.total
        columns = tuple(j for j in order if gains[j] >= TIED * best)[:MOST_COLUMNS] if chosen else ()
        return Cell(self.table, row, columns, order, min(1.0, 2 * best / terms.total))

    def _gain(self, j: int, row: Row, in_label: Match) -> float:
        asked = self.passage.asked
        open_terms = (in_label < 1) & asked.terms.matter
        covered = float(asked.terms.weights[open_terms] @ self.headers[j][open_terms])
        words = [t.term for t in tokens(self.table.header[j]) if not t.is_stop_word]
        precision = sum(map(asked.terms.mentions, words)) / max(1, len(words))
        gain = covered * (0.5 + 0.5 * precision)
        return gain if self._fits(row.cells[j]) else gain * UNFIT

    def _fits(self, cell: str) -> bool:
        kind = self.passage.asked.kind
        if kind in NUMERIC_TYPES:
            return re.search(r"\d", cell) is not None  # units and signs stand in the header
        return kind is None or kind == "reason" or offered(kind, cell, self.passage.asked.text) > 0
