"""A schematic drawing of a slide without LibreOffice: everything at its place, in plain type.

Fonts, bullets, fills, the master's artwork and drawn charts are lost; charts are drawn as their table.
"""

import html
import io
from typing import Any

from sensorium.loaders._pptx.pictures import PictureError, decode
from sensorium.loaders._pptx.shapes import Shape
from sensorium.loaders._pptx.tables import Table
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.pictures import on_white

_GREY = (0.6, 0.6, 0.6)
_FONT = "font-family:sans-serif"


def draw(shapes: list[Shape], width: int, height: int, megapixels: float) -> Any:
    """A document of one page (the caller closes it) with the slide's shapes, pictures at the back.

    Args:
        shapes: The slide's shapes, from back to front.
        width: Slide width in EMU.
        height: Slide height in EMU.
        megapixels: Largest picture that is decoded.
    """
    pymupdf = import_pymupdf()
    document = pymupdf.open()
    page = document.new_page(width=width / 12_700, height=height / 12_700)
    for shape in sorted(shapes, key=lambda shape: shape.kind != "picture"):
        if shape.box is None:
            continue
        x0, y0, x1, y1 = shape.box
        area = pymupdf.Rect(x0 * page.rect.width, y0 * page.rect.height, x1 * page.rect.width, y1 * page.rect.height)
        if area.width >= 1 and area.height >= 1:
            _draw_shape(page, area, shape, megapixels)
    return document


def _draw_shape(page: Any, area: Any, shape: Shape, megapixels: float) -> None:
    if shape.kind == "picture":
        _draw_picture(page, area, shape, megapixels)
    elif shape.table is not None:
        page.insert_htmlbox(area, _table(shape.table))
    elif shape.lines:
        page.insert_htmlbox(area, _lines(shape))


def _draw_picture(page: Any, area: Any, shape: Shape, megapixels: float) -> None:
    try:
        if shape.picture is None:
            raise PictureError("the picture has no content")
        picture = decode(shape.picture, megapixels)
        small = on_white(picture).copy()
        small.thumbnail((2000, 2000))
        buffer = io.BytesIO()
        small.save(buffer, "PNG", compress_level=1)
        page.insert_image(area, stream=buffer.getvalue(), keep_proportion=False)
    except PictureError as fault:
        page.draw_rect(area, color=_GREY, dashes="[3] 0")
        words = html.escape(shape.alt or str(fault))
        page.insert_htmlbox(area, f'<p style="color:#666;text-align:center;{_FONT}">{words}</p>')


def _lines(shape: Shape) -> str:
    title = shape.kind == "title"
    size = shape.size or (28 if title else 16)
    weight = "bold" if title else "normal"
    parts = []
    for line in shape.lines:
        text = html.escape(line.text).replace("\n", "<br>").replace("\t", "&emsp;")
        style = f"margin:0 0 4px {18 * line.level}px;font-size:{size:g}pt;font-weight:{weight};{_FONT}"
        parts.append(f'<p style="{style}">{text}</p>')
    return "".join(parts)


def _table(table: Table) -> str:
    cell = "border:1px solid #888;padding:3px 6px"
    rows = ""
    for row in table.rows:
        rows += "<tr>" + "".join(f'<td style="{cell}">{html.escape(text)}</td>' for text in row) + "</tr>"
    caption = f"<p><b>{html.escape(table.caption)}</b></p>" if table.caption else ""
    return f'<div style="{_FONT}">{caption}<table style="border-collapse:collapse;width:100%">{rows}</table></div>'
