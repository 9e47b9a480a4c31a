"""Where tables may be: crossing rules, stacked rules with short cells between, and lines of aligned cells."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sensorium.loaders._pdf.content import Line, Word
from sensorium.loaders._pdf.drawings import Drawings, clusters
from sensorium.loaders._pdf.geometry import area, inside, union
from sensorium.loaders._pdf.grid import Baseline, baselines, gutters, is_value, make_row, phrases, words_in
from sensorium.nodes import Box

_TOLERANCE = 2.5  # points between rules that touch


@dataclass(slots=True)
class Region:
    """Where a table may be, with the rules inside, and its column edges where they are known already."""

    box: Box
    across: list[tuple[float, float, float]] = field(default_factory=list)
    down: list[tuple[float, float, float]] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)


def ruled_regions(words: Sequence[Word], drawings: Drawings) -> list[Region]:
    """Where rules frame or divide text: crossing rules, or stacked rules of one width with short cells between."""
    across = [r for r in drawings.across if r[2] - r[1] >= 8]
    if len(across) < 2:
        return []
    rules: list[Box] = [(a, y, b, y) for y, a, b in across]
    groups = clusters(rules + [(x, a, x, b) for x, a, b in drawings.down], _TOLERANCE)
    regions = []
    rest = []
    for group in groups:
        h = [across[i] for i in group if i < len(rules)]
        v = [drawings.down[i - len(rules)] for i in group if i >= len(rules)]
        if h and v:
            box = union([(a, y, b, y) for y, a, b in h] + [(x, a, x, b) for x, a, b in v])
            if box[2] - box[0] >= 60 and box[3] - box[1] >= 8:
                regions.append(Region(box, h, v))
        else:
            rest += h
    regions = _with_rules_between(_merged(regions), rest)
    boxes = [r.box for r in regions]
    free = [(y, a, b) for y, a, b in rest if not any(inside((a, y - 1, b, y + 1), box) > 0.5 for box in boxes)]
    regions += _stacks(words, free)
    return [_extended(words, r) for r in sorted(regions, key=lambda r: -area(r.box))]


def _merged(regions: list[Region]) -> list[Region]:
    """Regions of one width right below each other are one table with white lines between its rows."""
    out: list[Region] = []
    for region in sorted(regions, key=lambda r: r.box[1]):
        for above in out:
            same = abs(above.box[0] - region.box[0]) < 5 and abs(above.box[2] - region.box[2]) < 5
            if same and -1 < region.box[1] - above.box[3] < 6:
                above.across += region.across
                above.down += region.down
                above.box = union([above.box, region.box])
                break
        else:
            out.append(region)
    return out


def _with_rules_between(regions: list[Region], rest: list[tuple[float, float, float]]) -> list[Region]:
    """Rules that touch nothing but lie inside a region, or frame it at top or bottom, belong to it."""
    for region in regions:
        for y, a, b in rest:
            x0, y0, x1, y1 = region.box
            inner = y0 - 12 <= y <= y1 + 12 and a >= x0 - 5 and b <= x1 + 5
            frame = abs(a - x0) < 5 and abs(b - x1) < 5 and -60 < y - y1 < 60
            if inner or frame:
                region.across.append((y, a, b))
                region.box = union([region.box, (a, y, b, y)])
    return regions


def _stacks(words: Sequence[Word], rest: list[tuple[float, float, float]]) -> list[Region]:
    """Rules of one width above each other, with rows of short cells between them (tables without vertical rules)."""
    regions = []
    used: set[int] = set()
    rest = sorted(rest)
    for i, (y, a, b) in enumerate(rest):
        if i in used or b - a < 60:
            continue
        chain = [i]
        for j in range(i + 1, len(rest)):
            y2, a2, b2 = rest[j]
            same = (abs(a2 - a) < 8 or abs(b2 - b) < 8) and min(b, b2) - max(a, a2) > 0.5 * max(b - a, b2 - a2)
            low, high = min(a, a2), max(b, b2)
            if same and y2 - rest[chain[-1]][0] > 6 and _tabular(words, (low, rest[chain[-1]][0], high, y2)):
                chain.append(j)
                a, b = low, high
        if len(chain) >= 2:
            top, bottom = y, rest[chain[-1]][0]
            inner = [k for k, r in enumerate(rest) if top - 1 <= r[0] <= bottom + 1 and r[1] >= a - 6 and r[2] <= b + 6]
            used |= set(inner)
            regions.append(Region((a, top, b, bottom), [rest[k] for k in inner]))
    return regions


def _tabular(words: Sequence[Word], box: Box) -> bool:
    """Short cells side by side: most lines have two cells or more, of four words at most on average."""
    inner = words_in(words, box)
    lines = baselines(inner)
    if not lines:
        return False
    cells = [phrases(b.words) for b in lines]
    several = sum(len(c) >= 2 for c in cells)
    numbers = sum(is_value(w[4]) for w in inner)
    per_cell = len(inner) / sum(map(len, cells))
    return numbers >= 0.3 * len(inner) or (several >= 0.5 * len(lines) and per_cell <= 3.5)


def _extended(words: Sequence[Word], region: Region) -> Region:
    """A header band with cells but no rules below: the lines beneath that keep to its columns are its rows."""
    x0, y0, x1, y1 = region.box
    xs = sorted({round(x) for x, _, _ in region.down if x0 + 3 < x < x1 - 3})
    inner = baselines(words_in(words, region.box))
    if len(inner) > 3 or not inner or (len(xs) < 2 and len(region.down)) or len(phrases(inner[-1].words)) < 2:
        return region
    edges = [x0, *xs, x1] if xs else [x0, *gutters(inner, region.box), x1]
    below = baselines([w for w in words if w[1] >= y1 - 1 and x0 - 1 <= (w[0] + w[2]) / 2 <= x1 + 1])
    bottom, filled = y1, 0
    for line in below:
        gap = line.top - bottom
        crossing = any(p[0][0] < e - 2 < e + 2 < p[-1][2] for p in phrases(line.words) for e in edges[1:-1])
        if gap > 2.2 * line.height or crossing or max(w[2] for w in line.words) > x1 + 2:
            break
        row = make_row([line], edges)
        filled += sum(map(bool, row.cells)) >= 2
        bottom = line.bottom
    if filled:
        region.box = (x0, y0, x1, bottom)
        region.down = [(x, a, bottom if x0 + 3 < x < x1 - 3 else b) for x, a, b in region.down]
    return region


def number_runs(words: Sequence[Word]) -> list[Box]:
    """Boxes of runs of three lines or more, each with a label and two numbers or more, or three numbers."""
    runs: list[list[tuple[Baseline, Box | None]]] = []
    open_runs: list[list[tuple[Baseline, Box | None]]] = []
    for line in baselines(words):
        box = _numbers_of(line)
        if box is None:
            for run in open_runs:
                run.append((line, None))
        else:
            home = next((r for r in open_runs if _fits(r, box)), None)
            if home is None:
                home = []
                open_runs.append(home)
                runs.append(home)
            home.append((line, box))
        open_runs = [r for r in open_runs if sum(b is None for _, b in r[-3:]) < 3]
    return [box for run in runs if (box := _run_box(run)) is not None]


def _numbers_of(line: Baseline) -> Box | None:
    """The part of a line that looks like a table row: cells of numbers in a row and the label before them."""
    cells = phrases(line.words)
    marks = [all(is_value(w[4]) or w[4] in "$€£%" for w in c) for c in cells]
    best: tuple[int, int] = (0, 0)
    start = None
    for i, mark in enumerate([*marks, False]):
        if mark and start is None:
            start = i
        elif not mark and start is not None:
            if i - start > best[1] - best[0]:
                best = (start, i)
            start = None
    first, last = best
    if last - first < 2:
        return None
    if first and cells[first][0][0] - cells[first - 1][-1][2] < 0.5 * (line.words[-1][2] - line.words[0][0]):
        first -= 1
    if last - first < 3:
        return None
    return union([w[:4] for c in cells[first:last] for w in c])


def _fits(run: Sequence[tuple[Baseline, Box | None]], box: Box) -> bool:
    last = next(b for _, b in reversed(run) if b is not None)
    shared = min(last[2], box[2]) - max(last[0], box[0])
    return shared > 0.6 * min(last[2] - last[0], box[2] - box[0])


def _run_box(run: Sequence[tuple[Baseline, Box | None]]) -> Box | None:
    rows = [i for i, (_, box) in enumerate(run) if box is not None]
    if len(rows) < 3:
        return None
    x0, _, x1, _ = box = union([b for _, b in run if b is not None])
    top, bottom = box[1], box[3]
    return (x0, top, x1, bottom)


def text_runs(lines: Sequence[Line]) -> list[Region]:
    """Runs of three lines or more, each of three short cells or more that start at the same places as those above.

    They are tables of words without rules. Narrow columns of running text have twice as many words in a line.
    """
    rows: list[list[Line]] = []
    for line in sorted((li for li in lines if li.upright), key=lambda li: li.box[1] + li.box[3]):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and rows[-1][0].box[1] <= middle <= rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    found: list[Region] = []
    run: list[list[Line]] = []
    for row in [*rows, []]:
        if run and not (_short_cells(row) and _aligned(run[-1], row)):
            if len(run) >= 3:
                found.append(_aligned_region(run))
            run = []
        if _short_cells(row):
            run.append(row)
    return found


def _short_cells(row: Sequence[Line]) -> bool:
    words = sum(len(li.text.split()) for li in row)
    named = sum(any(c.isalpha() for c in li.text) for li in row)
    return len(row) >= 3 and words <= 3.5 * len(row) and 2 * named >= len(row)


def _aligned(above: Sequence[Line], below: Sequence[Line]) -> bool:
    """Whether all cells of the shorter row start below (or above) a cell of the other, and the rows are close."""
    near = min(li.box[1] for li in below) - max(li.box[3] for li in above) < 2.5 * below[0].size
    few, many = sorted((above, below), key=len)
    return near and all(any(abs(a.box[0] - b.box[0]) < 3 for b in many) for a in few)


def _aligned_region(run: Sequence[Sequence[Line]]) -> Region:
    box = union([li.box for row in run for li in row])
    starts = sorted(li.box[0] for li in max(run, key=len))
    ends = [max((li.box[2] for row in run for li in row if li.box[0] < x - 3), default=x) for x in starts[1:]]
    inner = [max(x - 6, min(x - 1, (end + x) / 2)) for x, end in zip(starts[1:], ends, strict=True)]
    return Region(box, edges=[box[0], *inner, box[2]])


def with_header_lines(words: Sequence[Word], box: Box, most: int = 3) -> Box:
    """A table's box with the header lines above it: lines of several cells, and short ones that head some of those."""
    x0, y0, x1, y1 = box
    above = baselines([w for w in words if y0 - 60 < w[3] <= y0 + 4 and x0 - 2 <= (w[0] + w[2]) / 2 <= x1 + 2])
    for line in reversed(above[-most:]):
        cells = phrases(line.words)
        wide = max(c[-1][2] - c[0][0] for c in cells) > 0.5 * (x1 - x0)
        beside = any(line.top < w[3] - 2 and w[1] + 2 < line.bottom and (w[0] < x0 - 8 or w[2] > x1 + 8) for w in words)
        far = y0 - line.bottom > (1.2 if len(cells) >= 2 else 0.5) * line.height
        if far or wide or (len(cells) < 2 and (y0 == box[1] or beside)):
            break
        y0 = line.top
    return (x0, y0, x1, y1)
