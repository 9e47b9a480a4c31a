"""What is known of a document from the pages read so far: body type, running headers, repeated pictures."""

import re
from collections import Counter

from sensorium.loaders._pdf.blocks import BodyStyle, plain
from sensorium.loaders._pdf.content import Line, PageContent, PlacedImage
from sensorium.loaders._pdf.sections import OutlineEntry

_BAND = 0.085  # of the height, at the top and at the bottom
_PAGE_NUMBER = re.compile(r"[\divxlc\-–. ]{1,6}|page \d+( (of|/) \d+)?|\d+ ?/ ?\d+|\d+ of \d+")
_MOST_KEYS = 20_000


class Statistics:
    """Counters over pages; no page contents are kept."""

    def __init__(self, outline: list[OutlineEntry]) -> None:
        self._pages = 0
        self._lines = 0
        self._long = 0
        self._sizes: Counter[float] = Counter()
        self._fonts: Counter[str] = Counter()
        self._furniture: Counter[str] = Counter()
        self._images: Counter[tuple[int, int, int]] = Counter()
        self._outline = frozenset(plain(e.title) for e in outline)

    def add(self, content: PageContent) -> None:
        """Count a page."""
        self._pages += 1
        self._lines += len(content.lines)
        for line in content.lines:
            self._sizes[line.size] += len(line.text)
            self._long += line.text.count(" ") >= 5
            self._fonts[line.font] += len(line.text)
        height = content.frame.size[1]
        self._furniture.update({_key(li) for li in content.lines if _in_band(li, height)})
        self._images.update({i.key for i in content.images})
        if len(self._furniture) > _MOST_KEYS:
            self._furniture = Counter({k: n for k, n in self._furniture.items() if n > 1})

    def style(self) -> BodyStyle:
        """The style of the running text."""
        if not self._sizes:
            return BodyStyle(outline=self._outline)
        total = sum(self._fonts.values())
        share = {font: n / total for font, n in self._fonts.items()}
        return BodyStyle(
            self._sizes.most_common(1)[0][0], self._fonts.most_common(1)[0][0], share, self._outline,
            prose=self._long > 0.2 * self._lines,
        )  # fmt: skip

    def is_furniture(self, line: Line, height: float) -> bool:
        """Whether a line is a running header or footer, or a bare page number."""
        if not _in_band(line, height):
            return False
        if line.upright and _PAGE_NUMBER.fullmatch(line.text.strip().lower()):
            return True
        return self._furniture[_key(line)] >= max(2, min(3, self._pages // 2 + 1))

    def is_repeated(self, image: PlacedImage) -> bool:
        """Whether a picture is on more than half of the pages: a logo."""
        return self._pages >= 3 and self._images[image.key] > 0.5 * self._pages


def _key(line: Line) -> str:
    """The line without its page number: digits masked, numbers and marks at both ends cut off."""
    masked = re.sub(r"\d+", "#", " ".join(line.text.split())).lower()
    return masked.strip("# |•·–—-.,:") or masked


def _in_band(line: Line, height: float) -> bool:
    return line.box[3] < _BAND * height or line.box[1] > (1 - _BAND) * height or not line.upright
