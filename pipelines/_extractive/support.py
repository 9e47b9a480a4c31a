"""How far the evidence supports the answer: one number from nine named signs."""

import math
from typing import NamedTuple

import numpy as np

from sensorium.analysis import tokens
from sensorium.pipelines._extractive.answer_types import offered
from sensorium.pipelines._extractive.features import Candidate

WIDEST_MARGIN = 4.0
MOST_PARAPHRASE = 0.12
HALF = 0.5  # a question without most of its words is unlike anything, which is no sign of a paraphrase
LACKING = 0.5  # a term covered less than this is missing


class Signs(NamedTuple):
    """What speaks for and against the best candidate.

    Attributes:
        margin: Its lead over the best that is not quoted with it, at most 4.
        cosine: Of the question with it.
        context: Share of the question covered by it and its surroundings.
        missing_numbers: Weighted share of the question's numbers that neither it nor its surroundings have.
        missing_names: The same of its names.
        missing_asked: "What is the X": how far it lacks the X.
        no_column: For a table: how badly any column header fits.
        no_type: The kind of thing asked for is not there.
        paraphrase: What the likeness of question and unit owes to the words that the unit lacks: above 0 where it
            says them in other words, below where it is about something else. At most .12, less where not even half of
            the question is covered. (One more run of the embedder.)
    """

    margin: float
    cosine: float
    context: float
    missing_numbers: float
    missing_names: float
    missing_asked: float
    no_column: float
    no_type: float
    paraphrase: float


# Fitted on the development set of benchmarks/extractive (natural questions weighted 3 : 1), then rounded.
WEIGHTS = Signs(
    margin=0.55, cosine=1.7, context=5.3, missing_numbers=-4.5, missing_names=-3.3, missing_asked=-1.4,
    no_column=-1.0, no_type=-2.9, paraphrase=9.0,
)  # fmt: skip
BIAS = -5.2


def signs(best: Candidate, rival: Candidate | None, quoted: str, paraphrase: float) -> Signs:
    """The signs for a candidate.

    Args:
        best: The candidate.
        rival: The best candidate that is not quoted.
        quoted: The words that would be quoted.
        paraphrase: See `Signs`.
    """
    terms = best.passage.asked.terms
    return Signs(
        margin=min(WIDEST_MARGIN, best.score - rival.score) if rival else WIDEST_MARGIN,
        cosine=best.features.cosine,
        context=best.features.context,
        missing_numbers=terms.missing(best.context, terms.specific_numbers),
        missing_names=terms.missing(best.context, terms.names),
        missing_asked=float(1 - best.near[terms.asked].max()) if terms.asked else 0.0,
        no_column=1 - best.cell.certainty if best.cell else 0.0,
        no_type=_no_type(best, quoted),
        paraphrase=min(paraphrase, MOST_PARAPHRASE * min(1.0, best.features.context / HALF)),
    )


def without_missing(best: Candidate) -> str | None:
    """The question without the words that a candidate and its neighbours lack; None when it lacks none."""
    asked = best.passage.asked
    lacking = {
        t.term for t, covered in zip(asked.terms.terms, best.near, strict=True) if covered < LACKING and not t.meta
    }
    if not lacking:
        return None
    kept, at = [], 0
    for token in tokens(asked.text):
        if token.term in lacking:
            kept.append(asked.text[at : token.start])
            at = token.start + len(token.text)
    return " ".join("".join([*kept, asked.text[at:]]).split())


def support(found: Signs) -> float:
    """0..1. High values are honest; on long natural questions low ones are too low."""
    value = float(np.array(WEIGHTS) @ np.array(found)) + BIAS
    return 1 / (1 + math.exp(-value))


def _no_type(best: Candidate, quoted: str) -> float:
    asked = best.passage.asked
    if asked.kind in (None, "reason") or best.features.answer_type:  # reasons need no "because"
        return 0.0
    return float(offered(asked.kind, quoted, asked.text) == 0)
