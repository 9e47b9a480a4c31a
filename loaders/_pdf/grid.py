"""From the words of a table's box to rows of cells: columns by rules or gutters, rows by rules and baselines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sensorium.loaders._pdf.content import Word
from sensorium.nodes import Box

# A cell that holds a value: a number with its marks, a dash, "(X)", stars, "n/a".
NUMBER = re.compile(
    r"[(\[*†‡~≈<>±]*[-–−+]?[$€£¥]?\d[\d.,:/]*\s?[%kKMB]?[)\]*†‡.⁰¹²³⁴⁵⁶⁷⁸⁹,]*|[–—-]|\(?[Xx]\)|\*+|[Nn]/?[Aa]|[.…]{2,3}"
)
YEAR = re.compile(r"[(]?(19|20)\d\d([-–/](19|20)?\d\d)?[)]?[⁰¹²³⁴⁵⁶⁷⁸⁹*†‡]*")
_DOTS = re.compile(r"[.…·_]+")
_LAST_DOT = re.compile(r"(?<=[a-z]{4})\.$")  # what is left of a dot leader
_LEADER = re.compile(r"(\s*[.…·]){3,}\s*$")


@dataclass(slots=True)
class Row:
    """A row of cells.

    Attributes:
        cells: Text a column.
        top: Upper edge.
        bottom: Lower edge.
        x: Left edge of its first word.
        lines: Baselines that it holds.
    """

    cells: list[str]
    top: float
    bottom: float
    x: float
    lines: int = 1

    def values(self) -> int:
        """Cells after the first that hold numbers; bare years do not count."""
        return sum(is_value(c) for c in self.cells[1:])

    def label_only(self) -> bool:
        """Whether only the first cell is filled."""
        return bool(self.cells[0]) and not any(self.cells[1:])


@dataclass(slots=True)
class Baseline:
    """Words that stand on one line, from left to right."""

    y: float
    words: list[Word] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Height of the tallest word."""
        return max(w[3] - w[1] for w in self.words)

    @property
    def top(self) -> float:
        """Upper edge."""
        return min(w[1] for w in self.words)

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return max(w[3] for w in self.words)


def is_value(cell: str) -> bool:
    """Whether a cell is a number or a mark that stands for one, and not a bare year."""
    return bool(cell) and not YEAR.fullmatch(cell) and all(NUMBER.fullmatch(t) for t in cell.split())


def baselines(words: Sequence[Word]) -> list[Baseline]:
    """Words by line: centres within .4 of the height."""
    rows: list[Baseline] = []
    for w in sorted(words, key=lambda w: w[1] + w[3]):
        y = (w[1] + w[3]) / 2
        if rows and y - rows[-1].y < 0.4 * (w[3] - w[1]):
            rows[-1].words.append(w)
        else:
            rows.append(Baseline(y, [w]))
    for row in rows:
        row.words.sort()
    return rows


def phrases(words: Sequence[Word], em: float = 0.75) -> list[list[Word]]:
    """A line's words cut at gaps wider than `em` line heights: what a reader takes for cells."""
    out = [[words[0]]]
    for a, b in pairwise(words):
        if b[0] - a[2] > em * (a[3] - a[1]):
            out.append([b])
        else:
            out[-1].append(b)
    return out


def words_in(words: Sequence[Word], box: Box) -> list[Word]:
    """Words whose centre lies in the box, without dot leaders."""
    x0, y0, x1, y1 = box
    return [
        w for w in words
        if x0 - 1 <= (w[0] + w[2]) / 2 <= x1 + 1 and y0 - 1 <= (w[1] + w[3]) / 2 <= y1 + 1
        and not (_DOTS.fullmatch(w[4]) and len(w[4]) != 3)
    ]  # fmt: skip


def gutters(lines: Sequence[Baseline], box: Box, least: float = 3.0) -> list[float]:
    """Positions of the gaps between columns: at most 10 % of the lines with values (or of all) cross them."""
    body = [b for b in lines if sum(is_value(w[4]) for w in b.words) >= 2]
    body = body or [b for b in lines if len(phrases(b.words)) >= 2] or list(lines)
    spans = sorted((p[0][0], p[-1][2]) for b in body for p in phrases(b.words))
    if not spans:
        return []
    allowed = 0.1 * len(body)
    events = sorted([(a, 1) for a, _ in spans] + [(b, -1) for _, b in spans])
    edges, depth, since = [], 0, None
    for x, step in events:
        before, depth = depth, depth + step
        if before > allowed >= depth:
            since = x
        elif before <= allowed < depth and since is not None:
            if x - since >= least:
                edges.append((since + x) / 2)
            since = None
    return [x for x in edges if box[0] < x < box[2]]


def column_of(x: float, edges: Sequence[float]) -> int:
    """Index of the column that holds `x`; the outer edges are open."""
    return sum(x >= e for e in edges[1:-1])


def fill(words: Sequence[Word], edges: Sequence[float]) -> list[str]:
    """Cells of one line."""
    cells: list[list[str]] = [[] for _ in edges[:-1]]
    for w in words:
        cells[column_of((w[0] + w[2]) / 2, edges)].append(w[4])
    return [_LEADER.sub("", text).strip() if text[-1:] in (".", "…", "·") else text for text in map(" ".join, cells)]


def make_row(lines: Sequence[Baseline], edges: Sequence[float]) -> Row:
    """Several lines as one row: each cell's lines are joined."""
    parts = [fill(line.words, edges) for line in lines]
    cells = [" ".join(p[j] for p in parts if p[j]) for j in range(len(edges) - 1)]
    if any(map(is_value, cells[1:])):
        cells[0] = _LAST_DOT.sub("", cells[0])
    first = [w for line in lines for w in line.words if column_of((w[0] + w[2]) / 2, edges) == 0]
    x = min((w[0] for w in first), default=edges[0])
    return Row(cells, min(b.top for b in lines), max(b.bottom for b in lines), x, len(lines))


