"""The slides loader: pictures in decks, and pictures of slides."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE
from pptx.oxml import parse_xml
from pptx.util import Inches, Pt
from tests.loaders.decks import (
    NS,
    PPTX,
    Deck,
    Folder,
    add_chart,
    box,
    categories,
    emf,
    faults,
    image_bytes,
    link_to,
    needs_office,
    of_kind,
    png,
    replace_image,
    tiny,
)

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Limits, SourceFile, Tools
from sensorium.loaders.slides import SlidesLoader
from sensorium.nodes import Evidence


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    return Deck(tmp_path)


def test_picture_with_text(deck: Deck, tmp_path: Path) -> None:
    slide = deck.slide("Scanned")
    shape = slide.shapes.add_picture(png(text="The ferry leaves\nat 17:45 today"), Inches(1), Inches(2), Inches(5))
    shape._element.nvPicPr.cNvPr.set("descr", "A sign. Description automatically generated")
    tools = Tools(tiny(), Folder(tmp_path))
    items = deck.load(tools=tools)
    (figure,), (ocr,) = of_kind(items, "figure"), of_kind(items, "ocr")
    assert figure.text.startswith("A sign.\n")
    assert "17:45" in figure.text
    assert "ferry leaves" in ocr.text
    assert figure.metadata["bbox"] == ocr.metadata["bbox"] == pytest.approx([0.1, 2 / 7.5, 0.6, 5.75 / 7.5], abs=1e-3)
    assert Image.open(figure.image_path).size == (400, 300)
    assert Path(figure.image_path).name == figure.metadata["asset"]
    assert of_kind(items, "slide")[0].text == "Scanned\n\nA sign."
    assert not of_kind(deck.load(SlidesLoader(ocr="off"), tools), "ocr")


def test_which_pictures_count(deck: Deck) -> None:
    for number in range(3):
        slide = deck.slide(f"S{number}")
        slide.shapes.add_picture(png("red"), Inches(0), Inches(0), Inches(4))  # the same on every slide: once
        slide.shapes.add_picture(png("blue", (40 + number, 40)), Inches(8), Inches(6), Inches(0.5))  # too small
    background = deck.slide("Filled")
    _, key = background.part.get_or_add_image_part(png("green"))
    fill = f'<a:blipFill {NS}><a:blip r:embed="{key}"/><a:srcRect r="50000"/></a:blipFill>'
    box(background, 1, 3, 4, 3, "over")._element.spPr.append(parse_xml(fill))
    assert [n.metadata["slide"] for n in of_kind(deck.load(), "figure")] == [1, 4]
    assert len(of_kind(deck.load(SlidesLoader(ocr="always", render="schematic")), "figure")) == 7


def test_stored_picture_is_what_the_slide_shows(deck: Deck, tmp_path: Path) -> None:
    halves = Image.new("RGB", (200, 100), "red")
    halves.paste("blue", (100, 0, 200, 100))
    shape = deck.slide("Crop").shapes.add_picture(
        image_bytes(halves, "TIFF"), Inches(1), Inches(2), Inches(4), Inches(4)
    )
    shape.crop_left = 0.5
    (figure,) = of_kind(deck.load(tools=Tools(assets=Folder(tmp_path))), "figure")
    with Image.open(figure.image_path) as stored:
        assert stored.format == "PNG"
        assert stored.size == (100, 100)
        assert stored.convert("RGB").getcolors() == [(10_000, (0, 0, 255))]


def test_pictures_that_cannot_be_read_are_faults(deck: Deck) -> None:
    slide = deck.slide("Broken")
    for number, (data, suffix) in enumerate([(emf().read(), ".emf"), (png().read()[:120], ".png"), (b"?", ".wdp")]):
        shape = slide.shapes.add_picture(png(), Inches(3 * number), Inches(3), Inches(3))
        replace_image(shape, data, suffix)
    linked = slide.shapes.add_picture(png(), Inches(1), Inches(5.5), Inches(3))
    link_to(linked, "http://127.0.0.1:9/x.png")
    reasons = faults(deck.load())
    assert reasons[0] == "slide 1, picture 1: picture in EMF format needs LibreOffice"
    assert reasons[1].startswith("slide 1, picture 2: the picture is damaged")
    assert reasons[2] == "slide 1, picture 3: picture in WDP format needs LibreOffice"
    assert "linked, not embedded (http://127.0.0.1:9/x.png)" in reasons[3]


def test_picture_over_the_pixel_limit(deck: Deck) -> None:
    deck.slide("Big").shapes.add_picture(png(size=(2000, 1000)), Inches(1), Inches(2), Inches(5))
    (reason,) = faults(deck.load(tools=Tools(limits=Limits(pixels=1))))
    assert "2000 x 1000 pixels, over the limit of 1 million" in reason


@needs_office
def test_metafile_is_drawn_by_libreoffice(deck: Deck, tmp_path: Path) -> None:
    shape = deck.slide("Metafile").shapes.add_picture(png(), Inches(1), Inches(2), Inches(4))
    replace_image(shape, emf().read(), ".emf")
    items = deck.load(SlidesLoader(), Tools(assets=Folder(tmp_path)))
    assert not faults(items)
    with Image.open(of_kind(items, "figure")[0].image_path) as drawn:
        assert drawn.width == pytest.approx(4 * 150, abs=3)
        assert darkest(drawn) < 100  # something was drawn


def evidence(file: SourceFile, slide: int | None, bbox: tuple[float, float, float, float] | None = None) -> Evidence:
    return Evidence(source=file.source, sha256=file.sha256, media_type=PPTX, kind="slide", slide=slide, bbox=bbox)


def coloured(deck: Deck) -> SourceFile:
    """Three slides, the second hidden: a red, green and blue square in the middle, each 2 inches wide."""
    for number, color in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        slide = deck.slide()
        slide.shapes.add_picture(png(f"rgb{color}", (300, 300)), Inches(4), Inches(2.75), Inches(2))
        text = box(slide, 0.5, 0.5, 4, 1, "Corner")
        text.text_frame.paragraphs[0].runs[0].font.size = Pt(40)
        text.text_frame.paragraphs[0].runs[0].font.color.rgb = RGBColor(0, 0, 0)
        if number == 1:
            slide._element.set("show", "0")
    return deck.save()


def darkest(picture: Image.Image) -> int:
    return min(picture.convert("L").tobytes())


def pixels(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("render", ["schematic", pytest.param("office", marks=needs_office)])
def test_slide_pictures_and_crops(deck: Deck, render: Any) -> None:
    file = coloured(deck)
    loader = SlidesLoader(render=render, dpi=96)
    middle = []
    for slide in (1, 2, 3):
        shown = pixels(loader.picture(file, evidence(file, slide)).data)
        assert shown.size == pytest.approx((960, 720), abs=2)
        middle.append([round(v / 255) for v in shown.getpixel((480, 360))])  # type: ignore[union-attr]
    assert middle == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    crop = loader.picture(file, evidence(file, 1, (0.4, 2.75 / 7.5, 0.6, 4.75 / 7.5)))
    assert crop.media_type == "image/png"
    assert pixels(crop.data).size == pytest.approx((0.23 * 960, (2 / 7.5 + 0.03) * 720), abs=3)
    assert bool(crop.note) == (render == "schematic")
    corner = pixels(loader.picture(file, evidence(file, 1, (0.05, 0.5 / 7.5, 0.45, 1.5 / 7.5))).data)
    assert darkest(corner) < 80  # the text is there
    with pytest.raises(EvidenceError, match="4"):
        loader.picture(file, evidence(file, 4))
    with pytest.raises(EvidenceError, match="must name a slide"):
        loader.picture(file, evidence(file, None))


def test_schematic_draws_tables_charts_and_metafiles_somehow(deck: Deck) -> None:
    slide = deck.slide("All of it")
    add_chart(slide, XL_CHART_TYPE.PIE, categories())
    replace_image(slide.shapes.add_picture(png(), Inches(7), Inches(3), Inches(3)), emf().read(), ".emf")
    file = deck.save()
    drawn = SlidesLoader(render="schematic").picture(file, evidence(file, 1, (0.1, 2 / 7.5, 0.7, 6 / 7.5)))
    assert "Freshwater" in "".join(line.text for line in tiny().read(pixels(drawn.data)))


@pytest.fixture
def broken_office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a `soffice` of our own first on the path."""

    def install(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "soffice").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "soffice").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return install


