"""Plain text: paragraphs between blank lines."""

import re
from collections.abc import Iterator
from typing import TextIO

from sensorium.loaders._text.parts import LONGEST, Part, pieces

_LONGEST_LINE = 1 << 16
_LIST_ITEM = re.compile(r"\s*([-*•+#>|]|\d+[.)])\s")


def plain_parts(stream: TextIO) -> Iterator[Part]:
    """Paragraphs of a text, streamed; long ones in pieces, cut at line ends."""
    first, size = 1, 0
    lines: list[str] = []
    for number, line in _lines(stream):
        if lines and (not line.strip() or size + len(line) > LONGEST):
            yield from _paragraph(lines, first)
            lines, size = [], 0
        if line.strip():
            if not lines:
                first = number
            lines.append(line.rstrip())
            size += len(line)
    if lines:
        yield from _paragraph(lines, first)


def _lines(stream: TextIO) -> Iterator[tuple[int, str]]:
    """Numbered lines; a line without end comes in pieces of whole words, so that it does not fill the memory."""
    number, rest = 1, ""
    while line := stream.readline(_LONGEST_LINE):
        line, rest = rest + line, ""
        if len(line) >= _LONGEST_LINE and not line.endswith("\n"):
            line, blank, rest = line.rpartition(" ")
            line, rest = (line + blank, rest) if line else (rest, "")
        yield number, line
        number += line.endswith("\n")
    if rest:
        yield number, rest


def _paragraph(lines: list[str], first: int) -> Iterator[Part]:
    text = (" " if _is_wrapped(lines) else "\n").join(lines)
    for piece in pieces(text):
        yield Part(piece, line=first)


def _is_wrapped(lines: list[str]) -> bool:
    """Whether a paragraph's lines were broken to a width, as e-mails and books are; lists and logs were not."""
    if len(lines) < 2 or any(_LIST_ITEM.match(line) or line[:1].isspace() for line in lines):
        return False
    longest = max(map(len, lines))
    return 40 <= longest <= 120 and min(map(len, lines[:-1])) >= 0.65 * longest
