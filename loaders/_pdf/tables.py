"""Tables of a page: where they are, and their Markdown.

PyMuPDF's own cell texts are not used: `Table.extract()` of version 2.0 tears numbers apart ("389,933" comes out as
"389 933" and a comma of its own). Cells are filled from the words of the page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from sensorium.loaders._pdf.content import Line, Word
from sensorium.loaders._pdf.drawings import Drawings
from sensorium.loaders._pdf.geometry import grow, holds, inside, union
from sensorium.loaders._pdf.grid import Baseline, Row, baselines, gutters, is_value, rows_of, words_in
from sensorium.loaders._pdf.headers import carry_labels, header_labels, leading_titles, split_header
from sensorium.loaders._pdf.regions import Region, number_runs, ruled_regions, text_runs, with_header_lines
from sensorium.nodes import Box

_LONGEST_CELL = 1200


@dataclass(slots=True)
class Table:
    """A table: its box in reading coordinates, column labels, rows of cells, and a title inside the box."""

    box: Box
    header: list[str]
    rows: list[list[str]]
    title: str = ""
    caption: str = ""

    def markdown(self) -> str:
        """The table as Markdown with one header row."""
        lines = [_markdown_row(self.header), "|" + "---|" * len(self.header)]
        return "\n".join(lines + [_markdown_row(row) for row in self.rows])


def find_tables(words: Sequence[Word], lines: Sequence[Line], drawings: Drawings) -> list[Table]:
    """All tables of a page: ruled ones, and runs of lines with aligned numbers."""
    found: list[Table] = []
    for region in ruled_regions(words, drawings):
        if any(inside(region.box, t.box) > 0.5 for t in found):
            continue
        table = read_table(words, lines, region, drawings)
        if table is not None:
            found.append(table)
    free = [w for w in words if not any(holds(t.box, w[:4]) for t in found)]
    taken = [t.box for t in found]
    runs = [Region(with_header_lines(free, box)) for box in number_runs(free)]
    runs += text_runs([li for li in lines if not any(holds(box, li.box) for box in (*taken, *(r.box for r in runs)))])
    for region in runs:
        slanted = sum(s.slanted for s in drawings.shapes if inside(s.box, region.box) > 0.5)
        table = read_table(free, lines, region) if slanted < 3 else None
        if table is not None and len(table.rows) >= 2 and len(table.header) >= 3:
            found.append(table)
    return found


def read_table(
    words: Sequence[Word], lines: Sequence[Line], region: Region, drawings: Drawings | None = None
) -> Table | None:
    """Read the table in a region; None when what stands there is no table."""
    inner = words_in(words, region.box)
    if len(inner) < 4:
        return None
    text = baselines(inner)
    if _is_drawing(region, drawings, inner):
        return None
    edges = region.edges or _edges(text, region)
    if len(edges) < 3 or _cut_words(inner, edges) > 0.1 * len(inner):
        return None
    full = sorted(_full_rules(region, edges))
    titles = leading_titles(text, region.down, region.box)
    title = " ".join(w[4] for line in text[:titles] for w in line.words)
    text = text[titles:]
    full = [y for y in full if not text or y > text[0].y]
    head = split_header(text, full, edges)
    if head == 0 and not titles and (above := with_header_lines(words, region.box)) != region.box:
        return read_table(words, lines, replace(region, box=above), drawings)
    if head >= len(text):
        return None
    header = header_labels(text[:head], edges, region.across, region.down, region.box)
    body = rows_of(text[head:], [y for y in full if y > text[head - 1].y] if head else full, edges)
    table = _finish(header, body, lines, edges)
    if table is None:
        return None
    table.box = union([region.box, *((w[0], region.box[1], w[2], region.box[3]) for w in inner)])
    table.title = title
    return table


def _is_drawing(region: Region, drawings: Drawings | None, words: Sequence[Word]) -> bool:
    """Whether there are large slanting or curved shapes in a region: a framed picture with labels, or a plot."""
    if drawings is None:
        return False
    large = 2.5 * sorted(w[3] - w[1] for w in words)[len(words) // 2]
    shapes = [s.box for s in drawings.shapes if s.slanted and inside(grow(s.box, 0.5), region.box) > 0.8]
    return sum(max(b[2] - b[0], b[3] - b[1]) > large for b in shapes) >= 3


def _finish(header: list[str], body: list[Row], lines: Sequence[Line], edges: Sequence[float]) -> Table | None:
    bold = [_is_bold(row, lines, edges) for row in body]
    rows = [row.cells for row in carry_labels(body, bold)]
    keep = [j for j in range(len(header)) if header[j] or any(r[j] for r in rows)]
    rows = [[r[j] for j in keep] for r in rows]
    header = [header[j] for j in keep]
    if len(rows) + bool(any(header)) < 2 or len(header) < 2:
        return None
    cells = [c for r in rows for c in r]
    filled = [c for c in cells if c]
    if len(filled) < 0.25 * len(cells) or max(map(len, filled), default=0) > _LONGEST_CELL:
        return None
    lettered = any(c.isalpha() for text in (*filled, *header) for c in text)
    if not lettered and len(filled) < 0.6 * len(cells):
        return None
    if sum(map(len, filled)) < 1.5 * len(filled) and not any(map(is_value, filled)):
        return None
    return Table((0, 0, 0, 0), header, rows)


def _is_bold(row: Row, lines: Sequence[Line], edges: Sequence[float]) -> bool:
    """Whether the row's label is set in bold."""
    middle = (row.top + row.bottom) / 2
    for line in lines:
        if line.box[1] <= middle <= line.box[3] and edges[0] - 3 <= line.box[0] <= edges[1] and line.bold:
            return True
    return False


