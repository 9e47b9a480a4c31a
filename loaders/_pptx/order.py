"""Reading order, and the title of a slide that has no title placeholder."""

import re

from sensorium.loaders._pptx.shapes import Shape

# Shapes whose tops lie within this share of the slide's height stand in one row.
ROW = 0.04


def reading_order(shapes: list[Shape]) -> list[Shape]:
    """Title first, then rows from the top, each from the left; shapes beside the slide last."""
    titles = [shape for shape in shapes if shape.kind == "title"]
    rest = [shape for shape in shapes if shape.kind != "title"]
    placed = sorted((s for s in rest if s.box), key=lambda s: s.box[1] if s.box else 0.0)
    rows: list[list[Shape]] = []
    for shape in placed:
        top = shape.box[1] if shape.box else 0.0
        first = rows[-1][0].box if rows else None
        if first and top - first[1] <= ROW:
            rows[-1].append(shape)
        else:
            rows.append([shape])
    ordered = [s for row in rows for s in sorted(row, key=lambda s: s.box[0] if s.box else 0.0)]
    return titles + ordered + [s for s in rest if not s.box]


def slide_title(ordered: list[Shape]) -> str:
    """The title placeholder's text, else a short text that spans the top of the slide; may be empty."""
    titles = [shape for shape in ordered if shape.kind == "title" and shape.lines]
    shape = titles[0] if titles else next((s for s in ordered if s.kind == "text" and s.lines), None)
    if shape is None or not (titles or _looks_like_title(shape, ordered)):
        return ""
    return " ".join(shape.text.split())


def deck_title(properties: str, opening: list[Shape]) -> str:
    """Title of the whole deck, or nothing.

    The centred title of the opening slide; else the title in the file's properties, but only when the opening
    slide bears a word of it out: decks are copied, and keep the properties of the one they came from.

    Args:
        properties: Title in the file's properties.
        opening: Shapes of the first slide, in reading order.
    """
    centred = next((shape for shape in opening if shape.kind == "title" and shape.opening), None)
    if centred is not None and centred.lines:
        return " ".join(centred.text.split())
    words = re.findall(r"\w{4,}", properties.lower())
    shown = " ".join(shape.text for shape in opening).lower()
    return properties if any(word in shown for word in words) else ""


def _looks_like_title(shape: Shape, ordered: list[Shape]) -> bool:
    texts = [s for s in ordered if s.kind == "text" and s.lines]
    largest = max(s.size for s in texts)
    wide = shape.box is not None and shape.box[2] - shape.box[0] >= 0.4 and shape.box[1] < 0.2
    short = len(shape.text) <= 150 and shape.text.count("\n") < 3
    return len(texts) > 1 and wide and short and (shape.size >= largest or not shape.size or not largest)
