"""The words that are quoted: a sentence with the neighbour that completes it, or the cell with its label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.pipelines._extractive.features import Candidate, Cell
from sensorium.pipelines._extractive.passages import Passage, sentence_text
from sensorium.pipelines._extractive.tables import Row, Table

GAP = " … "
NEXT_PREFERRED = 0.5  # say of the next sentence when the kind of thing asked for is still missing
ANNOUNCED = 10  # "just run:" is nothing without what follows
LINE_KINDS = frozenset({"slide", "ocr", "figure", "page", "scene", "frame"})
LINES = 3  # neighbours of a line on a slide or in a picture


@dataclass
class Quoted:
    """What is quoted of one passage.

    Attributes:
        best: The candidate that brought it in.
        parts: For the first unit of each quoted part its words; parts follow one another in the source.
        units: Indices of the quoted units.
    """

    best: Candidate
    parts: dict[int, str]
    units: set[int]

    @property
    def text(self) -> str:
        """The words, with gaps between parts that are not neighbours."""
        return GAP.join(self.parts[first] for first in sorted(self.parts))


def quote(candidate: Candidate, longest: int) -> str:
    """Verbatim words of the source on one line; a table cell as "label | header: cell".

    Args:
        candidate: What to quote.
        longest: In characters.
    """
    return _words(candidate, window(candidate, longest), longest)


def quotes(chosen: Iterable[Candidate], longest: int) -> list[Quoted]:
    """Quotes of several candidates, one for each passage, without saying anything twice.

    Args:
        chosen: Best first.
        longest: Of each part, in characters.
    """
    found: dict[str, Quoted] = {}
    for candidate in chosen:
        key = candidate.passage.hit.node.node_id
        before = found.get(key)
        if before and candidate.index in before.units:
            continue
        units = window(candidate, longest)
        if before:
            units = _apart(units, candidate.index, before.units)
        text = _words(candidate, units, longest)
        if any(text in other.text for other in found.values()):
            continue
        if before:
            before.parts[units.start] = text
            before.units |= set(units)
        else:
            found[key] = Quoted(candidate, {units.start: text}, set(units))
    return list(found.values())


def rival(found: Iterable[Candidate], quoted: Sequence[Quoted]) -> Candidate | None:
    """The first candidate whose words are not quoted, here or from another place."""
    said = {_unit_text(q.best, unit) for q in quoted for unit in q.units}
    return next((c for c in found if _unit_text(c, c.index) not in said), None)


def _unit_text(candidate: Candidate, index: int) -> str:
    return sentence_text(candidate.passage, candidate.passage.units[index])


def window(candidate: Candidate, longest: int) -> range:
    """Indices of the units to quote: the sentence and the neighbours that complete it, or the row alone."""
    if candidate.cell is not None:
        return range(candidate.index, candidate.index + 1)
    return _window(candidate, longest)


def _apart(units: range, index: int, quoted: set[int]) -> range:
    first, last = index, index
    while first - 1 in units and first - 1 not in quoted:
        first -= 1
    while last + 1 in units and last + 1 not in quoted:
        last += 1
    return range(first, last + 1)


def _words(candidate: Candidate, units: range, longest: int) -> str:
    if candidate.cell is not None:
        return cell_text(candidate.cell, longest)
    passage = candidate.passage
    return clip(" ".join(sentence_text(passage, passage.units[j]) for j in units), longest)


def cell_text(cell: Cell, longest: int) -> str:
    """The answering cells with labels and headers, or as much of the whole row as fits, best columns first."""
    table, row = cell.table, cell.row
    label = " | ".join(filter(None, (row.group, table.label(row))))
    columns = [j for j in cell.columns or cell.order if j not in table.labels]
    shown: list[int] = []
    for j in columns:
        if len(_row(label, table, row, [*shown, j])) <= longest:
            shown.append(j)
    text = _row(label, table, row, sorted(shown))
    return clip(text if len(shown) == len(columns) else text + GAP.rstrip(), longest)


def _row(label: str, table: Table, row: Row, columns: Sequence[int]) -> str:
    values = (f"{table.header[j]}: {row.cells[j]}" if table.header[j] else row.cells[j] for j in columns)
    return " | ".join(filter(None, (label, *values)))


def clip(text: str, longest: int) -> str:
    """At most `longest` characters, cut between words."""
    if len(text) <= longest:
        return text
    return text[: longest - len(GAP)].rsplit(" ", 1)[0] + GAP.rstrip()


def _window(candidate: Candidate, longest: int) -> range:
    """Between short lines more neighbours are taken in."""
    passage, i = candidate.passage, candidate.index
    first = last = i
    length = len(sentence_text(passage, candidate.unit))
    steps = LINES if passage.kind in LINE_KINDS else 1
    wants_next = bool(passage.asked.kind) and candidate.features.answer_type == 0
    for _ in range(steps):
        for _, j in sorted(_neighbours(passage, i, first, last, wants_next), reverse=True):
            added = len(sentence_text(passage, passage.units[j])) + 1
            if length + added <= longest:
                first, last, length = min(first, j), max(last, j), length + added
                if steps > 1:
                    break
    return range(first, last + 1)


def _neighbours(passage: Passage, i: int, first: int, last: int, wants_next: bool) -> list[tuple[float, int]]:
    weights, covered = passage.asked.terms.weights, passage.in_units
    announces = passage.text[passage.units[i].start : passage.units[i].end].endswith(":")
    found = []
    for j, bonus in ((first - 1, 0.02), (last + 1, NEXT_PREFERRED if wants_next or announces else 0.01)):
        if 0 <= j < len(covered) and passage.units[j].kind == "sentence":
            gain = float(weights @ np.maximum(0, covered[j] - covered[i]))
            found.append((gain + bonus * (ANNOUNCED if announces else 1), j))
    return found
