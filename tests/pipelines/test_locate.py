"""Where quotes stand: among words with boxes, and in real pages, scans, pictures and slides."""

import io
from pathlib import Path
from typing import Any, cast

import pymupdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from sensorium.errors import EvidenceError
from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
from sensorium.loaders.base import Loader, SourceFile, Word, local_file
from sensorium.models import OCR_ENGINES
from sensorium.nodes import Box, Evidence, Kind, around
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.pipelines.locate import lines_of
from sensorium.pipelines.results import Citation
from sensorium.pipelines.shown import Shown

TABLE = ["Lighthouse 2023 2024", "Sandreef 18,760 20,115", "Old Mole 9,430 12,080", "Old Pier 9,431 2,024"]
PROSE = ["Storm Ingrid damaged the sea wall of Cape", "Ebb. The repair is expen-", "sive: it costs 184,000 euros [2]."]


def words(lines: list[str]) -> list[Word]:
    """Words on lines of a page, a line a tenth high, ten letters a tenth wide."""
    found = []
    for row, line in enumerate(lines):
        at = 0
        for text in line.split():
            x = line.index(text, at)
            at = x + len(text)
            found.append(Word(text, (x / 100, row / 10, at / 100, row / 10 + 0.08)))
    return found


def covered(boxes: tuple[Box, ...], among: list[Word]) -> str:
    """The words whose middle lies in the boxes."""
    return " ".join(
        word.text for word in among
        if any(b[0] <= (word.box[0] + word.box[2]) / 2 <= b[2] and b[1] <= word.box[1] + 0.04 <= b[3] for b in boxes)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("quote", "lines", "found"),
    [
        (
            "The repair is expensive: it costs 184,000 euros.",
            PROSE,
            "The repair is expen- sive: it costs 184,000 euros",
        ),
        ("the sea wall of Cape Ebb", PROSE, "the sea wall of Cape Ebb."),
        ("Storm Ingrid … 184,000 euros", PROSE, "Storm Ingrid 184,000 euros"),
        ("The repair is expensive: it cost 184,000 euros [2].", PROSE, "The repair is it 184,000 euros [2]."),
        ("Sandreef | 2023: 18,760 | 2024: 20,115", TABLE, "Sandreef 18,760 20,115"),
        ("Old Mole | 2024: 12,080", TABLE, "Old Mole 12,080"),
        ("Old Pier | 2024: 2,024", TABLE, "Old Pier 2,024"),
        ("sea", PROSE, "sea"),
        ("ea", PROSE, ""),
        ("Fishing quotas were lowered again in the spring.", PROSE, ""),
        ("", PROSE, ""),
        (" … | ", PROSE, ""),
    ],
)
def test_quotes_are_found_among_words(quote: str, lines: list[str], found: str) -> None:
    page = words(lines)
    boxes = lines_of(quote, page)
    assert covered(boxes, page) == found


def test_each_line_has_a_box_of_its_own() -> None:
    boxes = lines_of("wall of Cape Ebb. The repair", words(PROSE))
    assert [round(box[1], 1) for box in boxes] == [0.0, 0.1]
    assert around(boxes) == pytest.approx((0.0, 0.0, 0.41, 0.18))


def test_no_words_no_boxes() -> None:
    assert lines_of("anything", []) == ()


class Place:
    """A file, and what shows evidence in it."""

    def __init__(self, path: Path, **evidence: Any) -> None:
        self.file: SourceFile = local_file(path)
        self.read = 0
        drawer = PictureDrawer(self._loader, AssetStore(str(path.parent / "assets")))
        self.shown = Shown(drawer, self._loader, self._ocr)
        kind: Kind = evidence.pop("kind", "text")
        self.evidence = Evidence(
            source=self.file.source, sha256=self.file.sha256, media_type=self.file.media_type, kind=kind, **evidence
        )  # fmt: skip

    def _loader(self, media_type: str) -> Loader:
        return cast(Loader, LOADERS.create(BY_MEDIA_TYPE[media_type]))

    def _ocr(self) -> Any:
        self.read += 1
        return OCR_ENGINES.create("tiny")

    def citation(self, quote: str) -> Citation:
        return Citation(1, quote, 1.0, self.evidence, "id", {"root": self.file.root}, self.shown)