@pytest.mark.skipif(sys.platform == "win32", reason="shell script")
@pytest.mark.parametrize(("script", "reason"), [
    ("sleep 60", "did not finish in 0.5 s"), ("echo no display >&2; exit 3", "status 3. no display"),
    ("true", "no PDF"),
])  # fmt: skip
def test_when_libreoffice_fails(
    deck: Deck, broken_office: Callable[[str], None], tmp_path: Path, script: str, reason: str
) -> None:
    broken_office(script)
    cache = str(tmp_path / "cache")
    file = coloured(deck)
    start = time.monotonic()
    shown = SlidesLoader(office_timeout=0.5, cache_dir=cache).picture(file, evidence(file, 1))
    assert shown.note.startswith("schematic drawing, LibreOffice")
    assert reason in shown.note
    with pytest.raises(EvidenceError, match=reason):
        SlidesLoader(render="office", office_timeout=0.5, cache_dir=cache).picture(file, evidence(file, 1))
    assert time.monotonic() - start < 20


def test_without_libreoffice(deck: Deck, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sensorium.loaders._pptx.office._MAC", str(tmp_path / "none"))
    file = coloured(deck)
    note = SlidesLoader(cache_dir=str(tmp_path)).picture(file, evidence(file, 1)).note
    assert note == "schematic drawing, LibreOffice is not installed"


@needs_office
def test_pdf_is_kept_by_content(deck: Deck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = coloured(deck)
    cache = tmp_path / "cache"
    first = SlidesLoader(render="office", cache_dir=str(cache)).picture(file, evidence(file, 1))
    assert [path.name for path in cache.iterdir()] == [f"{file.sha256}.pdf"]
    monkeypatch.setenv("PATH", "")
    again = SlidesLoader(render="office", cache_dir=str(cache)).picture(file, evidence(file, 1))
    assert again.data == first.data


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine: its address, and what was asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_OPTIONS = do_PROPFIND = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            pass

    web = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}/linked.png", asked
    web.shutdown()


@needs_office
def test_libreoffice_fetches_nothing(deck: Deck, server: tuple[str, list[str]]) -> None:
    url, asked = server
    link_to(deck.slide("Linked").shapes.add_picture(png(), Inches(1), Inches(2), Inches(4)), url)
    file = deck.save()
    assert not SlidesLoader(render="office").picture(file, evidence(file, 1)).note
    assert asked == []
