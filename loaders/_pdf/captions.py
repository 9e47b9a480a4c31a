"""Captions of tables and figures: the nearest "Table N" or "Figure N" line, or a title alone above a table."""

from collections.abc import Sequence

from sensorium.loaders._pdf.blocks import Block
from sensorium.loaders._pdf.figures import Figure
from sensorium.loaders._pdf.geometry import x_overlap
from sensorium.loaders._pdf.tables import Table
from sensorium.nodes import Box

_REACH = 60.0  # points
_WRONG_KIND = 45.0  # points that a figure's caption counts as farther from a table, and the other way round


def attach(blocks: list[Block], tables: Sequence[Table], figures: Sequence[Figure]) -> list[Block]:
    """Give captions to tables and figures.

    Returns:
        The blocks without the captions that were given away; captions that are left become text.
    """
    captions = [b for b in blocks if b.kind == "caption"]
    parts: list[Table | Figure] = [*tables, *figures]
    pairs = sorted(
        (distance, c, p)
        for c, caption in enumerate(captions)
        for p, part in enumerate(parts)
        if (distance := _distance(caption, part)) < _REACH
    )
    given: set[int] = set()
    for _, c, p in pairs:
        if c not in given and not parts[p].caption:
            parts[p].caption = captions[c].text
            given.add(c)
    used = {id(captions[c]) for c in given}
    rest = [b for b in blocks if id(b) not in used]
    for block in rest:
        if block.kind == "caption":
            block.kind = "text"
    for table in tables:
        if not table.caption:
            table.caption = table.title or _title_above(table.box, rest)
    return rest


def _distance(caption: Block, part: Table | Figure) -> float:
    if x_overlap(caption.box, part.box) <= 0:
        return _REACH
    gap = max(part.box[1] - caption.box[3], caption.box[1] - part.box[3], 0.0)
    is_table = caption.text.lower().lstrip().startswith("tab")
    return gap + (0.0 if is_table == isinstance(part, Table) else _WRONG_KIND if gap > 0 else 0.0)


def _title_above(box: Box, blocks: Sequence[Block]) -> str:
    """A short block right above a table, with nothing beside it."""
    best: tuple[float, Block] | None = None
    for block in blocks:
        gap = box[1] - block.box[3]
        fits = len(block.lines) <= 2 and len(block.text) <= 120 and x_overlap(block.box, box) > 0
        if fits and -2 <= gap < 24 and (best is None or gap < best[0]):
            best = (gap, block)
    if best is None:
        return ""
    title = best[1].box
    alone = not any(b is not best[1] and min(b.box[3], title[3]) > max(b.box[1], title[1]) for b in blocks)
    centred = abs((title[0] + title[2]) - (box[0] + box[2])) < 0.2 * (box[2] - box[0])
    return best[1].text if alone and (centred or abs(title[0] - box[0]) < 12) else ""