# -- columns ----------------------------------------------------------------------------------------------------


def _edges(text: Sequence[Baseline], region: Region) -> list[float]:
    """Column edges: vertical rules that run along much of the table, and gutters between numbers inside those."""
    x0, y0, x1, y1 = region.box
    tall: dict[float, float] = {}
    for x, a, b in sorted(region.down):
        near = next((k for k in tall if abs(k - x) <= 3), x)
        tall[near] = tall.get(near, 0.0) + min(b, y1) - max(a, y0)
    least = 0.3 * (y1 - y0)
    rules = [x for x, length in sorted(tall.items()) if length >= least and x0 + 3 < x < x1 - 3]
    if not rules:
        return [x0, *gutters(text, region.box), x1]
    edges = [x0, *rules, x1]
    split = []
    for left, right in pairwise(edges):
        part = [Baseline(b.y, ws) for b in text if (ws := [w for w in b.words if left <= (w[0] + w[2]) / 2 < right])]
        split += _number_gutters(part, (left, y0, right, y1))
    return sorted([*edges, *split])


def _number_gutters(part: Sequence[Baseline], box: Box) -> list[float]:
    """Gutters inside a ruled column: only between numbers that stand side by side in most of its lines."""
    pairs = [b for b in part if sum(is_value(w[4]) for w in b.words) >= 2]
    if len(pairs) < 3 or len(pairs) < 0.6 * len(part):
        return []
    return gutters(pairs, box, 4.0)


def _cut_words(words: Sequence[Word], edges: Sequence[float]) -> int:
    """Words that a column edge runs through the middle of: many in a plot, none in a table."""
    return sum(any(w[0] + 0.2 * (w[2] - w[0]) < x < w[2] - 0.2 * (w[2] - w[0]) for x in edges) for w in words)


def _full_rules(region: Region, edges: Sequence[float]) -> list[float]:
    """Heights at which rules run the whole width: pieces at one height count together."""
    width = edges[-1] - edges[0]
    heights: list[list[tuple[float, float, float]]] = []
    for rule in sorted(region.across):
        if heights and rule[0] - heights[-1][0][0] <= 2:
            heights[-1].append(rule)
        else:
            heights.append([rule])
    full = []
    for pieces in heights:
        length = sum(min(b, edges[-1]) - max(a, edges[0]) for _, a, b in pieces)
        if length >= 0.9 * width:
            full.append(sum(p[0] for p in pieces) / len(pieces))
    return full


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", c).replace("|", "\\|").strip() for c in cells) + " |"
