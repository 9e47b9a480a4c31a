"""Walks a slide's shape tree and yields what stands on it, each with its place, in drawing order.

Works on the XML below python-pptx, which leaves out alternate content, SmartArt, picture fills and 3-D charts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sensorium.loaders._pptx.charts import read_chart, read_extended_chart
from sensorium.loaders._pptx.geometry import Frame, Transform, own_frame, visible
from sensorium.loaders._pptx.markup import (
    BROKEN,
    Element,
    Paragraph,
    children,
    find,
    find_all,
    frame_kind,
    number,
    paragraphs,
    parse,
    qn,
)
from sensorium.loaders._pptx.smartart import read_diagram
from sensorium.loaders._pptx.tables import Table, read_table
from sensorium.nodes import Box

ShapeKind = Literal["title", "text", "diagram", "table", "chart", "picture", "media"]

_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"sldNum", "dt", "ftr"}
# What programs write as alternative text by themselves.
_AUTOMATIC = re.compile(
    r"(description automatically generated( with (low|medium|high) confidence)?|"
    r"ai-generated content may be incorrect|automatically generated description)\.?", re.IGNORECASE)  # fmt: skip
_FILE_NAME = re.compile(r"\S+\.(png|jpe?g|gif|bmp|tiff?|emf|wmf|svg|webp|wdp)|https?://\S+", re.IGNORECASE)


@dataclass(frozen=True)
class PictureRef:
    """Where a picture's bytes are and what of it is shown.

    Attributes:
        part: Part of the package; None when the picture is only linked.
        link: Address of a linked picture.
        crop: Shares cut off at left, top, right and bottom.
        turn: Clockwise turn in degrees.
        embedded: "" for a picture, else the program whose object it previews.
    """

    part: Any
    link: str = ""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    turn: float = 0.0
    embedded: str = ""


@dataclass(frozen=True)
class Shape:
    """One thing on a slide.

    Attributes:
        kind: What it is.
        box: Its visible part in fractions; None when it lies beside the slide.
        alt: Alternative text.
        lines: Its text.
        table: A table, or a chart's values.
        picture: A picture, or the preview of an embedded object.
        size: Largest font size stated in its text, in points; 0 when it is inherited.
        note: What could not be read, for a person.
        opening: Whether it is the centred title of an opening slide.
    """

    kind: ShapeKind
    box: Box | None
    alt: str = ""
    lines: list[Paragraph] = field(default_factory=list)
    table: Table | None = None
    picture: PictureRef | None = None
    size: float = 0.0
    note: str = ""
    opening: bool = False

    @property
    def text(self) -> str:
        """Its text, a line a paragraph, two spaces more a level."""
        return "\n".join("  " * line.level + line.text for line in self.lines)


class SlideReader:
    """Reads one slide.

    Args:
        slide: A `pptx.slide.Slide`.
        width: Slide width in EMU.
        height: Slide height in EMU.
    """

    def __init__(self, slide: Any, width: int, height: int) -> None:
        self._slide = slide
        self._part = slide.part
        self._base = Transform.of_slide(width, height)
        # Holding the shapes keeps lxml's element objects alive, so that they can be keys.
        self._inherited = {shape._element: shape for shape in slide.placeholders}

    def shapes(self) -> list[Shape]:
        """All shapes, groups flattened, from back to front."""
        content = self._slide._element.cSld
        background = find(content, "p:bg/p:bgPr/a:blipFill")
        found = [Shape("picture", (0.0, 0.0, 1.0, 1.0), picture=self._picture(background))
                 ] if background is not None else []  # fmt: skip
        return found + list(self._walk(content.spTree, self._base, 0))

    def _walk(self, tree: Element, transform: Transform, depth: int) -> Iterator[Shape]:
        for element in children(tree):
            properties = _own_properties(element)
            if properties is None or properties.get("hidden") in ("1", "true") or depth > 50:
                continue
            if element.tag == qn("p:grpSp"):
                yield from self._walk(element, transform.group(find(element, "p:grpSpPr/a:xfrm")), depth + 1)
                continue
            try:
                yield from self._read(element, properties, transform)
            except BROKEN as fault:
                note = f"the shape {properties.get('name') or ''!r} cannot be read: {type(fault).__name__}: {fault}"
                yield Shape("media", None, note=note)

    def _read(self, element: Element, properties: Element, transform: Transform) -> Iterator[Shape]:
        placeholder = find(element, ".//p:nvPr/p:ph")
        role = placeholder.get("type", "body") if placeholder is not None else ""
        if role in _FURNITURE:
            return
        frame = own_frame(element) or self._inherited_frame(element)
        box = visible(transform.place(frame)) if frame else None
        alt = _alternative(properties)
        if element.tag == qn("p:graphicFrame"):
            yield from self._frame(element, box, alt)
        elif element.tag == qn("p:pic"):
            yield from self._pic(element, box, alt, frame)
        elif element.tag == qn("p:sp"):
            yield from self._sp(element, box, alt, frame, role)

    def _inherited_frame(self, element: Element) -> Frame | None:
        shape = self._inherited.get(element)
        if shape is None or shape.left is None or shape.width is None:
            return None
        return Frame(shape.left, shape.top, shape.width, shape.height)

    def _sp(self, element: Element, box: Box | None, alt: str, frame: Frame | None, role: str) -> Iterator[Shape]:
        fill = find(element, "p:spPr/a:blipFill")
        if fill is not None:
            yield Shape("picture", box, alt, picture=self._picture(fill, frame))
        lines = paragraphs(find(element, "p:txBody"))
        if lines or (alt and fill is None):
            kind: ShapeKind = "title" if role in _TITLES else "text"
            yield Shape(kind, box, "" if fill is not None else alt, lines, size=_font_size(element),
                        opening=role == "ctrTitle")  # fmt: skip

    def _pic(self, element: Element, box: Box | None, alt: str, frame: Frame | None) -> Iterator[Shape]:
        fill = find(element, "p:blipFill")
        yield Shape("picture", box, alt, picture=self._picture(fill, frame) if fill is not None else None)
        for name, word in (("a:videoFile", "video"), ("a:audioFile", "sound"), ("a:wavAudioFile", "sound")):
            if find(element, f"p:nvPicPr/p:nvPr/{name}") is not None:
                yield Shape("media", box, note=f"the {word} on the slide is not transcribed")

    def _frame(self, element: Element, box: Box | None, alt: str) -> Iterator[Shape]:
        kind = frame_kind(element)
        if kind == "table":
            table = find(element, "a:graphic/a:graphicData/a:tbl")
            read = read_table(table) if table is not None else None
            if read is not None:
                yield Shape("table", box, alt, table=read)
        elif kind in ("chart", "chartex"):
            yield self._chart(element, box, alt, kind)
        elif kind == "diagram":
            yield Shape("diagram", box, alt, read_diagram(element, self._part))
        elif kind == "ole":
            yield self._object(element, box, alt)

    def _chart(self, element: Element, box: Box | None, alt: str, kind: str) -> Shape:
        holder = find(element, "a:graphic/a:graphicData")
        link = next((key for child in (holder if holder is not None else ()) if (key := child.get(qn("r:id")))), "")
        part = self._part.related_part(link)
        root = parse(part.blob)
        table = read_chart(root) if kind == "chart" else read_extended_chart(root)
        note = "" if table else "the chart holds no values"
        return Shape("chart", box, alt, _chart_texts(part), table, note=note)

    def _object(self, element: Element, box: Box | None, alt: str) -> Shape:
        owner = find(element, ".//p:oleObj")
        program = owner.get("progId") or "object" if owner is not None else "object"
        fill = find(element, ".//p:pic/p:blipFill")
        preview = self._picture(fill, None, program) if fill is not None else PictureRef(None, embedded=program)
        return Shape("picture", box, alt, picture=preview)

    def _picture(self, fill: Element, frame: Frame | None = None, program: str = "") -> PictureRef:
        blip = find(fill, "a:blip")
        crop = find(fill, "a:srcRect")
        shares = [number(crop, side) / 100_000 if crop is not None else 0.0 for side in ("l", "t", "r", "b")]
        left, top, right, bottom = (max(0.0, share) for share in shares)
        turn = frame.turn if frame and fill.tag == qn("p:blipFill") else 0.0
        part, link = self._target(blip) if blip is not None else (None, "")
        return PictureRef(part, link, (left, top, right, bottom), turn, program)

    def _target(self, blip: Element) -> tuple[Any, str]:
        vector = find(blip, ".//svg:svgBlip")
        for holder in (blip, vector):
            key = holder.get(qn("r:embed")) if holder is not None else None
            if key and key in self._part.rels and not self._part.rels[key].is_external:
                return self._part.related_part(key), ""
        key = blip.get(qn("r:link")) or blip.get(qn("r:embed"))
        relation = self._part.rels[key] if key and key in self._part.rels else None
        return None, relation.target_ref if relation is not None and relation.is_external else ""


def _own_properties(element: Element) -> Element | None:
    for child in element:
        if isinstance(child.tag, str) and child.tag.startswith(qn("p:nv")):
            return find(child, "p:cNvPr")
    return None


def _alternative(properties: Element) -> str:
    if find(properties, ".//adec:decorative[@val='1']") is not None:
        return ""
    text = _AUTOMATIC.sub("", " ".join((properties.get("descr") or "").split())).strip()
    return "" if _FILE_NAME.fullmatch(text) else text


def _font_size(element: Element) -> float:
    sizes = [number(run, "sz") / 100 for run in element.iter(qn("a:rPr")) if run.get("sz")]
    return max(sizes, default=0.0)


def _chart_texts(part: Any) -> list[Paragraph]:
    """Text boxes that were drawn into a chart."""
    found: list[Paragraph] = []
    for relation in part.rels.values():
        if relation.reltype.endswith("/chartUserShapes") and not relation.is_external:
            drawing = parse(relation.target_part.blob)
            bodies = [body for body in drawing.iter() if str(body.tag).endswith("}txBody")]
            found += [line for body in bodies for line in paragraphs(body)]
    return found


def comments(slide: Any) -> list[str]:
    """Review comments of a slide, classic and threaded."""
    found = []
    for relation in slide.part.rels.values():
        if relation.reltype.endswith("/comments") and not relation.is_external:
            root = parse(relation.target_part.blob)
            texts = [element for element in root.iter() if str(element.tag).endswith(("}text", "}txBody"))]
            found += [text for element in texts if (text := " ".join("".join(map(str, element.itertext())).split()))]
    return found


def notes(slide: Any) -> str:
    """Speaker notes, a line a paragraph."""
    if not slide.has_notes_slide:
        return ""
    placeholder = slide.notes_slide.notes_placeholder
    if placeholder is None:
        return ""
    bodies = find_all(placeholder._element, "p:txBody")
    return "\n".join(line.text for body in bodies for line in paragraphs(body))
