"""Hits seen by a question: their units, headings, tables, and what of the question each part covers."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np

from sensorium.analysis import Token, tokens
from sensorium.pipelines._extractive.answer_types import AnswerType
from sensorium.pipelines._extractive.tables import Row, Table
from sensorium.pipelines._extractive.terms import Match, Terms
from sensorium.pipelines.results import Hit
from sensorium.pipelines.units import Unit, node_text, tables, units

# What it is worth that a term stands elsewhere in the same document. Numbers hardly count: another year of the same
# report is the most frequent near miss.
OFTEN = 4
IN_DOCUMENT_OFTEN, IN_DOCUMENT = 0.75, 0.4
NUMBER_IN_DOCUMENT_OFTEN, NUMBER_IN_DOCUMENT = 0.5, 0.0

FORM_WORD = 0.6  # "the screen", of a text on one
_HEADS = ("title", "section", "caption", "speaker")
_SAID = "recording call talk speech speaker narrator narration narrated voice conversation say said tell heard spoken"
_SHOWN = "screen text caption shown displayed seen visible written burnt burned"
_FORMS = {
    "speech": _SAID, "caption": _SAID, "scene": _SHOWN, "frame": _SHOWN,
    "audio": "recording audio clip", "video": "recording video clip film movie footage",
}  # fmt: skip
"""Words of questions for the form of what is said or shown in a recording."""


@dataclass(frozen=True)
class Asked:
    """A question, taken apart.

    Attributes:
        text: As asked.
        terms: Its weighted terms.
        kind: The kind of thing it asks for.
    """

    text: str
    terms: Terms
    kind: AnswerType | None


class Passage:
    """One hit and what of the question its parts cover.

    Args:
        asked: The question.
        hit: The hit.
        counts: In how many nodes of the hit's document each question term occurs.
    """

    def __init__(self, asked: Asked, hit: Hit, counts: Mapping[str, int]) -> None:
        self.asked, self.hit = asked, hit
        self.text = node_text(hit.node)
        self.kind = str(hit.node.metadata.get("kind", "text"))
        self.units: tuple[Unit, ...] = units(self.text, self.kind)
        self._counts = counts

    @cached_property
    def caption(self) -> str:
        """The caption of a table or figure; may be empty."""
        return str(self.hit.node.metadata.get("caption", ""))

    @cached_property
    def heading(self) -> str:
        """Title, section path, caption, speaker and file name."""
        data = self.hit.node.metadata
        name = PurePosixPath(str(data.get("source", ""))).stem.replace("_", " ").replace("-", " ")
        return ". ".join(filter(None, (*(str(data.get(k, "")) for k in _HEADS), name)))

    @cached_property
    def in_heading(self) -> Match:
        """What the heading covers, and the form of a recording: "the screen" is where its text stands."""
        media = str(self.hit.node.metadata.get("media_type", "")).partition("/")[0]
        form = " ".join(filter(None, (_FORMS.get(self.kind), _FORMS.get(media))))
        return np.maximum(self.asked.terms.match(self.heading), FORM_WORD * self.asked.terms.match(form))

    def answers(self, i: int) -> bool:
        """Whether a unit follows a question, and is none."""
        if not 0 < i < len(self.units):
            return False
        before, unit = self.units[i - 1], self.units[i]
        return self.text[before.start : before.end].endswith("?") and not self.text[unit.start : unit.end].endswith("?")

    @cached_property
    def in_text(self) -> Match:
        """What the whole text covers."""
        return self.asked.terms.covered(self._tokens)

    @cached_property
    def _tokens(self) -> list[Token]:
        return list(tokens(self.text))

    @cached_property
    def unit_tokens(self) -> list[list[Token]]:
        """The words of each unit."""
        starts = [token.start for token in self._tokens]
        return [self._tokens[bisect_left(starts, u.start) : bisect_left(starts, u.end)] for u in self.units]

    @cached_property
    def in_document(self) -> Match:
        """What the rest of the document is worth."""
        return np.array([self._credit(t.term, t.number) for t in self.asked.terms.terms])

    def _credit(self, term: str, number: bool) -> float:
        count = self._counts.get(term, 0)
        if count >= OFTEN:
            return NUMBER_IN_DOCUMENT_OFTEN if number else IN_DOCUMENT_OFTEN
        if count:
            return NUMBER_IN_DOCUMENT if number else IN_DOCUMENT
        return 0.0

    @cached_property
    def in_units(self) -> list[Match]:
        """What each unit covers."""
        return [self.asked.terms.covered(words) for words in self.unit_tokens]

    @cached_property
    def tables(self) -> list[Table]:
        """Its Markdown tables."""
        return tables(self.text)

    @cached_property
    def rows(self) -> Mapping[int, tuple[Table, Row]]:
        """For the start of each row unit its table and row."""
        return {row.start: (table, row) for table in self.tables for row in table.rows}

    @cached_property
    def before_table(self) -> str:
        """Words above the first table: its caption, where the loader keeps that in the text."""
        return self.text[: self.tables[0].start].strip() if self.tables else ""

    def lead(self, unit: Unit) -> str:
        """The beginning of a unit's paragraph up to a colon ("Requirements: ..."); empty for its first unit."""
        start = self.text.rfind("\n", 0, unit.start) + 1
        before = self.text[start : unit.start][:120]
        return before.split(": ", 1)[0] if before else ""


def sentence_text(passage: Passage, unit: Unit) -> str:
    """A unit's text on one line."""
    return " ".join(passage.text[unit.start : unit.end].split())
