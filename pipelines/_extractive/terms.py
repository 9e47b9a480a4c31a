"""The terms of a question, their weights, and how well a text covers them."""

import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sensorium.analysis import Token, tokens
from sensorium.pipelines._extractive.synonyms import forms, synonyms

Match = NDArray[np.float64]
"""For each question term how well a text covers it, 0..1. Shape (terms,)."""

SAME, FORM, PREFIX, INSIDE, SYNONYM = 1.0, 0.95, 0.9, 0.8, 0.7
STEM_LETTERS = 5  # shorter words have to be the same
META_WEIGHT = 0.25
LOCATOR_WEIGHT, LOCATOR_NUMBER_WEIGHT = 0.25, 0.5

# What a document may be called, and words that speak about it or about the form of the answer, not the matter.
_DOCUMENTS = (
    "document report section slide slides deck presentation paper article entry study notice bulletin manual handbook "
    "guide guidelines book chapter minutes memo brochure leaflet invoice receipt form letter email scan screenshot "
    "figure fig table chart graph diagram page picture image photo video recording audio transcript speech talk "
    "interview lecture podcast spreadsheet sheet statement survey review overview summary website webpage text file "
    "narration voiceover commentary soundtrack audiobook broadcast webinar footage clip film movie documentary episode "
    "subtitle caption captions"
).split()
# Where something is said or shown, in a question's locator; elsewhere they may well be the matter.
_OCCASIONS = "call phone conversation dialogue meeting session screen display voice-over".split()
_META = frozenset(
    "according listed list show shows shown name named called call give gives given state stated tell mention "
    "mentioned describe described say says said use used uses using kind type number amount value speaker author "
    "exactly approximately roughly mean means please know find get gets make makes made come comes take takes go "
    "goes look happen happened become became need needed want time scanned "
    "narrator presenter caller interviewer moderator commentator displayed seen visible heard hear spoken speak "
    "burnt burned onscreen".split()
) | frozenset(_DOCUMENTS)
_NOUNS = "|".join(sorted(_DOCUMENTS + _OCCASIONS, key=len, reverse=True))
_MADE = "said|heard|told|explained|mentioned|stated|shown|seen|displayed|described|given|reported|listed"
_LOCATORS = (
    re.compile(
        r"^(?:in|on|at|from|per|within|for|according to|looking at|based on|as (?:stated|shown|described) (?:in|by))"
        r"\s+(?!what|which|how|whom)[^,?]{3,110},\s+(?=\w)",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\s(?:according to|as (?:{_MADE}) (?:in|by|on)|"
        r"as [^,?]{3,40} (?:says?|said|tells?|told|explain(?:s|ed)|describe[sd]|puts? it))\b[^?]*\??$",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\s(?:{_MADE}|visible|audible|named|written|spoken|appear(?:s|ing)?|burn(?:t|ed)) "
        rf"(?:in|on|into|at|during|by) (?:(?:the|this|that|an?)\s)?(?:[\w-]+\s){{0,4}}?(?:{_NOUNS})\b",
        re.IGNORECASE,
    ),
    re.compile(
        rf"\s(?:in|on|from|of|during|into) (?:the|this|that|these|those|an?|[\w-]+['’]s)\s"
        rf"(?:[^,?]{{0,60}}\s)?(?:{_NOUNS})\b"
        r"(?:\s(?:of|on|about|by|from|for)\b[^?]{0,80})?\s*\?*$",
        re.IGNORECASE,
    ),
)


@dataclass(frozen=True, slots=True)
class Term:
    """A term of a question.

    Attributes:
        term: Analysed, as the index has it.
        folded: Lower-case, not stemmed.
        weight: Inverse document frequency, less for words that only say where to look.
        specific: A number or name that the evidence has to contain.
        meta: A word about the document rather than its matter.
        number: Starts with a digit.
        acronym: Three or more capitals, which a text may spell out.
        df: In how many nodes of the index it occurs.
    """

    term: str
    folded: str
    weight: float
    specific: bool
    meta: bool
    number: bool
    acronym: bool
    df: int


class Terms:
    """The terms of a question with their weights.

    Args:
        terms: Each different term once.
        asked: Those that name what is asked for ("What is the *atomic weight* of ...").
    """

    def __init__(self, terms: Sequence[Term], asked: Collection[str] = ()) -> None:
        self.terms = tuple(terms)
        self.weights = np.array([t.weight for t in terms])
        self.numbers = np.array([t.number for t in terms], dtype=bool)
        self.total = float(self.weights.sum()) or 1.0
        self._index = {t.term: i for i, t in enumerate(self.terms)}
        self._matches: dict[str, Match] = {}
        self._worths: dict[tuple[str, str], tuple[tuple[int, float], ...]] = {}
        self._known = _known(self.terms)
        stems = ((i, t.folded) for i, t in enumerate(self.terms) if not t.number)
        self._stems = [(i, stem) for i, stem in stems if len(stem) >= STEM_LETTERS]
        self._acronyms = [(i, t.folded.upper()) for i, t in enumerate(self.terms) if t.acronym]
        self.asked = [self._index[term] for term in asked if term in self._index]

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, term: str) -> bool:
        return term in self._index

    def mentions(self, word: str) -> bool:
        """Whether the question has an analysed word, or another form of it."""
        return word in self._index or any(other in self._index for other in forms().get(word, ()))

    @cached_property
    def matter(self) -> NDArray[np.bool_]:
        """Terms that are no meta words."""
        return np.array([not t.meta for t in self.terms], dtype=bool)

    @cached_property
    def specific_numbers(self) -> NDArray[np.bool_]:
        """Numbers, but for those that only say which document is meant."""
        return np.array([t.specific and t.number for t in self.terms], dtype=bool)

    @cached_property
    def names(self) -> NDArray[np.bool_]:
        """Names: capitalised inside the question, and no number."""
        return np.array([t.specific and not t.number for t in self.terms], dtype=bool)

    def missing(self, match: Match, among: NDArray[np.bool_]) -> float:
        """Weighted share of some terms that a match lacks; 0 when there are none."""
        weight = float(self.weights[among].sum())
        return float((self.weights * (1 - match))[among].sum()) / weight if weight else 0.0

    def share(self, match: Match) -> float:
        """Weighted share of the question that a match covers, 0..1."""
        return float(self.weights @ match) / self.total

    def nothing(self) -> Match:
        """The match of an empty text."""
        return np.zeros(len(self.terms))

    def match(self, text: str) -> Match:
        """How well a text covers each term: the same term, a prefix, part of a run-together word, a synonym."""
        if text not in self._matches:
            self._matches[text] = self.covered(list(tokens(text))) if text else self.nothing()
        return self._matches[text]

    def covered(self, found: Sequence[Token]) -> Match:
        """`match`, of words that are analysed already."""
        match = [0.0] * len(self.terms)
        for token in found:
            for i, worth in self._worth(token):
                match[i] = max(match[i], worth)
        if self._acronyms:
            initials = "".join(t.text[0] if t.text[0].isupper() else " " for t in found if not t.is_stop_word)
            for i, acronym in self._acronyms:
                if acronym in initials:
                    match[i] = max(match[i], FORM)
        return np.array(match)

    def _worth(self, token: Token) -> tuple[tuple[int, float], ...]:
        """What one word covers: positions of terms and how well. Few words of a text cover anything."""
        key = token.term, token.folded
        if key not in self._worths:
            found = dict(self._known.get(token.term, ()))
            if len(token.folded) >= STEM_LETTERS:
                self._add_stems(token.folded, found)
            self._worths[key] = tuple(found.items())
        return self._worths[key]

    def _add_stems(self, folded: str, found: dict[int, float]) -> None:
        """A word that a term begins, that begins a term, or that holds one: OCR loses blanks ("oftheremaining")."""
        for i, stem in self._stems:
            if folded.startswith(stem) or stem.startswith(folded):
                found[i] = max(PREFIX, found.get(i, 0.0))
            elif stem in folded and len(folded) > len(stem) + 3:
                found[i] = max(INSIDE, found.get(i, 0.0))


