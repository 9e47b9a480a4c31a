"""Text recognition with the real models on pictures drawn here."""

import shutil
import socket
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sensorium.errors import ModelError
from sensorium.models import OCR_ENGINES, _ppocr
from sensorium.models.ocr import OCR_MODELS, RapidOcr
from sensorium.models.reading_order import Box, reading_order

PROSE = (
    "Mallards were counted at dawn by two",
    "observers on the northern shore who",
    "wrote down every pair they had seen",
    "and compared their notes at breakfast",
    "before the boats went out to the weir",
)


def drawn(
    texts: list[tuple[float, float, str]],
    size: tuple[int, int] = (900, 500),
    px: int = 22,
    mode: str = "RGB",
    paper: str | tuple[int, ...] = "white",
) -> Image.Image:
    picture = Image.new(mode, size, paper)
    font = ImageFont.load_default(px)
    for x, y, text in texts:
        ImageDraw.Draw(picture).text((x * size[0], y * size[1]), text, font=font, fill="black")
    return picture


def column(x: float, lines: tuple[str, ...] = PROSE, top: float = 0.25) -> list[tuple[float, float, str]]:
    return [(x, top + 0.08 * i, line) for i, line in enumerate(lines)]


def alike(got: Sequence[str], expected: Sequence[str]) -> float:
    return SequenceMatcher(None, "\n".join(got), "\n".join(expected), autojunk=False).ratio()


@pytest.fixture(scope="module")
def ocr() -> RapidOcr:
    return RapidOcr()


def words(ocr: RapidOcr, picture: Image.Image) -> list[str]:
    return [line.text for line in ocr.read(picture)]


def test_lines_have_text_box_and_score(ocr: RapidOcr) -> None:
    lines = ocr.read(drawn([(0.1, 0.1, "Invoice total"), (0.6, 0.1, "$1,284.50"), (0.1, 0.6, "Thank you")]))
    assert [line.text for line in lines] == ["Invoice total", "$1,284.50", "Thank you"]
    assert all(0.9 < line.score <= 1 for line in lines)
    x0, y0, x1, y1 = lines[1].box
    assert x0 == pytest.approx(0.6, abs=0.02)
    assert y0 == pytest.approx(0.1, abs=0.03)
    assert 0.6 < x1 < 0.8
    assert 0.13 < y1 < 0.2


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_is_read_in_place(ocr: RapidOcr, turn: int) -> None:
    page = drawn([(0.05, 0.1, "Spring count of the ducks"), *column(0.05)])
    upright = ocr.read(page)
    turned = ocr.read(page.rotate(turn, expand=True))
    assert [line.text for line in turned] == [line.text for line in upright]
    x0, y0, x1, y1 = upright[0].box
    expected = {90: (y0, 1 - x1, y1, 1 - x0), 180: (1 - x1, 1 - y1, 1 - x0, 1 - y0), 270: (1 - y1, x0, 1 - y0, x1)}
    assert turned[0].box == pytest.approx(expected[turn], abs=0.02)


def test_a_slanting_page_keeps_its_rows(ocr: RapidOcr) -> None:
    pairs = [(0.1, 0.15 + 0.12 * i, f"Label-{i}") for i in range(5)]
    pairs += [(0.7, 0.15 + 0.12 * i, f"{i}3.50") for i in range(5)]
    texts = words(ocr, drawn(pairs).rotate(3, fillcolor="white"))
    assert texts == [text for i in range(5) for text in (f"Label-{i}", f"{i}3.50")]


def test_columns_are_read_one_after_the_other(ocr: RapidOcr) -> None:
    other = tuple(reversed(PROSE))
    page = drawn([(0.2, 0.08, "A title that runs across both of the columns"), *column(0.03), *column(0.53, other)])
    assert words(ocr, page)[1:] == [*PROSE, *other]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_is_read(ocr: RapidOcr, mode: str) -> None:
    picture = drawn([(0.1, 0.3, "Total 14.50")], size=(400, 120))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype("uint16") * 257)
    else:
        picture = picture.convert("RGB").convert(mode)
    assert words(ocr, picture) == ["Total 14.50"]


def test_transparency_is_white(ocr: RapidOcr) -> None:
    picture = drawn([(0.1, 0.3, "Provisional")], size=(400, 120), mode="RGBA", paper=(0, 0, 0, 0))
    assert words(ocr, picture) == ["Provisional"]


@pytest.mark.parametrize(("px", "width"), [(9, 2800), (18, 4000)])
def test_small_print_on_a_large_sheet_is_found(ocr: RapidOcr, px: int, width: int) -> None:
    """Reduced to one run of the detector, the first vanishes and the second gets low."""
    texts = [(0.02, 0.1 + 2 * px / 2000 * i, line) for i, line in enumerate(PROSE)]
    assert alike(words(ocr, drawn(texts, size=(width, 2000), px=px)), PROSE) > 0.98


