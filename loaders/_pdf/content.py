"""What MuPDF knows about one page, read once, in the upright reading frame."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sensorium.loaders._pdf.geometry import Frame, frame_of, holds
from sensorium.nodes import Box

Word = tuple[float, float, float, float, str]
_SUPERSCRIPT = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "01234567890123456789")
_FRACTION = re.compile(r"([⁰¹²³⁴⁵⁶⁷⁸⁹]+)\s?[⁄/]\s?([\d₀₁₂₃₄₅₆₇₈₉]+)")
_SYMBOL_BULLET = re.compile(r"^[\uf000-\uf0ff](?=\s|$)")  # from symbol fonts, which have no characters of their own
_RAISED = re.compile(r"\d{1,3}(,\d{1,3})*")


@dataclass(slots=True)
class Line:
    """One line of text.

    Attributes:
        box: In reading coordinates.
        text: Stripped text; raised digits (footnote marks, exponents) as superscript characters.
        size: Type size in points, to the half point.
        bold: Most of it is bold.
        font: Its main font.
        block: Number of MuPDF's text block.
        upright: Runs from left to right.
        hidden: Drawn invisibly: the text layer of a scan.
    """

    box: Box
    text: str
    size: float
    bold: bool = False
    font: str = ""
    block: int = 0
    upright: bool = True
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """A raster picture on the page; `key` is the same where the same picture is drawn again."""

    box: Box
    width: int
    height: int
    key: tuple[int, int, int]


@dataclass(slots=True)
class PageContent:
    """A page's text and pictures (1-based `number`); drawings are read when they are needed."""

    number: int
    frame: Frame
    lines: list[Line] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    images: list[PlacedImage] = field(default_factory=list)
    links: list[tuple[Box, str]] = field(default_factory=list)
    notes: list[tuple[Box, str]] = field(default_factory=list)
    label: str = ""


def read_content(page: Any) -> PageContent:
    """Read a PyMuPDF page. The text page is made once for lines and words."""
    import pymupdf

    flags = pymupdf.TEXTFLAGS_DICT & ~pymupdf.TEXT_PRESERVE_IMAGES & ~pymupdf.TEXT_PRESERVE_LIGATURES
    textpage = page.get_textpage(flags=flags | pymupdf.TEXT_MEDIABOX_CLIP)
    blocks = textpage.extractDICT()["blocks"]
    frame = frame_of(page, _main_direction(blocks))
    raised: list[tuple[Box, str]] = []
    lines = [line for n, block in enumerate(blocks) for line in _lines(block, n, frame, raised)]
    words = [(*frame.read(w[:4]), w[4]) for w in textpage.extractWORDS()] if lines else []
    return PageContent(
        number=page.number + 1,
        frame=frame,
        lines=lines,
        words=_raise(words, raised),
        images=_images(page, frame, bool(lines)),
        links=_links(page, frame),
        notes=_notes(page, frame),
        label=page.get_label(),
    )


def _main_direction(blocks: list[dict[str, Any]]) -> tuple[float, float]:
    """The direction in which most characters run (in unrotated coordinates); upright on a tie or without text."""
    count: Counter[tuple[int, int]] = Counter()
    for block in blocks:
        for line in block["lines"]:
            x, y = line["dir"]
            count[round(x), round(y)] += sum(len(span["text"]) for span in line["spans"])
    if not count:
        return 1.0, 0.0
    (x, y), _ = count.most_common(1)[0]
    return (float(x), float(y)) if abs(x) + abs(y) == 1 else (1.0, 0.0)


def _lines(block: dict[str, Any], number: int, frame: Frame, raised: list[tuple[Box, str]]) -> list[Line]:
    found = []
    m = frame.matrix
    for raw in block["lines"]:
        parts, sizes, bold, total, hidden = [], 0.0, 0, 0, 0
        fonts: dict[str, int] = {}
        for span in raw["spans"]:
            text = span["text"]
            count = len(text.strip())
            flags = span["flags"]
            if flags & 1 and count and _RAISED.fullmatch(text.strip()):
                text = text.translate(_SUPERSCRIPT)
                raised.append((frame.read(span["bbox"]), text.strip()))
            parts.append(text)
            total += count
            sizes += span["size"] * count
            bold += count if flags & 16 or "bold" in span["font"].lower() else 0
            fonts[span["font"]] = fonts.get(span["font"], 0) + count
            # Render mode 3: neither filled nor stroked.
            hidden += count if span.get("alpha", 255) == 0 and not span.get("char_flags", 16) & 16 else 0
        text = _SYMBOL_BULLET.sub("•", _plain_fractions("".join(parts)).strip())
        if not text or not total:
            continue
        x, y = raw["dir"]
        upright = m[0] * x + m[2] * y > 0.9
        size = round(sizes / total * 2) / 2
        font = max(fonts, key=lambda f: fonts[f])
        box = frame.read(raw["bbox"])
        found.append(Line(box, text, size, bold > 0.6 * total, font, number, upright, hidden > 0.5 * total))
    return found


def _raise(words: list[Word], raised: list[tuple[Box, str]]) -> list[Word]:
    """Words with their footnote marks raised, so that "2005" with a raised 1 is not read as 20051."""
    if not raised:
        return words
    out = []
    for word in words:
        text = word[4]
        for box, mark in raised if any(c.isdigit() for c in text) else ():
            if not (word[1] - 2 <= box[1] and box[3] <= word[3] + 2 and holds((*word[:2], word[2] + 1, word[3]), box)):
                continue
            plain = mark.translate(_PLAIN)
            if text.endswith(plain):
                text = text[: -len(plain)] + mark
            elif text.startswith(plain):
                text = mark + text[len(plain) :]
        out.append((*word[:4], _plain_fractions(text)))
    return out


def _plain_fractions(text: str) -> str:
    """Fractions such as "¹⁄₄" and "¹/4" as "1/4", which a search finds."""
    if "⁄" not in text and "/" not in text:
        return text
    return _FRACTION.sub(lambda m: (m[1] + "/" + m[2]).translate(_PLAIN), text)


def _images(page: Any, frame: Frame, has_text: bool) -> list[PlacedImage]:
    """Pictures that the page draws. Reading them costs an interpretation, so resources are looked at first."""
    if has_text and not page.get_images():
        return []
    width, height = frame.size
    found = []
    for info in page.get_image_info():
        x0, y0, x1, y1 = frame.read(info["bbox"])
        box = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
        if box[0] < box[2] and box[1] < box[3]:
            key = (info["width"], info["height"], info["size"])
            found.append(PlacedImage(box, info["width"], info["height"], key))
    return found


def _links(page: Any, frame: Frame) -> list[tuple[Box, str]]:
    if page.first_link is None:
        return []
    return [(frame.read(link["from"]), link["uri"]) for link in page.get_links() if link.get("uri")]


def _notes(page: Any, frame: Frame) -> list[tuple[Box, str]]:
    """Comments that the page does not show: sticky notes and remarks on highlights. FreeText is page text already."""
    if page.first_annot is None:
        return []
    found = []
    for annot in page.annots():
        text = (annot.info.get("content") or "").strip()
        if text and annot.type[1] not in ("FreeText", "Popup"):
            found.append((frame.read(annot.rect), text))
    return found