def _known(terms: Sequence[Term]) -> dict[str, dict[int, float]]:
    """For each word that is a term, a form of it or a synonym: positions of the terms and how well it covers them."""
    known: dict[str, dict[int, float]] = {}
    for i, term in enumerate(terms):
        if not term.number and not term.specific:
            for word in synonyms().get(term.term, ()):
                known.setdefault(word, {})[i] = SYNONYM
        for word in forms().get(term.term, ()):
            known.setdefault(word, {})[i] = FORM
        known.setdefault(term.term, {})[i] = SAME
    return known


def question_words(question: str) -> list[str]:
    """The terms of a question that carry meaning, for document frequencies. Each once, in order."""
    return list(dict.fromkeys(t.term for t in tokens(question) if not t.is_stop_word))


def question_terms(question: str, frequency: Mapping[str, int], nodes: int) -> Terms:
    """The weighted terms of a question.

    Args:
        question: As asked.
        frequency: For each of `question_words` in how many nodes it occurs.
        nodes: Nodes in the index.
    """
    places = [m.span() for pattern in _LOCATORS for m in pattern.finditer(question)]
    found: dict[str, Term] = {}
    before_token = ""
    for token in tokens(question):
        if not token.is_stop_word:
            inside = any(start <= token.start < end for start, end in places)
            term = _term(token, frequency.get(token.term, 0), nodes, before_token, inside)
            before = found.get(term.term)
            if before is None or (term.specific and not before.specific):
                found[term.term] = term
        before_token = token.folded
    return Terms(list(found.values()), _asked(list(tokens(question))))


_WHAT, _IS = frozenset({"what", "which"}), frozenset({"is", "are", "was", "were"})
_ASKED_WORDS = 2


def _asked(words: Sequence[Token]) -> list[str]:
    """The first two meaningful words after "what is the"."""
    for i in range(len(words) - 1):
        if words[i].folded in _WHAT and words[i + 1].folded in _IS:
            rest = itertools.dropwhile(lambda t: t.is_stop_word, words[i + 2 :])
            phrase = itertools.takewhile(lambda t: not t.is_stop_word, rest)
            return [t.term for t in itertools.islice(phrase, _ASKED_WORDS)]
    return []


def _term(token: Token, df: int, nodes: int, before: str, in_locator: bool) -> Term:
    meta = token.folded in _META or before == "how"  # how long, how old: the kind of answer
    weight = idf(df, nodes) * (META_WEIGHT if meta else 1.0)
    if in_locator:
        weight *= LOCATOR_NUMBER_WEIGHT if token.is_number else LOCATOR_WEIGHT
    name = (token.text[0].isupper() and before != "") or (len(token.text) > 1 and token.text.isupper())
    specific = not meta and not in_locator and (token.is_number or name)
    acronym = len(token.text) > 2 and token.text.isalpha() and token.text.isupper()
    return Term(token.term, token.folded, weight, specific, meta, token.is_number, acronym, df)


def idf(df: int, nodes: int) -> float:
    """Inverse document frequency as in BM25."""
    seen = max(df, 1)  # a word that occurs nowhere says no more than a rare one
    return math.log(1 + (max(nodes, seen) - seen + 0.5) / (seen + 0.5))