def page_with(path: Path, rotation: int = 0, crop: bool = False) -> Place:
    document = pymupdf.open()
    page = document.new_page(width=400, height=300)
    for row, text in enumerate(["The lamp was lit in 1871.", "It has two towers.", "Its keeper is Marta Lindqvist."]):
        page.insert_text((100, 150 + 30 * row), text, fontsize=12)
    page.set_rotation(rotation)
    if crop:
        page.set_cropbox(pymupdf.Rect(50, 60, 400, 300))
    document.save(path)
    return Place(path, page=1, bbox=(0.01, 0.01, 0.99, 0.99))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [False, True])
def test_a_quote_in_a_page_is_marked_where_it_is_drawn(tmp_path: Path, rotation: int, crop: bool) -> None:
    place = page_with(tmp_path / "page.pdf", rotation, crop)
    citation = place.citation("It has two towers.")
    box = citation.quote_box
    assert box is not None
    assert (box[2] - box[0]) * (box[3] - box[1]) < 0.05
    whole = place.shown(place.evidence.model_copy(update={"bbox": None}), citation.metadata)
    with Image.open(io.BytesIO(whole.data)) as page:
        grey = page.convert("L")
    x0, y0, x1, y1 = (round(v * (grey.width, grey.height)[i % 2]) for i, v in enumerate(box))
    inked = grey.point(lambda v: 255 * (v < 128)).getbbox()
    within = grey.crop((x0, y0, x1, y1)).point(lambda v: 255 * (v < 128)).getbbox()
    assert inked is not None
    assert within is not None, "there is ink in the box"
    shorter = min(x1 - x0, y1 - y0)
    assert shorter < 0.3 * min(inked[2] - inked[0], inked[3] - inked[1]) + 20, "of one line"
    assert place.read == 0, "the text layer is enough"


def test_the_highlighted_picture_shows_the_region_with_the_quote_marked(tmp_path: Path) -> None:
    place = page_with(tmp_path / "page.pdf")
    with Image.open(io.BytesIO(place.citation("It has two towers.").highlighted().data)) as picture:
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20) or ()}
    assert (255, 236, 130) in colours
    assert (255, 255, 255) in colours
    missed = place.citation("Nothing of this kind stands there.")
    assert missed.quote_box is None
    assert missed.highlighted().note == "the quote was not found in it"
    assert place.read == 1, "the page was read as a picture, once"


def letter(path: Path) -> None:
    picture = Image.new("RGB", (900, 500), "white")
    font = ImageFont.load_default(32)
    lines = [
        "Harbour office of Eastmouth",
        "The permit carries the number EM-4471.",
        "It is valid until 31 March 2027.",
    ]
    for row, text in enumerate(lines):
        ImageDraw.Draw(picture).text((60, 80 + 110 * row), text, fill="black", font=font)
    picture.save(path)


@pytest.mark.parametrize("kind", ["picture", "scan"])
def test_a_quote_in_a_picture_is_found_by_reading_it(tmp_path: Path, kind: str) -> None:
    letter(tmp_path / "letter.png")
    place = Place(tmp_path / "letter.png", kind="ocr", bbox=(0.0, 0.05, 1.0, 0.95))
    if kind == "scan":
        document = pymupdf.open()
        page = document.new_page(width=450, height=250)
        page.insert_image(page.rect, filename=str(tmp_path / "letter.png"))
        document.save(tmp_path / "letter.pdf")
        place = Place(tmp_path / "letter.pdf", kind="ocr", page=1, bbox=(0.0, 0.05, 1.0, 0.95))
    citation = place.citation("The permit carries the number EM-4471.")
    box = citation.quote_box
    assert box is not None
    assert 0.33 < box[1] < 0.40
    assert 0.42 < box[3] < 0.50
    assert citation.located()["quote_box"] == [round(v, 5) for v in box]
    again = place.citation("It is valid until 31 March 2027.").quote_box
    assert again is not None
    assert again[1] > box[3]
    assert place.read == 1, "a region is read once"


def test_a_source_that_changed_gives_no_box(tmp_path: Path) -> None:
    place = page_with(tmp_path / "page.pdf")
    (tmp_path / "page.pdf").write_bytes(b"changed")
    citation = place.citation("It has two towers.")
    assert citation.quote_box is None
    with pytest.raises(EvidenceError, match="changed since it was indexed"):
        citation.highlighted()


def test_without_a_quote_nothing_is_read(tmp_path: Path) -> None:
    place = page_with(tmp_path / "page.pdf")
    assert place.citation("").lines == ()
    assert place.read == 0
    assert "quote_box" not in place.citation("It has").public()
