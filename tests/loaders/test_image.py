"""Pictures: orientation, transparency, pages, captions, text, limits, crops."""

import io
import struct
import warnings
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode, TextNode
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._image.frames import opened
from sensorium.loaders.base import Fault, Item, Limits, Tools, local_file
from sensorium.loaders.image import ImageLoader
from sensorium.loaders.ocr_text import ocr_blocks
from sensorium.models.ocr import RapidOcr
from sensorium.nodes import Evidence
from sensorium.ocr_types import OcrLine

OCR = RapidOcr()


class Assets:
    """Assets in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes, suffix: str) -> str:
        name = sha256(data).hexdigest() + suffix
        (self.folder / name).write_bytes(data)
        return name

    def path(self, name: str) -> str:
        return str(self.folder / name)


def card(*lines: str, size: tuple[int, int] = (420, 160), paper: str = "white") -> Image.Image:
    picture = Image.new("RGB", size, paper)
    for i, line in enumerate(lines):
        ImageDraw.Draw(picture).text((20, 20 + 45 * i), line, font=ImageFont.load_default(26), fill="black")
    return picture


def load(path: Path, tools: Tools = Tools(ocr=OCR)) -> list[Item]:  # noqa: B008 - immutable
    return list(ImageLoader().load(local_file(path), tools))


def pictures(items: list[Item]) -> list[ImageNode]:
    return [item for item in items if isinstance(item, ImageNode)]


def passages(items: list[Item]) -> list[TextNode]:
    return [item for item in items if isinstance(item, TextNode) and not isinstance(item, ImageNode)]


def test_a_picture_with_text_gives_a_figure_and_its_text(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    card("Sub-Total", "Total due 14.50").save(path)
    items = load(path)
    (figure,) = pictures(items)
    (text,) = passages(items)
    assert figure.text == text.text == "Sub-Total\nTotal due 14.50"
    assert figure.image_path == str(path)
    assert (figure.metadata["kind"], figure.metadata["bbox"]) == ("figure", [0, 0, 1, 1])
    assert (figure.metadata["width"], figure.metadata["height"]) == (420, 160)
    assert text.metadata["kind"] == "ocr"
    assert text.metadata["ocr_score"] > 0.9
    x0, y0, x1, y1 = text.metadata["bbox"]
    assert 0 < x0 < 0.08
    assert 0 < y0 < 0.2
    assert 0.3 < x1 < 0.6
    assert y1 < 0.7
    assert "page" not in figure.metadata


def test_a_picture_without_text_is_kept(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "a.jpg")
    items = load(tmp_path / "a.jpg")
    assert len(pictures(items)) == len(items) == 1
    assert pictures(items)[0].text == ""


def test_without_ocr_the_missing_text_is_said(tmp_path: Path) -> None:
    card("Total").save(tmp_path / "a.png")
    items = load(tmp_path / "a.png", Tools())
    assert "OCR is switched off" in str(items[0])
    assert len(pictures(items)) == 1
    assert not passages(items)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    card("Total due 14.50").rotate(90, expand=True).save(path, exif=exif, quality=95)
    items = load(path, Tools(ocr=OCR, assets=Assets(tmp_path)))
    (figure,) = pictures(items)
    assert (figure.metadata["width"], figure.metadata["height"]) == (420, 160)
    assert passages(items)[0].metadata["bbox"][2] > passages(items)[0].metadata["bbox"][3]
    assert Image.open(figure.image_path or "").size == (420, 160)
    assert figure.metadata["asset"] == Path(figure.image_path or "").name
    shown = Image.open(io.BytesIO(ImageLoader().picture(local_file(path), Evidence.of(figure)).data))
    assert shown.size == (420, 160)


@pytest.mark.parametrize(
    ("name", "mode"), [("a.png", "RGBA"), ("a.png", "I;16"), ("a.tif", "RGB"), ("a.bmp", "RGB"), ("a.jpg", "CMYK")]
)
def test_what_models_cannot_see_is_stored_as_they_can(tmp_path: Path, name: str, mode: str) -> None:
    picture = card("Total due 14.50")
    if mode == "RGBA":
        picture = Image.merge(
            "RGBA", [*Image.new("RGB", picture.size).split(), picture.convert("L").point(lambda v: 255 - v)]
        )
    elif mode == "I;16":
        import numpy as np

        picture = Image.fromarray(np.asarray(picture.convert("L")).astype("uint16") * 257)
    elif mode == "CMYK":
        picture = picture.convert("CMYK")
    picture.save(tmp_path / name)
    items = load(tmp_path / name, Tools(ocr=OCR, assets=Assets(tmp_path)))
    (figure,) = pictures(items)
    stored = Image.open(figure.image_path or "")
    assert stored.format in ("PNG", "JPEG")
    assert stored.mode == "RGB"
    red, green, blue = stored.getpixel((5, 5))  # type: ignore[misc]
    assert min(red, green, blue) > 250, "the paper is white"
    assert passages(items)[0].text == "Total due 14.50"


def test_tiff_pages_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    card("First page").save(path, save_all=True, append_images=[card("Second page")])
    items = load(path)
    assert [(n.metadata["page"], n.text) for n in passages(items)] == [(1, "First page"), (2, "Second page")]
    assert [n.metadata["page"] for n in pictures(items)] == [1, 2]
    second = ImageLoader().picture(local_file(path), Evidence.of(passages(items)[1]))
    assert [line.text for line in OCR.read(Image.open(io.BytesIO(second.data)))] == ["Second page"]


def test_pages_beyond_the_limit_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    card("1").save(path, save_all=True, append_images=[card("2"), card("3")])
    items = load(path, Tools(limits=Limits(pages=2)))
    assert len(pictures(items)) == 2
    assert any("only 2 of its 3 pages" in str(item) for item in items if isinstance(item, Fault))


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    card("Frame one").save(path, save_all=True, append_images=[card("Frame two", paper="yellow")])
    items = load(path)
    assert [n.text for n in passages(items)] == ["Frame one"]
    assert "first of its 2 frames" in str(items[0])


def test_captions_of_the_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "A heron by the weir"
    exif[0x9C9B] = "Heron".encode("utf-16-le") + b"\0\0"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0taken at dawn"
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    (figure,) = pictures(load(tmp_path / "a.jpg"))
    assert figure.metadata["caption"] == figure.text == "A heron by the weir. Heron. taken at dawn"

    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Count of 2021")
    info.add_text("Software", "a program")
    info.add_itxt("Description", "Enten im Frühjahr")
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><r:Description><dc:description><r:Alt><r:li>By the lake</r:li>'
        "</r:Alt></dc:description></r:Description></r:RDF></x:xmpmeta>"
    )
    info.add_itxt("XML:com.adobe.xmp", xmp)
    Image.new("RGB", (40, 30)).save(tmp_path / "b.png", pnginfo=info)
    (figure,) = pictures(load(tmp_path / "b.png"))
    assert figure.metadata["caption"] == "Count of 2021. Enten im Frühjahr. By the lake"


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")


def test_the_pixel_limit_is_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(60000, 50000))
    with pytest.raises(LoadError, match=r"60000 x 50000 pixels .*over the limit of 100 million"):
        load(path)
    with pytest.raises(EvidenceError, match="60000 x 50000"):
        ImageLoader().picture(local_file(path), Evidence(source="a.png", sha256="", media_type="", kind="figure"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".webp", ".bmp"])
def test_damaged_files_are_load_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.effect_noise((300, 300), 50).convert("RGB").save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(LoadError, match=r"is damaged|no readable picture"):
        load(path)


def test_a_crop_shows_what_the_evidence_says(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("RGB", (1000, 1000), "white")
    picture.paste("red", (500, 500, 1000, 1000))
    picture.save(path)
    file = local_file(path)
    evidence = Evidence(source="a.png", sha256="", media_type="image/png", kind="ocr", bbox=(0.5, 0.5, 1, 1))
    shown = ImageLoader().picture(file, evidence)
    crop = Image.open(io.BytesIO(shown.data)).convert("RGB")
    assert crop.size == pytest.approx((510, 510), abs=2)
    assert crop.getpixel((250, 250)) == (255, 0, 0)
    assert shown.media_type == "image/png"


def test_large_pictures_are_shown_smaller(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (3000, 1500), "navy").save(path)
    whole = Evidence(source="a.png", sha256="", media_type="image/png", kind="figure")
    shown = ImageLoader().picture(local_file(path), whole)
    assert (Image.open(io.BytesIO(shown.data)).size, shown.media_type) == ((2000, 1000), "image/jpeg")


def line(text: str, x0: float, y0: float, x1: float, height: float = 0.02) -> OcrLine:
    return OcrLine(text, (x0, y0, x1, y0 + height), 0.9)


def test_rows_keep_labels_and_values_on_one_line() -> None:
    lines = [line("TOTAL", 0.1, 0.1, 0.2), line("14.50", 0.6, 0.1, 0.7), line("Thank you", 0.1, 0.13, 0.3)]
    (block,) = ocr_blocks(lines, aspect=1)
    assert block.text == "TOTAL | 14.50\nThank you"
    assert block.box == pytest.approx((0.1, 0.1, 0.7, 0.15))


def test_prose_runs_on_and_loses_its_hyphens() -> None:
    lines = [
        line("The observers walked along the north-", 0.1, 0.10, 0.9),
        line("ern shore and counted every single", 0.1, 0.13, 0.9),
        line("pair of mallards they could find", 0.1, 0.16, 0.88),
        line("there.", 0.1, 0.19, 0.2),
    ]
    (block,) = ocr_blocks(lines, aspect=1)
    expected = (
        "The observers walked along the northern shore and counted every single pair of mallards they could find there."
    )
    assert block.text == expected


def test_long_texts_are_cut_at_gaps() -> None:
    lines = []
    for paragraph in range(6):
        for row in range(6):
            lines.append(line("ten words are in each of these lines of text", 0.1, 0.15 * paragraph + 0.022 * row, 0.9))
    blocks = ocr_blocks(lines, aspect=1, words=130)
    assert [len(b.text.split()) for b in blocks] == [120, 120, 120]
    assert blocks[1].box[1] == pytest.approx(0.3)


def test_corpus_amounts_stand_beside_their_labels(corpus: Path) -> None:
    texts = "\n".join(n.text for n in passages(load(corpus / "images" / "invoice_a.jpg")))
    assert "TOTAL DUE | $610.00" in texts
    assert "SALES TAX | $10.00" in texts


def test_a_picture_without_words_is_named_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "Red_panda-2019.png"
    Image.effect_noise((200, 150), 20).save(path)
    (figure,) = (item for item in ImageLoader().load(local_file(path), Tools()) if isinstance(item, ImageNode))
    assert (figure.text, figure.metadata["title"]) == ("", "Red panda 2019")


def test_open_pictures_leave_the_process_as_it_was(tmp_path: Path) -> None:
    """As when two threads draw."""
    path = tmp_path / "card.png"
    card("Hello").save(path)
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    first, second = opened(path, 1.0), opened(path, 1.0)
    for one in (first, second):
        one.__enter__()
        assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (filters, limit)
    for one in (first, second):
        one.__exit__(None, None, None)
        assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == (filters, limit)
