"""From an open document to nodes and faults, page by page."""

import re
from collections.abc import Iterator
from typing import Any

from sensorium.loaders._pdf import ocr
from sensorium.loaders._pdf.blocks import Block, continues_sentence
from sensorium.loaders._pdf.content import PageContent, read_content
from sensorium.loaders._pdf.figures import Figure
from sensorium.loaders._pdf.geometry import area, grow, overlap, union
from sensorium.loaders._pdf.layout import LayoutMode
from sensorium.loaders._pdf.opening import pdf_errors
from sensorium.loaders._pdf.render import encode, render
from sensorium.loaders._pdf.sections import Sections, read_outline
from sensorium.loaders._pdf.statistics import Statistics
from sensorium.loaders._pdf.structure import Part, analyse
from sensorium.loaders._pdf.tables import Table
from sensorium.loaders._pdf.titles import title_of
from sensorium.loaders.base import Fault, Item, NodeMaker, SourceFile, Tools
from sensorium.loaders.ocr_text import ocr_blocks
from sensorium.nodes import Box, Kind
from sensorium.ocr_types import OcrLine

_NUMBERED = re.compile(r"(fig(ure)?|table|chart|exhibit)\.?\s*\d", re.IGNORECASE)
_LEAST_FIGURE = 0.02  # of the page, for a figure without words


