"""Recognised lines to passages: rows of a form or table kept together, prose joined, blocks of a useful length."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from sensorium.loaders.base import Word
from sensorium.nodes import Box
from sensorium.ocr_types import OcrLine

# Two boxes of one row this many line heights apart are cells; nearer ones are parts of one line. (The detector
# joins words up to a wide blank apart, and draws its boxes with some room around the letters.)
_CELL_GAP = 0.4
# A row is followed by the rest of its sentence when it fills this share of its paragraph's width.
_FULL = 0.75
# Vertical gap, in line heights, at which a new paragraph begins.
_PARAGRAPH_GAP = 0.8


@dataclass(frozen=True)
class OcrBlock:
    """A passage of recognised text: its text, box in fractions of the picture, and mean score."""

    text: str
    box: Box
    score: float


@dataclass
class _Row:
    lines: list[OcrLine]
    text: str

    @property
    def box(self) -> Box:
        return _around([line.box for line in self.lines])


def ocr_blocks(lines: Sequence[OcrLine], aspect: float, words: int = 150) -> list[OcrBlock]:
    """Passages of about `words` words, cut at vertical gaps; a text little longer than that stays whole.

    Args:
        lines: In reading order.
        aspect: Width of the picture over its height.
        words: Length aimed at.
    """
    paragraphs = _paragraphs(_rows(lines, aspect))
    if sum(_count(p) for p in paragraphs) <= words * 1.2:
        packs = [paragraphs] if paragraphs else []
    else:
        packs = _packed(paragraphs, words)
    return [_block(pack) for pack in packs]


def words_of_lines(lines: Sequence[OcrLine], region: Box) -> list[Word]:
    """Recognised lines as words, each with its share of the line's width.

    Args:
        lines: Boxes in fractions of a region's picture.
        region: The region, in fractions of the whole.
    """
    x, y, width, height = region[0], region[1], region[2] - region[0], region[3] - region[1]
    found = []
    for line in lines:
        left, top, right, bottom = line.box
        step = (right - left) / max(len(line.text), 1)
        for word in re.finditer(r"\S+", line.text):
            x0, x1 = left + step * word.start(), left + step * word.end()
            found.append(Word(word[0], (x + x0 * width, y + top * height, x + x1 * width, y + bottom * height)))
    return found


def _rows(lines: Sequence[OcrLine], aspect: float) -> list[_Row]:
    rows: list[_Row] = []
    for line in lines:
        if rows and _continues(rows[-1].lines[-1].box, line.box):
            last = rows[-1].lines[-1].box
            gap = (line.box[0] - last[2]) * aspect / max(last[3] - last[1], 1e-9)
            rows[-1].text += (" | " if gap > _CELL_GAP else " ") + line.text
            rows[-1].lines.append(line)
        else:
            rows.append(_Row([line], line.text))
    return rows


def _continues(last: Box, box: Box) -> bool:
    """Whether a box stands right of the one before it, on the same baseline."""
    shared = min(last[3], box[3]) - max(last[1], box[1])
    lower, higher = sorted((last[3] - last[1], box[3] - box[1]))
    # Upright text beside a label on its side is no row.
    return box[0] > (last[0] + last[2]) / 2 and shared > 0.45 * lower and higher < 2.5 * lower


def _paragraphs(rows: list[_Row]) -> list[list[_Row]]:
    if not rows:
        return []
    height = median(row.box[3] - row.box[1] for row in rows)
    out = [[rows[0]]]
    for row in rows[1:]:
        above, box = out[-1][-1].box, row.box
        apart = min(above[2], box[2]) < max(above[0], box[0])
        gap = box[1] - above[3]
        if apart or gap > _PARAGRAPH_GAP * height or gap < -1.5 * height:
            out.append([row])
        else:
            out[-1].append(row)
    return out


def _packed(paragraphs: list[list[_Row]], words: int) -> list[list[list[_Row]]]:
    """Paragraphs gathered to blocks; one that is too long is cut between its rows."""
    pieces: list[list[_Row]] = []
    for paragraph in paragraphs:
        piece: list[_Row] = []
        for row in paragraph:
            if piece and _count([*piece, row]) > words:
                pieces.append(piece)
                piece = []
            piece.append(row)
        pieces.append(piece)
    packs: list[list[list[_Row]]] = []
    for piece in pieces:
        if packs and sum(_count(p) for p in packs[-1]) + _count(piece) <= words:
            packs[-1].append(piece)
        else:
            packs.append([piece])
    return packs


def _count(rows: Sequence[_Row]) -> int:
    return sum(len(row.text.split()) for row in rows)


def _block(paragraphs: list[list[_Row]]) -> OcrBlock:
    lines = [line for paragraph in paragraphs for row in paragraph for line in row.lines]
    weights = [len(line.text) for line in lines]
    score = sum(line.score * w for line, w in zip(lines, weights, strict=True)) / max(sum(weights), 1)
    text = "\n".join(_joined(paragraph) for paragraph in paragraphs)
    return OcrBlock(text, _around([line.box for line in lines]), round(score, 3))


def _joined(rows: list[_Row]) -> str:
    """Rows as lines; in a paragraph of prose, a row that fills its width runs on into the next."""
    long = [row for row in rows if _is_long(row)]
    width = max((row.box[2] - row.box[0] for row in long), default=0.0)
    out = rows[0].text
    for above, row in pairwise(rows):
        if len(long) < 3 or not _runs_on(above, row, width):
            out += "\n" + row.text
        elif re.search(r"[^\W\d_]-$", out) and row.text[:1].islower():
            out = out[:-1] + row.text
        else:
            out += " " + row.text
    return out


def _is_long(row: _Row) -> bool:
    return len(row.text) >= 25 and " | " not in row.text


def _runs_on(above: _Row, row: _Row, width: float) -> bool:
    full = above.box[2] - above.box[0] >= _FULL * width
    below = abs(row.box[0] - above.box[0]) <= 0.05 * width
    return _is_long(above) and full and below and not re.match(r"[•■●▪◦*–-] ?|\d+[.)] ", row.text)


def _around(boxes: Sequence[Box]) -> Box:
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