def test_doubtful_lines_are_read_again_by_the_larger_model() -> None:
    expected = [f"Reference MSFTGB{i}9 clause {i}B" for i in range(10)]
    texts = [(0.05, 0.05 + 0.09 * i, text) for i, text in enumerate(expected)]
    picture = drawn(texts, size=(420, 240), px=9).filter(ImageFilter.GaussianBlur(0.6))
    alone, helped = (alike(words(RapidOcr(fallback=f), picture), expected) for f in (False, True))
    assert helped > alone + 0.01


def test_nothing_is_found_where_nothing_is(ocr: RapidOcr) -> None:
    assert ocr.read(Image.new("RGB", (300, 200), "white")) == []
    assert ocr.read(Image.effect_noise((400, 300), 80)) == []


@pytest.mark.parametrize("size", [(1, 1), (9000, 1), (10, 5000)])
@pytest.mark.timeout(30)
def test_extreme_shapes_cost_little(ocr: RapidOcr, size: tuple[int, int]) -> None:
    assert ocr.read(Image.new("RGB", size, "white")) == []


def test_a_banner_is_read(ocr: RapidOcr) -> None:
    assert words(ocr, drawn([(0.01, 0.1, "Annual report")], size=(3000, 40))) == ["Annual report"]
    assert words(ocr, drawn([(0.05, 0.1, "Tall 12.50")], size=(150, 2500))) == ["Tall 12.50"]


def test_engines_are_registered_with_facts() -> None:
    assert OCR_ENGINES.names() == ["tiny", "small"]
    engine = OCR_ENGINES.create("small", threads=1)
    assert engine.facts is OCR_MODELS["small"]
    assert OCR_MODELS["tiny"].size_mb < OCR_MODELS["small"].size_mb


def test_no_name_is_looked_up_and_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **_: object) -> None:
        raise AssertionError(f"a network connection was tried: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    _ppocr.model.cache_clear()
    assert words(RapidOcr("small"), drawn([(0.1, 0.3, "Total 14.50")], size=(400, 120))) == ["Total 14.50"]


def test_a_damaged_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(_ppocr.__file__).parent / "data"
    shutil.copytree(data, tmp_path / "data")
    with (tmp_path / "data" / "PP-OCRv6_rec_tiny.onnx").open("r+b") as file:
        file.write(b"damage")
    monkeypatch.setattr(_ppocr, "__file__", str(tmp_path / "_ppocr.py"))
    _ppocr._checked.cache_clear()
    _ppocr.model.cache_clear()
    try:
        with pytest.raises(ModelError, match="PP-OCRv6_rec_tiny"):
            RapidOcr().read(Image.new("RGB", (64, 64)))
    finally:
        _ppocr._checked.cache_clear()
        _ppocr.model.cache_clear()


class TestReadingOrder:
    """Boxes only: `(x0, y0, x1, y1)` in pixels."""

    @staticmethod
    def lines(x0: float, x1: float, count: int, top: float = 0, pitch: float = 24) -> list[Box]:
        return [(x0, top + pitch * i, x1, top + pitch * i + 18) for i in range(count)]

    def order(self, *groups: list[Box]) -> list[int]:
        return reading_order([box for group in groups for box in group])

    def test_empty(self) -> None:
        assert reading_order([]) == []

    def test_two_columns(self) -> None:
        assert self.order(self.lines(0, 300, 8), self.lines(320, 620, 8)) == list(range(16))

    def test_three_columns(self) -> None:
        groups = [self.lines(x, x + 200, 6) for x in (0, 215, 430)]
        assert self.order(*groups) == list(range(18))

    def test_labels_and_values_stay_together(self) -> None:
        order = self.order(self.lines(0, 100, 6), self.lines(400, 460, 6))
        assert order == [i for pair in zip(range(6), range(6, 12), strict=True) for i in pair]

    def test_descriptions_and_amounts_stay_together(self) -> None:
        order = self.order(self.lines(0, 300, 8), self.lines(500, 560, 8))
        assert order == [i for pair in zip(range(8), range(8, 16), strict=True) for i in pair]

    def test_a_title_and_a_footer_across_the_columns(self) -> None:
        boxes: list[list[Box]] = [[(100.0, 0.0, 520.0, 30.0)], self.lines(0, 300, 6, 50), self.lines(320, 620, 6, 50)]
        assert self.order(*boxes, [(0.0, 300.0, 620.0, 320.0)]) == list(range(14))

    def test_full_lines_above_and_below_two_columns(self) -> None:
        above, below = self.lines(0, 620, 6), self.lines(0, 620, 6, 400)
        order = self.order(above, self.lines(0, 300, 8, 180), self.lines(320, 620, 8, 180), below)
        assert order == list(range(28))

    def test_prose_beside_a_figure(self) -> None:
        labels: list[Box] = [(400.0, 11.0 + 31 * i, 440.0, 29.0 + 31 * i) for i in range(7)]
        assert self.order(self.lines(0, 300, 10), labels) == list(range(17))
