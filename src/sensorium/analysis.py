"""One way to turn text into search terms, for every store and for the extractive answer.

Both engines index the same terms, so that keyword search gives the same hits on both, and what the answer counts
as "the word occurs" is what the index counts. Numbers are one term whether written 6,883 or 6883; letters are
folded (NFKC, case, diacritics) and stemmed (Snowball English); scripts written without blanks give bigrams.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import Stemmer

_TOKEN = re.compile(
    r"(?>\d+(?:[.,:/]\d+)*)(?:(?![^\W\d_])|(?=[A-Za-z]{1,3}(?![^\W_])))"  # numbers, dates, times; 25fps is 25 and fps
    r"|[^\W_]+(?:['’][^\W\d_]+)*"  # words with inner apostrophes; names of letters and digits stay whole
    r"|[$€£¥%]"
)
_THOUSANDS = re.compile(r"^\d{1,3}(?:,\d{3})+(?:\.\d+)?$")
_WIDE = re.compile(r"[぀-ヿ㐀-䶿一-鿿가-힯豈-﫿]")

STOP_WORDS = frozenset(
    "a an the of in on at by for to from with into onto over under about as and or nor but if then than that this "
    "these those there here it its is are was were be been being am do does did done has have had having will would "
    "shall should can could may might must not no so such very much many more most other some any each both all "
    "which who whom whose what when where why how whether i you he she we they me him her us them my your his our "
    "their one also only just s t d ll re ve per via out up down off again between".split()
)


class Token(NamedTuple):
    """A word of a text.

    Attributes:
        term: What is indexed and compared.
        text: As written.
        start: Character offset in the text.
        folded: Lower-case, without diacritics or possessive, not stemmed.
    """

    term: str
    text: str
    start: int
    folded: str

    @property
    def is_number(self) -> bool:
        """Whether it starts with a digit."""
        return self.term[:1].isdigit()

    @property
    def is_stop_word(self) -> bool:
        """Whether it carries no meaning of its own in a question."""
        return self.folded in STOP_WORDS


def tokens(text: str) -> Iterator[Token]:
    """Words of a text in order, with their offsets."""
    for match in _TOKEN.finditer(text):
        word = match.group(0)
        if _WIDE.search(word):
            yield from _bigrams(word, match.start())
        else:
            term, folded = analyse(word)
            if term:
                yield Token(term, word, match.start(), folded)


def terms(text: str) -> list[str]:
    """Search terms of a text in order, repetitions kept."""
    return [token.term for token in tokens(text)]


@lru_cache(maxsize=200_000)
def analyse(word: str) -> tuple[str, str]:
    """Term and folded form of one word."""
    if word[0].isdigit():
        number = word.replace(",", "") if _THOUSANDS.match(word) else word
        return number, number
    folded = _fold(word)
    folded = re.sub(r"['’]s?$", "", folded)
    folded = re.sub(r"['’].*", "", folded)
    return _stem(folded), folded


def _fold(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def _bigrams(word: str, start: int) -> Iterator[Token]:
    if len(word) == 1:
        yield Token(word, word, start, word)
    for i in range(len(word) - 1):
        yield Token(word[i : i + 2], word[i : i + 2], start + i, word[i : i + 2])


class _Stemmers(threading.local):
    """A stemmer a thread: it keeps the word that it is at."""

    def __init__(self) -> None:
        self.english = Stemmer.Stemmer("english", 0)  # `analyse` keeps what it gives


_stemmers = _Stemmers()


def _stem(word: str) -> str:
    return str(_stemmers.english.stemWord(word))