class Reader:
    """Reads one document.

    Args:
        document: Open PyMuPDF document with pages.
        file: Its source.
        tools: OCR, assets and limits.
        layout: When to ask the layout model.
        ocr_mode: When to recognise text.
    """

    def __init__(
        self, document: Any, file: SourceFile, tools: Tools, layout: LayoutMode, ocr_mode: ocr.OcrMode
    ) -> None:
        outline = read_outline(document)
        self._document = document
        self._file = file
        self._tools = tools
        self._layout = layout
        self._ocr_mode = ocr_mode
        self._sections = Sections(outline)
        self._statistics = Statistics(outline)
        self._maker = NodeMaker(file)
        self._content: PageContent

    def read(self, window: int) -> Iterator[Item]:
        """All nodes and faults; `window` pages are read ahead."""
        count = min(self._document.page_count, self._tools.limits.pages)
        yield from self._about_document()
        made = 0
        for start in range(0, count, window):
            ahead = []
            for number in range(start, min(start + window, count)):
                ahead.append(self._read_ahead(number))
            if start == 0:
                first = next((c for c in ahead if isinstance(c, PageContent)), None)
                self._maker.title = title_of(self._document.metadata or {}, first, self._statistics.style())
            for item in self._window(ahead):
                made += 1
                yield item
            ahead.clear()
        if not made:
            yield Fault("no text, table or picture was found")

    def _about_document(self) -> Iterator[Fault]:
        document, limit = self._document, self._tools.limits.pages
        if document.is_repaired:
            yield Fault("the file is damaged; what could be recovered was read")
        if document.page_count > limit:
            yield Fault(f"only the first {limit} of {document.page_count} pages were read", f"page {limit + 1}")
        for name in document.embfile_names():
            yield Fault(f"attachment {name} not indexed")

    def _read_ahead(self, number: int) -> PageContent | Fault:
        try:
            content = read_content(self._document[number])
        except pdf_errors() as fault:
            return Fault(f"cannot be read: {fault}", f"page {number + 1}")
        self._statistics.add(content)
        return content

    def _window(self, ahead: list[PageContent | Fault]) -> Iterator[Item]:
        for n, content in enumerate(ahead):
            if isinstance(content, Fault):
                yield content
                continue
            ahead[n] = Fault("")  # let go of what is done with
            try:
                yield from self._page(content)
            except pdf_errors() as fault:
                yield Fault(f"cannot be read: {fault}", f"page {content.number}")

    # -- one page ---------------------------------------------------------------------------------------------

    def _page(self, content: PageContent) -> Iterator[Item]:
        self._content = content
        page = self._document[content.number - 1]
        self._sections.start_page(content.number)
        if self._ocr_mode == "always" or ocr.is_scan(content) or ocr.is_garbage(content):
            yield from self._scan(page)
        else:
            last: Part | None = None
            for part in analyse(page, content, self._statistics, self._layout):
                yield from self._part(page, part, last)
                last = part
        for box, text in content.notes:
            yield self._node("text", text, box, role="annotation")

    def _part(self, page: Any, part: Part, last: Part | None) -> Iterator[Item]:
        if isinstance(part, Block):
            if part.kind == "heading":
                self._sections.heading(part)
            hidden = all(line.hidden for line in part.lines)
            goes_on = isinstance(last, Block) and continues_sentence(last, part)
            yield self._node("text", part.text, part.box, ocr_layer=hidden, continues=goes_on)
        elif isinstance(part, Table):
            yield self._node("table", part.markdown(), part.box, caption=part.caption)
        else:
            yield from self._figure(page, part)

    def _node(
        self, kind: Kind, text: str, box: Box, *, caption: str = "", role: str = "", ocr_score: float | str = "",
        ocr_layer: bool = False, continues: bool = False,
    ) -> Item:  # fmt: skip
        """A text node; marks that do not hold are left out of its metadata."""
        links = " ".join(dict.fromkeys(uri for b, uri in self._content.links if overlap(b, box) > 0.5 * area(b)))
        return self._maker.text(
            kind, text, section=self._sections.path, caption=caption, page=self._content.number,
            bbox=self._content.frame.fractions(box), links=links, page_label=self._label(),
            role=role, ocr_score=ocr_score, ocr_layer=ocr_layer or "", continues=continues or "",
        )  # fmt: skip

    def _label(self) -> str:
        label = self._content.label
        return label if label != str(self._content.number) else ""

    # -- pictures ---------------------------------------------------------------------------------------------

    def _figure(self, page: Any, figure: Figure) -> Iterator[Item]:
        """A figure with the text in it; a picture of running text becomes `ocr` nodes instead."""
        prose = 0.0
        for image in figure.images:
            if image.width * image.height > self._tools.limits.pixels * 1e6:
                yield self._fault(f"a picture of {image.width} x {image.height} pixels is over the limit")
                continue
            if not ocr.needs_ocr(image, self._content):
                continue
            lines = self._recognise(page, image.box)
            if lines is None:
                yield self._fault("the text of a picture was not read: OCR is switched off")
            elif ocr.is_prose(lines):
                prose += overlap(image.box, figure.box)
                yield from self._ocr_nodes(lines, image.box, figure.caption)
            else:
                figure.lines += ocr.as_labels(lines, image.box)
        if prose < 0.6 * area(figure.box):
            yield from self._figure_node(page, figure)

    def _figure_node(self, page: Any, figure: Figure) -> Iterator[Item]:
        content = self._content
        size = content.frame.width * content.frame.height
        if not figure.lines and not figure.caption and area(figure.box) < _LEAST_FIGURE * size:
            return
        box = content.frame.fractions(figure.box)
        path, asset = str(self._file.path), ""
        if self._tools.assets is not None:
            picture = render(page, content.frame.displayed(grow(figure.box, 2)), self._tools.limits.pixels)
            data, _, suffix = encode(picture)
            asset = self._tools.assets.put(data, suffix)
            path = self._tools.assets.path(asset)
        yield self._maker.picture(
            "figure", figure.text, image_path=path, asset=asset, section=self._sections.path,
            caption=figure.caption, page=content.number, bbox=box, page_label=self._label(),
        )  # fmt: skip

    def _scan(self, page: Any) -> Iterator[Item]:
        """A page without usable text: all of it is recognised."""
        width, height = self._content.frame.size
        whole = (0.0, 0.0, width, height)
        lines = self._recognise(page, whole)
        if lines is None:
            yield self._fault("a scanned page was not read: OCR is switched off")
            return
        yield from self._ocr_nodes(lines, whole, "")
        if not lines:
            images = [i for i in self._content.images if not self._statistics.is_repeated(i)]
            if images:
                yield from self._figure_node(page, Figure(union(i.box for i in images), images))

    def _recognise(self, page: Any, box: Box) -> list[OcrLine] | None:
        """Lines of a region in fractions of it; None when OCR is switched off."""
        if self._tools.ocr is None or self._ocr_mode == "off":
            return None
        return ocr.recognise(page, self._content.frame, box, self._tools.ocr, self._tools.limits.pixels)

    def _ocr_nodes(self, lines: list[OcrLine], region: Box, caption: str) -> Iterator[Item]:
        aspect = (region[2] - region[0]) / (region[3] - region[1])
        title = next((li.text for li in lines[:2] if _NUMBERED.match(li.text)), "")
        for block in ocr_blocks(lines, aspect):
            box = ocr.placed(block.box, region)
            yield self._node("ocr", block.text, box, caption=caption or title, ocr_score=block.score)

    def _fault(self, reason: str) -> Fault:
        return Fault(reason, f"page {self._content.number}")
