"""Texts as every engine indexes them for keyword search: the terms of `sensorium.analysis`, parted by blanks."""

import re
from collections.abc import Sequence
from functools import lru_cache
from string import ascii_uppercase, whitespace

from sensorium import analysis

_ESCAPES: dict[int, str] = {ord(c): c.lower() for c in ascii_uppercase} | {ord(c): "_" for c in whitespace}
_AS_IT_IS = re.compile(f"[^{ascii_uppercase}{re.escape(whitespace.replace(' ', ''))}]*")


def indexed(term: str) -> str:
    """A term as the tokenizer of the index leaves it: ASCII letters small, no blank inside."""
    return term if term.isalnum() and term.islower() else term.translate(_ESCAPES)


def indexed_text(text: str) -> str:
    """What is stored for a text: its terms, parted by blanks."""
    terms = analysis.terms(text) if text else []
    joined = " ".join(terms)
    if joined.count(" ") == len(terms) - 1 and _AS_IT_IS.fullmatch(joined):
        return joined
    return " ".join(map(indexed, terms))


def columns(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts of a node (`checking.searched_texts`), analysed."""
    *context, text = texts
    return (*map(_repeated, context), indexed_text(text))


@lru_cache(maxsize=1024)
def _repeated(text: str) -> str:
    """As `indexed_text`, for titles and headings, which many nodes share."""
    return indexed_text(text)
