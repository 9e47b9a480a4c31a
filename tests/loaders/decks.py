"""Makes decks for the tests of the slides loader: python-pptx, with raw XML where it knows no way."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.opc.constants import RELATIONSHIP_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.oxml import parse_xml
from pptx.util import Inches

from sensorium.loaders.base import Fault, Item, SourceFile, Tools, content_digest_file
from sensorium.loaders.slides import SlidesLoader
from sensorium.models import OCR_ENGINES

PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
NS = (
    f'xmlns:a="{A}" xmlns:r="{R}" xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram" '
    'xmlns:cx="http://schemas.microsoft.com/office/drawing/2014/chartex"'
)


def tiny() -> Any:
    return OCR_ENGINES.create("tiny", {"fallback": False})


needs_office = pytest.mark.skipif(
    not (shutil.which("soffice") or shutil.which("libreoffice")), reason="LibreOffice is not installed"
)


class Folder:
    """An asset store for these tests."""

    def __init__(self, path: Path) -> None:
        self.folder = path

    def put(self, data: bytes, suffix: str) -> str:
        name = content_digest_file(data) + suffix
        (self.folder / name).write_bytes(data)
        return name

    def path(self, name: str) -> str:
        return str(self.folder / name)


class Deck:
    """A deck in the making."""

    def __init__(self, folder: Path, name: str = "deck.pptx") -> None:
        self.path = folder / name
        self.deck = Presentation()
        self.deck.core_properties.title = ""

    def slide(self, title: str | None = None, layout: int = 5) -> Any:
        slide = self.deck.slides.add_slide(self.deck.slide_layouts[6 if title is None else layout])
        if title is not None:
            slide.shapes.title.text = title
        return slide

    def save(self) -> SourceFile:
        self.deck.save(str(self.path))
        return source(self.path)

    def load(self, loader: SlidesLoader | None = None, tools: Tools | None = None) -> list[Item]:
        return list((loader or SlidesLoader(render="schematic")).load(self.save(), tools or Tools()))


def source(path: Path) -> SourceFile:
    return SourceFile(path, str(path.parent), path.name, content_digest_file(path.read_bytes()), PPTX)


def of_kind(items: list[Item], kind: str) -> list[Any]:
    return [item for item in items if isinstance(item, TextNode) and item.metadata["kind"] == kind]


def faults(items: list[Item]) -> list[str]:
    return [str(item) for item in items if isinstance(item, Fault)]


def box(slide: Any, left: float, top: float, width: float, height: float, text: str) -> Any:
    shape = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(width), Inches(height))
    shape.text_frame.text = text
    return shape


def png(color: str = "white", size: tuple[int, int] = (400, 300), text: str = "") -> io.BytesIO:
    picture = Image.new("RGB", size, color)
    if text:
        ImageDraw.Draw(picture).text((20, 20), text, "black", font=ImageFont.load_default(36))
    return image_bytes(picture, "PNG")


def image_bytes(picture: Image.Image, form: str) -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, form)
    buffer.seek(0)
    return buffer


def add_part(slide: Any, name: str, kind: str, xml: str) -> str:
    """Add an XML part to the package and return the slide's relationship id for it."""
    part = Part(PackURI(name), "application/xml", slide.part.package, xml.encode())
    reltype = kind if kind.startswith("http") else f"{R}/{kind}"
    return str(slide.part.relate_to(part, reltype))


def add_frame(slide: Any, uri: str, content: str) -> None:
    frame = f"""<p:graphicFrame {NS}><p:nvGraphicFramePr><p:cNvPr id="90" name="Frame"/><p:cNvGraphicFramePr/><p:nvPr/>
      </p:nvGraphicFramePr><p:xfrm><a:off x="914400" y="1828800"/><a:ext cx="4572000" cy="2743200"/></p:xfrm>
      <a:graphic><a:graphicData uri="{uri}">{content}</a:graphicData></a:graphic></p:graphicFrame>"""
    slide.shapes._spTree.append(parse_xml(frame))


def add_chart(slide: Any, kind: Any, data: Any) -> Any:
    return slide.shapes.add_chart(kind, Inches(1), Inches(2), Inches(6), Inches(4), data).chart


def categories(number_format: str = "General") -> CategoryChartData:
    data = CategoryChartData(number_format=number_format)
    data.categories = ["2019", "2020"]
    data.add_series("Freshwater", (120.0, 130.5))
    data.add_series("Saltwater", (80, None))
    return data


def emf() -> io.BytesIO:
    """A valid metafile: a black rectangle of 40 x 30 mm, and nothing else."""
    import struct

    black_brush = struct.pack("<III", 37, 12, 0x80000004)
    rectangle = black_brush + struct.pack("<II4i", 43, 24, 5, 5, 90, 90)
    end = struct.pack("<IIIII", 14, 20, 0, 16, 20)
    size = 88 + len(rectangle) + len(end)
    header = struct.pack("<II4i4iIIIIHHIII4i", 1, 88, 0, 0, 100, 100, 0, 0, 4000, 3000, 0x464D4520, 0x10000, size, 4,
                         1, 0, 0, 0, 0, 1920, 1080, 480, 270)  # fmt: skip
    return io.BytesIO(header + rectangle + end)


def replace_image(shape: Any, data: bytes, suffix: str) -> None:
    part = Part(PackURI(f"/ppt/media/metafile{suffix}"), f"image/x-{suffix[1:]}", shape.part.package, data)
    shape._element.blipFill.find(f"{{{A}}}blip").set(
        f"{{{R}}}embed", shape.part.relate_to(part, RELATIONSHIP_TYPE.IMAGE)
    )


def link_to(shape: Any, url: str) -> None:
    blip = shape._element.blipFill.find(f"{{{A}}}blip")
    key = shape.part.relate_to(url, RELATIONSHIP_TYPE.IMAGE, is_external=True)
    del blip.attrib[f"{{{R}}}embed"]
    blip.set(f"{{{R}}}link", key)
