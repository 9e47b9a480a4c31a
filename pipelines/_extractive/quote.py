"""The words that are quoted: a sentence with the neighbour that completes it, or the cell with its label."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sensorium.pipelines._extractive.features import Candidate, Cell
from sensorium.pipelines._extractive.passages import Passage, sentence_text
from sensorium.pipelines._extractive.tables import Row, Table

GAP = " … "
NEXT_PREFERRED = 0.5  # say of the next sentence when the kind of thing asked for is still missing
ANNOUNCED = 10  # "just run:" is nothing without what follows
SAME_MATTER = 0.25  # of an open question, in the next sentence: it goes on about it
LEAST_GAIN = 0.1  # of a question's weights
_STOPPED = re.compile(r"[.!?:;][\"”’)\]]*$")
_LEANS = re.compile(r"[a-z]|(?:It|He|She|They|This|That|These|Those|His|Her|Their|Its|But|So|And|Then|Here|There)\b")
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
    """The first candidate whose words neither are quoted, here or from another place, nor stand beside the best."""
    said = {_unit_text(q.best, unit) for q in quoted for unit in q.units}
    for best in (q.best for q in quoted if q.best.cell is None):
        beside = range(max(0, best.index - 1), min(len(best.passage.units), best.index + 2))
        said |= {_unit_text(best, unit) for unit in beside if best.passage.units[unit].kind == "sentence"}
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
    """The sentence and the neighbours that bring something; between short lines those around it, which belong to it."""
    passage, i = candidate.passage, candidate.index
    first = last = i
    length = len(sentence_text(passage, candidate.unit))
    lines = passage.kind in LINE_KINDS
    for _ in range(LINES if lines else 2):
        for _, j in sorted(_neighbours(candidate, first, last), reverse=True):
            added = len(sentence_text(passage, passage.units[j])) + 1
            if length + added <= longest:
                first, last, length = min(first, j), max(last, j), length + added
                break
    return range(first, last + 1)


def _neighbours(candidate: Candidate, first: int, last: int) -> list[tuple[float, int]]:
    """The units before and behind a quote, each with what it brings."""
    passage, i = candidate.passage, candidate.index
    covered = passage.in_units
    said = np.max(covered[first : last + 1], axis=0)
    found = []
    for j, step, bonus in ((first - 1, -1, 0.02), (last + 1, 1, 0.01)):
        if 0 <= j < len(covered) and passage.units[j].kind == "sentence" and abs(j - i) <= _reach(passage):
            gain = float(passage.asked.terms.weights @ np.maximum(0, covered[j] - said))
            gain += _needed(candidate, j, step)
            if gain > LEAST_GAIN or passage.kind in LINE_KINDS:
                found.append((gain + bonus, j))
    return found


def _reach(passage: Passage) -> int:
    return LINES if passage.kind in LINE_KINDS else 1


def _needed(candidate: Candidate, j: int, step: int) -> float:
    """How much a sentence needs its neighbour: it announces it, asks or answers it, or is no whole sentence."""
    passage, i = candidate.passage, candidate.index
    text = sentence_text(passage, candidate.unit)
    if step > 0:
        if text.endswith(":"):
            return ANNOUNCED
        if passage.answers(j) and j == i + 1:
            return NEXT_PREFERRED
        wanted = bool(passage.asked.kind) and candidate.features.answer_type == 0
        leans = _LEANS.match(sentence_text(passage, passage.units[j]))
        explains = passage.asked.kind is None and passage.asked.terms.share(passage.in_units[j]) >= SAME_MATTER
        return NEXT_PREFERRED if wanted or leans or explains or not _STOPPED.search(text) else 0.0
    return NEXT_PREFERRED if (passage.answers(i) and j == i - 1) or _LEANS.match(text) else 0.0
