"""PDF: text in reading order, tables, figures, and OCR of what has no text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._pdf.layout import LayoutMode
from sensorium.loaders._pdf.ocr import OcrMode
from sensorium.loaders._pdf.opening import open_pdf, pdf_errors
from sensorium.loaders.base import Item, Loader, OcrEngine, Picture, SourceFile, Tools, Word
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.nodes import Evidence

_WINDOW = 32  # pages read ahead: enough to know the body type and the running headers
_MARGIN = 4.0  # points around a crop


class PdfLoader(Loader):
    """Reads PDF files.

    Args:
        layout: When to ask the layout model of PyMuPDF (slow, 141 MB): "auto" only for pages on which the rules
            seem to fail, "always", or "off".
        ocr: "auto" recognises pages and pictures without text; "always" every page, whatever its text layer says;
            "off" none (each skipped scan is a fault).
        password: Opens encrypted files.
    """

    name = "pdf"
    version = 1

    def __init__(self, layout: LayoutMode = "auto", ocr: OcrMode = "auto", password: str | None = None) -> None:
        super().__init__()
        self._layout: LayoutMode = layout
        self._ocr: OcrMode = ocr
        self._password = password

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read page by page; at most 32 pages of text are held at a time.

        Raises:
            LoadError: not a PDF, damaged beyond repair, without pages, or encrypted without the right password.
        """
        from sensorium.loaders._pdf.reader import Reader

        document = open_pdf(file, self._password)
        try:
            yield from Reader(document, file, tools, self._layout, self._ocr).read(_WINDOW)
        finally:
            document.close()
            # MuPDF keeps what it decoded, up to 256 MB, also of documents that are closed.
            import_pymupdf().TOOLS.store_shrink(100)

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The region of the evidence with a small margin, or the whole page, at 150 dpi.

        Raises:
            EvidenceError: the page does not exist or cannot be drawn.
        """
        from sensorium.loaders._pdf.render import encode, render, with_margin

        with self._page(file, evidence, "drawn") as page:
            box = evidence.bbox and with_margin(evidence.bbox, page.rect.width, page.rect.height, _MARGIN)
            data, media_type, _ = encode(render(page, box, pixels=25))
        return Picture(data, media_type)

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """See `Loader.words`."""
        from sensorium.loaders._pdf.words import recognised, written

        with self._page(file, evidence, "read") as page:
            return written(page, evidence.bbox) if ocr is None else recognised(page, evidence.bbox, ocr)

    @contextmanager
    def _page(self, file: SourceFile, evidence: Evidence, what: str) -> Iterator[Any]:
        """The page that evidence names, opened.

        Raises:
            EvidenceError: there is no such page, or what is done with it fails.
        """
        if evidence.page is None:
            raise EvidenceError(f"{file.source}: the evidence names no page")
        try:
            document = open_pdf(file, self._password)
        except LoadError as fault:
            raise EvidenceError(f"{file.source}: {fault.message}", fault.hint) from fault
        try:
            if evidence.page > document.page_count:
                raise EvidenceError(f"{file.source} has {document.page_count} pages, not {evidence.page}")
            yield document[evidence.page - 1]
        except pdf_errors() as fault:
            raise EvidenceError(f"{file.source}, page {evidence.page}: cannot be {what}: {fault}") from fault
        finally:
            document.close()
