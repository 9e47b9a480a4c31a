"""Extractive answers on the development set: how many are right, how often the pipeline declines, how fast.

    python -m benchmarks.extractive.evaluate CACHE [--fit]

CACHE is a folder for Debian packages and vectors (see fetch.py). The set has natural questions, written by hand about
hand-written documents and Debian's books (each of the former also with a reference to its document), and
programmatic ones. `--fit` also fits the weights of the support's signs, by six folds over sources, for comparison with
those in `pipelines/_extractive/support.py`. None of this touches the real corpus.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.extractive.debian import add_debian
from benchmarks.extractive.documents import add_documents
from benchmarks.extractive.fetch import fetch
from benchmarks.extractive.index import MemoryIndex
from benchmarks.extractive.material import Material, Question
from sensorium.models.text import MiniLM
from sensorium.pipelines._extractive.support import Signs
from sensorium.pipelines.results import Citation
from sensorium.pipelines.synthesizers import Extractive
from sensorium.stores.base import Store

HITS = 8
THRESHOLDS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
FOLDS, NATURAL_WEIGHT, PENALTY = 6, 4.0, 3.0


@dataclass(frozen=True)
class Outcome:
    """One question and what became of it.

    Attributes:
        question: The question.
        support: Measured support.
        right: The quotes hold the answer, from the right source.
        signs: What the support is made of.
        seconds: Time beyond the search.
    """

    question: Question
    support: float
    right: bool
    signs: Signs
    seconds: float

    @property
    def answerable(self) -> bool:
        """Whether the sources hold an answer."""
        return self.question.answer is not None


def material(cache: Path) -> Material:
    """The development set."""
    made = Material()
    add_documents(made)
    add_debian(made, fetch(cache))
    return made


def outcomes(made: Material, cache: Path) -> list[Outcome]:
    """Every question answered, whatever its support."""
    encoder = MiniLM()
    index = MemoryIndex(made.nodes, encoder, cache / "vectors.npz")
    extractive = Extractive(cast(Store, index), encoder, answer_from=0)
    found = []
    for question in made.questions:
        vector = np.asarray(encoder.get_query_embedding(question.text), np.float32)
        hits = index.search(question.text, vector, HITS)
        started = time.perf_counter()
        answer = extractive.answer(question.text, hits, vector)
        seconds = time.perf_counter() - started
        signs = answer.trace["extractive"].get("signs")
        if signs is not None:
            right = _right(question, answer.citations)
            found.append(Outcome(question, answer.support, right, Signs(**signs), seconds))
    return found


def _right(question: Question, citations: Iterable[Citation]) -> bool:
    if question.answer is None:
        return False
    for citation in citations:
        source = not question.source or citation.evidence.source == question.source
        row = _letters(question.row)[:20] in _letters(citation.quote)
        if source and row and re.search(question.answer, citation.quote):
            return True
    return False


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text)


def report(found: Sequence[Outcome]) -> None:
    """Print the tables."""
    natural = [o for o in found if o.question.natural]
    groups = {"all": found, "natural": natural}
    groups |= {kind: [o for o in found if o.question.kind == kind] for kind in {o.question.kind: 0 for o in found}}
    head = " ".join(f"{f'{t:.2f}':>11}" for t in THRESHOLDS)
    print(f"{'answered / answered rightly at support of':32} {'right':>5} {'n':>4} {head}")
    for name, group in groups.items():
        _line(name, [o for o in group if o.answerable], lambda o: o.right)
    print("declined, of questions without an answer")
    for name, group in groups.items():
        _line(name, [o for o in group if not o.answerable], None)
    times = [1000 * o.seconds for o in found]
    print(f"milliseconds beyond the search: p50 {np.median(times):.1f}, p95 {np.quantile(times, 0.95):.1f}")


def _line(name: str, group: Sequence[Outcome], right: Callable[[Outcome], bool] | None) -> None:
    if not group:
        return
    support = np.array([o.support for o in group])
    if right is None:
        cells = [f"{(support < t).mean():.2f}" for t in THRESHOLDS]
        share = "     "
    else:
        good = np.array([right(o) for o in group])
        cells = [f"{(support >= t).mean():.2f} / {(good & (support >= t)).mean():.2f}" for t in THRESHOLDS]
        share = f"{good.mean():5.2f}"
    print(f"{name:32} {share} {len(group):4} " + " ".join(f"{cell:>11}" for cell in cells))


# Fitting the support ---------------------------------------------------------------------------------------

Matrix = NDArray[np.float64]


def fit(found: Sequence[Outcome]) -> None:
    """Print fitted weights of the signs and how well they tell right answers from all else, out of fold."""
    names = list(Signs._fields)
    x = np.array([list(o.signs) for o in found])
    y = np.array([o.right for o in found], dtype=float)
    weight = np.array([NATURAL_WEIGHT if o.question.natural else 1.0 for o in found])
    folds = np.array([_fold(o.question) for o in found])
    predicted = np.zeros(len(y))
    for k in range(FOLDS):
        inside = folds != k
        predicted[~inside] = _apply(x[~inside], _logistic(x[inside], y[inside], weight[inside]))
    natural = np.array([o.question.natural for o in found])
    current = np.array([o.support for o in found])
    print("area under the curve, right against all else: all, natural questions")
    for label, p in (("fitted, out of fold", predicted), ("weights in the code", current)):
        print(f"  {label:22} {_area(y, p):.3f} {_area(y[natural], p[natural]):.3f}")
    coefficients = _logistic(x, y, weight)
    print({name: round(float(c), 2) for name, c in zip([*names, "bias"], coefficients, strict=True)})


def _fold(question: Question) -> int:
    return int(sha256((question.source or question.text).encode()).hexdigest(), 16) % FOLDS


def _logistic(x: Matrix, y: Matrix, weight: Matrix) -> Matrix:
    """Weighted logistic regression by Newton's method, ridge penalty on standardised features; bias last."""
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = np.c_[(x - mean) / deviation, np.ones(len(x))]
    ridge = np.diag([*[PENALTY] * x.shape[1], 1e-6])
    w = np.zeros(z.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-z @ w))
        slope = z.T @ (weight * (p - y)) + ridge @ w
        curvature = (z * (weight * p * (1 - p))[:, None]).T @ z + ridge
        w -= np.linalg.solve(curvature, slope)
    scaled = w[:-1] / deviation
    return np.array([*scaled, w[-1] - scaled @ mean])


def _apply(x: Matrix, w: Matrix) -> Matrix:
    return np.asarray(1 / (1 + np.exp(-(x @ w[:-1] + w[-1]))))


def _area(y: Matrix, p: Matrix) -> float:
    right, wrong = p[y > 0], p[y == 0]
    return float(((right[:, None] > wrong).mean() + (right[:, None] >= wrong).mean()) / 2)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit the weights of the support's signs")
    options = parser.parse_args()
    found = outcomes(material(options.cache), options.cache)
    report(found)
    if options.fit:
        fit(found)


if __name__ == "__main__":
    main()
