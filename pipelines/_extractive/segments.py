"""Sentences of a text, by rules: no model, no download, offsets kept.

Against 18 marked cases the rules find 92 % of the breaks with 86 % precision (pysbd: 96 and 89 % at a fortieth of
the speed; punkt trained on the same text: 62 and 59 %).
"""

import itertools
import re
from collections.abc import Iterable, Iterator

from sensorium.analysis import STOP_WORDS

Span = tuple[int, int]

SHORTEST = 25  # shorter pieces go with the next one
LONGEST = 320  # longer pieces are cut: a quote has to be readable

_BLANK_LINE = re.compile(r"\n\s*\n")
_BULLET_LINE = re.compile(r"\n(?=[ \t]*(?:[-*•▪◦‣–][ \t]|\(?\d{1,2}[.)]\s|\(?[a-z]\)\s))")
_KEY_LINE = re.compile(r"\n(?=[A-Z][\w /&-]{1,40}:(?:\s|$))")
_NEW_LINE = re.compile(r"\n(?=[ \t]*[\"“(\[]?([A-Z]|[0-9$€£]))")
_AFTER_STOP = re.compile(r"(?<=[.!?:])\n")
_INNER_BULLET = re.compile(r"\s(?=[•▪◦‣]\s)")
_STOP = re.compile(r"[.!?][\"”’)\]]*(\s+)(?=[\"“(\[]?[A-Z0-9])")
_STOP_WITHOUT_BLANK = re.compile(r"(?<=[a-z]{2})[.!?](?=[A-Z][a-z])")  # OCR loses the blank
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Inc|Ltd|Co|Corp|vs|etc|cf|Fig|Figs|Eq|Sec|Ch|No|Nos|Vol|pp|p|ed|eds|Jan|"
    r"Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|U\.S|e\.g|i\.e|et al|a\.m|p\.m|[Aa]pprox|Rev|Gen|Col|Capt|Lt|Sgt|Art|"
    r"Dept|Univ|Assn)\.)$"
)
_LIST_NUMBER = re.compile(r"(?:^|\n|[.!?;:]\s)\s*\(?\d{1,3}$")
_WRAPPED = 45  # a line of at least this many characters without a stop may go on in the next line
_FRAGMENT = 12  # a line with fewer characters goes with the next one


def sentences(text: str, shortest: int = SHORTEST, longest: int = LONGEST) -> list[Span]:
    """Spans of the sentences of a text, in order, without blanks around them.

    Args:
        text: Running text, list, or lines of a form.
        shortest: Pieces with fewer characters are joined with what follows, up to a blank line.
        longest: Pieces with more characters are cut at a semicolon, colon, comma or blank.
    """
    blank = {m.end() for m in _BLANK_LINE.finditer(text)}
    cuts = sorted({0, len(text)} | blank | set(_line_breaks(text)) | set(_stops(text)))
    pieces = [(a, b) for a, b in itertools.pairwise(cuts) if text[a:b].strip()]
    joined = _join_short(text, pieces, blank, shortest, longest)
    return [_trim(text, part) for piece in joined for part in _cut_long(text, piece, longest)]


def _line_breaks(text: str) -> Iterator[int]:
    for pattern in (_BULLET_LINE, _KEY_LINE, _AFTER_STOP, _INNER_BULLET):
        for match in pattern.finditer(text):
            yield match.end()
    for match in _NEW_LINE.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()].rstrip()
        if not _goes_on(line, number_next=not match.group(1).isalpha()):
            yield match.end()


def _goes_on(line: str, number_next: bool) -> bool:
    """Whether a line that ends here is a wrapped line of a sentence rather than a line of its own."""
    if line.endswith((".", "!", "?", ":", ";")):
        return False
    last = line.rsplit(None, 1)[-1] if line.strip() else ""
    if len(line) >= _WRAPPED or last in STOP_WORDS or line.endswith((",", "-")):
        return True
    return number_next and not any(c.isdigit() for c in line)


def _stops(text: str) -> Iterator[int]:
    for pattern in (_STOP, _STOP_WITHOUT_BLANK):
        for match in pattern.finditer(text):
            stop = match.start() + 1
            if _ABBREVIATION.search(text[max(0, stop - 13) : stop]):
                continue
            if _LIST_NUMBER.search(text[max(0, stop - 6) : stop - 1]):
                continue
            yield match.end()


def _join_short(text: str, pieces: Iterable[Span], blank: set[int], shortest: int, longest: int) -> list[Span]:
    """Short pieces go with what follows; whole lines only when they are a fragment or announce the next."""
    joined: list[Span] = []
    for start, end in pieces:
        before = text[slice(*joined[-1])] if joined else ""
        limit = _FRAGMENT if before.endswith("\n") and not before.rstrip().endswith(":") else shortest
        if joined and start not in blank and len(before.strip()) < limit and len(before) + end - start < longest:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _cut_long(text: str, piece: Span, longest: int) -> Iterator[Span]:
    start, end = piece
    while end - start > longest:
        window = text[start : start + longest]
        cut = max(window.rfind("; "), window.rfind(": "))
        for mark in (", ", " "):
            cut = cut if cut > longest * 0.4 else window.rfind(mark)
        cut = cut + 1 if cut > 40 else longest
        if text[start : start + cut].strip():
            yield start, start + cut
        start += cut
    if text[start:end].strip():
        yield start, end


def _trim(text: str, span: Span) -> Span:
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
