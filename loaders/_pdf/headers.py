"""Header rows and row labels: so that each row of a table can be understood alone."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from sensorium.loaders._pdf.content import Word
from sensorium.loaders._pdf.grid import Baseline, Row, column_of, is_value, phrases
from sensorium.nodes import Box

Rule = tuple[float, float, float]
_TOTAL = re.compile(r"(grand |sub-?)?totals?\b", re.IGNORECASE)


def leading_titles(lines: Sequence[Baseline], down: Sequence[Rule], box: Box) -> int:
    """How many of the first lines are a title inside the frame: one phrase alone, in the middle of the whole width."""
    for n, line in enumerate(lines):
        parts = _cut_at_rules(line, down)
        x0, x1 = line.words[0][0], line.words[-1][2]
        inner = any(a <= line.y <= b and box[0] + 3 < x < box[2] - 3 for x, a, b in down)
        if len(parts) > 1 or inner or abs((x0 + x1) / 2 - (box[0] + box[2]) / 2) > 0.05 * (box[2] - box[0]):
            return n
    return 0


def split_header(lines: Sequence[Baseline], full: Sequence[float], edges: Sequence[float]) -> int:
    """How many of a table's first lines are its header.

    The header ends at the first full-width rule below some text if rows of values stand below and none above;
    else at the first line of which half the filled cells after the label are values (bare years are none).
    """
    first = next((i for i, line in enumerate(lines) if _has_values(line, edges)), None)
    for y in full:
        above = sum(line.y < y for line in lines)
        if 0 < above < len(lines):
            if (first is None or (above <= first + 1 and not _mostly_values(lines[:above], edges))) and above <= 8:
                return above
            break
    return min(first if first is not None else 1, 8)


def _cells(line: Baseline, edges: Sequence[float]) -> list[tuple[int, str]]:
    return [
        (column_of((p[0][0] + p[-1][2]) / 2, edges), " ".join(w[4] for w in p)) for p in phrases(line.words)
    ]  # fmt: skip


def _has_values(line: Baseline, edges: Sequence[float]) -> bool:
    cells = [text for column, text in _cells(line, edges) if column > 0]
    values = sum(map(is_value, cells))
    return values > 0 and values >= 0.5 * len(cells)


def _mostly_values(lines: Sequence[Baseline], edges: Sequence[float]) -> bool:
    cells = [text for line in lines for _, text in _cells(line, edges)]
    return sum(map(is_value, cells)) > 0.4 * len(cells)


def header_labels(
    lines: Sequence[Baseline], edges: Sequence[float], across: Sequence[Rule], down: Sequence[Rule], box: Box
) -> list[str]:
    """One label a column, "parent child" where headers span columns.

    A header spans the columns between the vertical rules beside it, or above the rule beneath it that does not run
    the whole width, or (without rules) as many as make it stand in their middle.
    """
    columns = len(edges) - 1
    labels: list[list[str]] = [[] for _ in range(columns)]
    for n, line in enumerate(lines):
        spans = []
        for phrase in _cut_at_rules(line, down):
            spans.append((phrase, *_span_of(phrase, edges, across, down, box)))
        lower = {c for below in lines[n + 1 :] for c, _ in _cells(below, edges)}
        for phrase, first, last, sure in spans:
            text = " ".join(w[4] for w in phrase)
            if not sure and lower:
                taken = {c for p, a, b, _ in spans if p is not phrase for c in range(a, b + 1)}
                first, last = _centred(phrase, first, last, edges, taken, lower)
            for j in range(first, last + 1):
                labels[j].append(text)
    return [" ".join(dict.fromkeys(parts)) for parts in labels]


def _cut_at_rules(line: Baseline, down: Sequence[Rule]) -> list[list[Word]]:
    """Phrases of a header line; a vertical rule cuts even between close words."""
    out = []
    for phrase in phrases(line.words):
        part = [phrase[0]]
        for a, b in pairwise(phrase):
            if any(a[2] - 1 <= x <= b[0] + 1 and y0 <= line.y <= y1 for x, y0, y1 in down):
                out.append(part)
                part = []
            part.append(b)
        out.append(part)
    return out


def _span_of(
    phrase: Sequence[Word], edges: Sequence[float], across: Sequence[Rule], down: Sequence[Rule], box: Box
) -> tuple[int, int, bool]:
    """First and last column under a header, and whether rules say so."""
    x0, x1 = phrase[0][0], phrase[-1][2]
    y0, y1 = min(w[1] for w in phrase), max(w[3] for w in phrase)
    middle, height = (y0 + y1) / 2, y1 - y0
    first, last = _columns(x0, x1, edges)
    beside = [x for x, a, b in down if a - 1 <= middle <= b + 1 and box[0] - 2 <= x <= box[2] + 2]
    left = max((x for x in beside if x <= x0 + 2), default=None)
    right = min((x for x in beside if x >= x1 - 2), default=None)
    inner = (left is not None and left > box[0] + 3) or (right is not None and right < box[2] - 3)
    if inner:
        return (*_columns(left or box[0], right or box[2], edges), True)
    for y, a, b in sorted(across):
        short = b - a < 0.97 * (box[2] - box[0])
        if short and y1 - 0.3 * height <= y <= y1 + 1.2 * height and a - 3 <= x0 and x1 <= b + 3:
            return (*_columns(a, b, edges), True)
    return first, last, False


def _columns(x0: float, x1: float, edges: Sequence[float]) -> tuple[int, int]:
    """Columns of which the span covers at least 40 %, or else the one at its middle."""
    hit = [
        j for j in range(len(edges) - 1)
        if min(x1, edges[j + 1]) - max(x0, edges[j]) >= 0.4 * (edges[j + 1] - edges[j])
    ]  # fmt: skip
    middle = column_of((x0 + x1) / 2, edges)
    return (hit[0], hit[-1]) if hit else (middle, middle)


def _centred(
    phrase: Sequence[Word], first: int, last: int, edges: Sequence[float], taken: set[int], lower: set[int]
) -> tuple[int, int]:
    """Widest run of columns with headers below in whose middle the phrase stands, not reaching into others."""
    centre = (phrase[0][0] + phrase[-1][2]) / 2
    best = (first, last)
    columns = len(edges) - 1
    for a in range(first, 0, -1):
        for b in range(last, columns):
            run = set(range(a, b + 1))
            if run & taken or not run <= lower:
                continue
            width = (edges[b + 1] - edges[a]) / len(run)
            if abs((edges[a] + edges[b + 1]) / 2 - centre) <= 0.2 * width and b - a > best[1] - best[0]:
                best = (a, b)
    return best


def carry_labels(rows: Sequence[Row], bold: Sequence[bool]) -> list[Row]:
    """Rows whose labels hold those of the rows above that they belong to: "Aged 21 to 64 — Severe — Employed".

    Bold rows stand over plain ones; among rows of one weight the less indented stand over the more indented; a row
    with only a label heads the following rows of its weight and indent until the next such row. Such a row is left
    out when it has gone into others; one that heads nothing goes on with the row above.

    Args:
        rows: Rows of the body.
        bold: For each row, whether its label is bold.
    """
    mixed = 0 < sum(bold) < len(bold)
    levels = _levels([r.x for r, strong in zip(rows, bold, strict=True) if r.cells[0] and not (strong and mixed)])
    stack: list[tuple[tuple[int, int, int], int]] = []
    labels = [row.cells[0] for row in rows]
    used: set[int] = set()
    for i, (row, strong) in enumerate(zip(rows, bold, strict=True)):
        if not labels[i]:
            labels[i] = labels[i - 1] if i and _same_cells(rows[i - 1], row) else ""
            continue
        top = strong and mixed
        level = 0 if top or _TOTAL.match(labels[i]) else sum(row.x > x + 1.5 for x in levels)
        rank = (0 if top else 1, level, 0 if row.label_only() else 1)
        while stack and stack[-1][0] >= rank:
            stack.pop()
        if not row.label_only():
            used |= {k for _, k in stack}
            labels[i] = " — ".join([rows[k].cells[0] for _, k in stack] + [labels[i]])
        stack.append((rank, i))
    return _without_heads(rows, labels, used)


def _without_heads(rows: Sequence[Row], labels: Sequence[str], used: set[int]) -> list[Row]:
    out: list[Row] = []
    for i, row in enumerate(rows):
        if not row.label_only():
            out.append(replace(row, cells=[labels[i], *row.cells[1:]]))
        elif i not in used and out:
            out[-1].cells[0] = f"{out[-1].cells[0]}; {row.cells[0]}".strip("; ")
        elif i not in used:
            out.append(row)
    return out


def _levels(starts: Sequence[float]) -> list[float]:
    """Left edges at which labels start, or one level when they are too many to be indents (centred labels)."""
    levels: list[float] = []
    for x in sorted(starts):
        if not levels or x - levels[-1] > 1.5:
            levels.append(x)
    return levels if len(levels) <= 4 and 2 * len(levels) <= len(starts) + 1 else []


def _same_cells(above: Row, below: Row) -> bool:
    """A row without a label under one with the same cells filled: the label is meant for both."""
    return all(bool(a) == bool(b) for a, b in zip(above.cells[1:], below.cells[1:], strict=True))