def rows_of(lines: Sequence[Baseline], rules: Sequence[float], edges: Sequence[float]) -> list[Row]:
    """The rows of a table's body.

    A band between two full-width rules is one row, unless several of its lines look like rows of their own: then, as
    in a table without rules, every line is a row, but for wrapped cells.

    Args:
        lines: Baselines in order.
        rules: Heights of full-width rules.
        edges: Column edges, outer ones included.
    """
    bands: dict[int, list[Baseline]] = {}
    for line in lines:
        bands.setdefault(sum(line.y > r for r in rules), []).append(line)
    ruled = len(bands) >= 3
    out = []
    for band in bands.values():
        if ruled and _is_one_row(band, edges):
            out.append(make_row(band, edges))
        else:
            out += _merge_wrapped([make_row([line], edges) for line in band])
    return out


def _is_one_row(band: Sequence[Baseline], edges: Sequence[float]) -> bool:
    if len(band) == 1:
        return True
    parts = [fill(line.words, edges) for line in band]
    filled = {j for p in parts for j, c in enumerate(p) if c}
    starts = sum(sum(map(bool, p)) >= max(2, 0.6 * len(filled)) for p in parts)
    return starts < 2 or (not any(is_value(c) for p in parts for c in p) and len(band) <= 3)


def _merge_wrapped(rows: list[Row]) -> list[Row]:
    """Lines that continue a cell of a neighbouring row are joined to it."""
    rows = _merge_tails(_merge_centred(rows))
    values = [r for r in rows if any(r.cells[1:])]
    pitch = _median([b.top - a.top for a, b in pairwise(values)])
    out: list[Row] = []
    for i, row in enumerate(rows):
        target = _wraps_into(rows, i, pitch) if row.label_only() else None
        if target is None or target < 0:
            if out and out[-1].lines < 0:
                row = _joined(out.pop(), row)
            out.append(row if target is None else _joined(out.pop(), row) if out else row)
        else:  # joins the next row: kept aside with a negative count
            row.lines = -abs(row.lines)
            out.append(_joined(out.pop(), row, -1) if out and out[-1].lines < 0 else row)
    for row in out:
        row.lines = abs(row.lines)
    return out


def _merge_centred(rows: list[Row]) -> list[Row]:
    """Values that stand at half the height of a wrapped label: the lines overlap, so they are one row."""
    out: list[Row] = []
    for row in rows:
        above = out[-1] if out else None
        if above is not None and above.bottom - row.top > 0.2 * (row.bottom - row.top):
            label_then_value = above.label_only() and not row.cells[0]
            if label_then_value or (row.label_only() and above.lines > 1):
                out[-1] = _joined(above, row)
                continue
        out.append(row)
    return out


def _merge_tails(rows: list[Row]) -> list[Row]:
    """A line without a label and with few cells continues the row above, when it follows closely."""
    out: list[Row] = []
    for row in rows:
        filled = sum(map(bool, row.cells))
        if out and not row.cells[0] and _follows(out[-1], row):
            above = sum(map(bool, out[-1].cells))
            fits = all(out[-1].cells[j] for j, c in enumerate(row.cells) if c)
            if fits and filled <= 0.5 * above:
                out[-1] = _joined(out[-1], row)
                continue
        out.append(row)
    return out


def _follows(above: Row, below: Row) -> bool:
    height = (below.bottom - below.top) / below.lines
    return below.top - above.bottom < 0.5 * height


def _wraps_into(rows: Sequence[Row], i: int, pitch: float) -> int | None:
    """Where a line that has only a label belongs: -1 the row above, 1 the row below, None it is a row of its own."""
    row = rows[i]
    above = rows[i - 1] if i else None
    below = rows[i + 1] if i + 1 < len(rows) else None
    height = (row.bottom - row.top) / abs(row.lines)
    down = below.top - row.top if below and any(below.cells[1:]) else 1e9
    up = row.top - above.top if above and above.cells[0] else 1e9
    text = row.cells[0]
    if above is not None and up < 1.6 * height * abs(above.lines):
        hanging = row.x > above.x + 2 and not (below and below.x >= row.x - 1 and down < 1e9)
        closer = up < 0.8 * pitch and up < 0.95 * down
        if text[:1].islower() or text[:1] in "(—–" or hanging or closer:
            return -1
    if below is not None and down < 1.6 * height:
        start = below.cells[0]
        if not start and not _is_section(rows, i):
            return 1
        if _heads_indented(rows, i):
            return None
        if start[:1].islower() or start[:1] in "(—–" or down < 0.8 * pitch:
            return 1
    return None


def _is_section(rows: Sequence[Row], i: int) -> bool:
    """A label over several rows without labels of their own heads them."""
    return i + 2 < len(rows) and not rows[i + 1].cells[0] and not rows[i + 2].cells[0]


def _heads_indented(rows: Sequence[Row], i: int) -> bool:
    """A label over two rows or more that are indented alike heads them."""
    below = rows[i + 1 : i + 3]
    return len(below) == 2 and all(any(r.cells[1:]) and r.cells[0] and r.x > rows[i].x + 2 for r in below)


def _joined(a: Row, b: Row, sign: int = 1) -> Row:
    cells = [f"{x} {y}".strip() for x, y in zip(a.cells, b.cells, strict=True)]
    return Row(cells, min(a.top, b.top), max(a.bottom, b.bottom), min(a.x, b.x), sign * (abs(a.lines) + abs(b.lines)))


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
