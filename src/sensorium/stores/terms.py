"""Texts as every engine indexes them for keyword search: the terms of `sensorium.analysis`, parted by blanks."""

from collections.abc import Sequence
from string import ascii_uppercase, whitespace

from sensorium import analysis

_ESCAPES: dict[int, str] = {ord(c): c.lower() for c in ascii_uppercase} | {ord(c): "_" for c in whitespace}
_MOST_KEPT = 200_000
_LONGEST_KEPT = 20
"""Characters without a blank; lines of scripts that have none would fill the memory, and hardly come again."""


class _Pieces(dict[str, str]):
    """What is indexed for a piece of text without blanks inside; analysed once, as long as there is room."""

    def __missing__(self, piece: str) -> str:
        found = " ".join(map(indexed, analysis.terms(piece)))
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[piece] = found
        return found


_pieces = _Pieces()


def indexed(term: str) -> str:
    """A term as the tokenizer of the index leaves it: ASCII letters small, no blank inside."""
    return term if term.isalnum() and term.islower() else term.translate(_ESCAPES)


def indexed_text(text: str) -> str:
    """What is stored for a text: its terms, parted by blanks."""
    return " ".join(filter(None, map(_pieces.__getitem__, text.split())))  # no term reaches over a blank


def columns(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts of a node (`checking.searched_texts`), analysed."""
    return tuple(map(indexed_text, texts))
