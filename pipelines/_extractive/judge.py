"""Every sentence and row of a passage as a candidate, with its features."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sensorium.pipelines._extractive.answer_types import offered
from sensorium.pipelines._extractive.features import Candidate, Features, relation
from sensorium.pipelines._extractive.passages import Passage, sentence_text
from sensorium.pipelines._extractive.rows import TableReader
from sensorium.pipelines._extractive.terms import Match

# Context: what the surroundings of a sentence are worth for a term that it lacks itself.
LEAD, PREVIOUS, NEXT, ELSEWHERE, NUMBER_ELSEWHERE = 0.9, 0.8, 0.6, 0.5, 0.3
ANSWER = 0.9  # what the words of a question are worth to its answer
_REFERENCE = re.compile(r"ISBN|\bpp\. ?\d|\bProc\b|https?://|ftp://|\bet al\b|^\W*[\"“\[]|doi[:.]|@|\bvol\.")


def candidates(passage: Passage, vectors: NDArray[np.float32], question: NDArray[np.float32]) -> Iterator[Candidate]:
    """Every unit of a passage, judged.

    Args:
        passage: A hit.
        vectors: For each unit its unit vector, shape (m, d).
        question: Unit vector of the question, shape (d,).
    """
    cosines = _with_questions(passage, vectors @ question)
    readers = {id(table): TableReader(passage, table) for table in passage.tables}
    for i, unit in enumerate(passage.units):
        if unit.kind == "row" and unit.start in passage.rows:
            table, row = passage.rows[unit.start]
            yield readers[id(table)].candidate(i, row, float(cosines[i]), vectors[i])
        else:
            yield _sentence(passage, i, float(cosines[i]), vectors[i])


def _with_questions(passage: Passage, cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """What answers a question ("Your number? - It is 4471.") is nearly as near as the question."""
    near = cosines.copy()
    for i in range(1, len(passage.units)):
        if passage.answers(i):
            near[i] = max(near[i], ANSWER * cosines[i - 1])
    return near


def _sentence(passage: Passage, i: int, cosine: float, vector: NDArray[np.float32]) -> Candidate:
    asked, unit = passage.asked, passage.units[i]
    own = passage.in_units[i]
    if passage.answers(i):
        own = np.maximum(own, ANSWER * passage.in_units[i - 1])
    text = sentence_text(passage, unit)
    near = np.max([own, *_neighbourhood(passage, i)], axis=0)
    elsewhere = np.where(asked.terms.numbers, NUMBER_ELSEWHERE, ELSEWHERE) * passage.in_text
    context = np.max([near, elsewhere, passage.in_document], axis=0)
    features = Features(
        cosine=cosine,
        context=asked.terms.share(context),
        relation=relation(passage, own),
        answer_type=offered(asked.kind, text, asked.text) if asked.kind else 0.0,
        label=0.0,
        rank=1 / passage.hit.rank,
        repeats=_repeats(passage, i, text),
    )
    return Candidate(passage, i, features, own, near, context, vector)


def _neighbourhood(passage: Passage, i: int) -> Iterator[Match]:
    asked, own = passage.asked, passage.in_units
    yield passage.in_heading
    lead = passage.lead(passage.units[i])
    if lead:
        yield LEAD * asked.terms.match(lead)
    if i:
        yield PREVIOUS * own[i - 1]
    if i + 1 < len(own):
        yield NEXT * own[i + 1]


def _repeats(passage: Passage, i: int, text: str) -> float:
    new = [t for t in passage.unit_tokens[i] if not t.is_stop_word and t.term not in passage.asked.terms]
    if text.endswith("?") or len(new) < 2:
        return 1.0
    return 0.6 if _REFERENCE.search(text) else 0.0
