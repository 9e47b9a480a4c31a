"""PowerPoint decks (.pptx): text, tables, chart values, pictures and notes, slide by slide.

The slide picture of a citation comes from LibreOffice where it is installed, else it is a schematic drawing.
Reading a deck needs no LibreOffice, save for pictures in EMF, WMF and the like, which nothing else can draw.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, OcrEngine, Picture, SourceFile, Tools, Word
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.nodes import FULL, Box, Evidence

if TYPE_CHECKING:
    from sensorium.loaders._pptx.figures import Figures, Place
    from sensorium.loaders._pptx.office import Office
    from sensorium.loaders._pptx.package import Deck
    from sensorium.loaders._pptx.shapes import Shape

# Room around a crop, as a share of the slide.
_MARGIN = 0.015


class SlidesLoader(Loader):
    """Reads .pptx decks.

    Yields, for each slide: a `slide` node (title, then all text in reading order, SmartArt and alternative texts
    with it), a `table` node for each table and each chart, a `figure` node for each picture of some size and an
    `ocr` node for the text in it, a `notes` node for the speaker notes and one for each comment.

    Args:
        ocr: "auto" reads pictures that cover `min_picture` of the slide, repeated logos once; "always" reads every
            picture; "off" reads none.
        render: "office" draws slides with LibreOffice and fails without it; "schematic" never uses it; "auto" takes
            LibreOffice when it is there.
        min_picture: Smallest share of the slide that a picture must cover to become a node.
        notes: Read speaker notes and comments.
        dpi: Resolution of slide pictures.
        office_timeout: Seconds that LibreOffice may take for a deck.
        cache_dir: Folder where decks drawn by LibreOffice are kept; by default a temporary one.
    """

    name: ClassVar[str] = "slides"

    def __init__(
        self,
        *,
        ocr: Literal["auto", "off", "always"] = "auto",
        render: Literal["auto", "office", "schematic"] = "auto",
        min_picture: Annotated[float, Field(ge=0, le=1)] = 0.03,
        notes: bool = True,
        dpi: Annotated[int, Field(ge=18, le=600)] = 150,
        office_timeout: Annotated[float, Field(gt=0)] = 120,
        cache_dir: str | None = None,
    ) -> None:
        self._ocr = ocr
        self._render = render
        self._min_picture = min_picture
        self._notes = notes
        self._dpi = dpi
        self._office_timeout = office_timeout
        self._cache_dir = cache_dir
        self._office_kept: Office | None = None

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read a deck; see the class.

        Raises:
            LoadError: not a deck, damaged, encrypted, without slides, or over a limit.
        """
        from sensorium.loaders._pptx.package import open_deck

        deck = open_deck(file.path, tools.limits)
        if not len(deck):
            raise LoadError("the deck has no slides")
        make = NodeMaker(file, _title(deck))
        figures = self._figures(deck, file, tools)
        for number, slide in enumerate(islice(deck, tools.limits.pages), 1):
            if slide is None:
                yield Fault("the slide cannot be read: its part is missing or broken", f"slide {number}")
            else:
                yield from self._slide(slide, number, deck, figures, make)
        if len(deck) > tools.limits.pages:
            yield Fault(f"only the first {tools.limits.pages} of {len(deck)} slides were read")

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The slide, or the part of it that the evidence frames.

        Raises:
            EvidenceError: no such slide, or `render="office"` and LibreOffice is missing or failed.
        """
        from sensorium.loaders._pptx.pictures import encode, page_region

        if evidence.slide is None:
            raise EvidenceError("evidence in a deck must name a slide")
        page, document, note = self._page(file, evidence.slide)
        with document:
            drawn = page_region(page, _with_margin(evidence.bbox), self._dpi)
        data, media_type = encode(drawn)
        return Picture(data, media_type, note)

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """See `Loader.words`: the words of the slide as it is drawn."""
        from sensorium.loaders._pdf.words import recognised, written

        if evidence.slide is None:
            raise EvidenceError("evidence in a deck must name a slide")
        page, document, _ = self._page(file, evidence.slide)
        with document:
            return written(page, evidence.bbox) if ocr is None else recognised(page, evidence.bbox, ocr)

    def _figures(self, deck: "Deck", file: SourceFile, tools: Tools) -> "Figures":
        from sensorium.loaders._pptx.figures import Figures

        read = Tools(None if self._ocr == "off" else tools.ocr, tools.assets, tools.limits)
        office = None if self._render == "schematic" else self._office()
        every = self._ocr == "always"
        return Figures(deck, file.path, file.sha256, read, min_area=self._min_picture, every=every, office=office)

    def _office(self) -> "Office":
        from sensorium.loaders._pptx.office import Office

        if self._office_kept is None:
            self._office_kept = Office(self._cache_dir, self._office_timeout)
        return self._office_kept

    def _slide(self, slide: Any, number: int, deck: "Deck", figures: "Figures", make: NodeMaker) -> Iterator[Item]:
        from sensorium.loaders._pptx.figures import Place
        from sensorium.loaders._pptx.markup import BROKEN
        from sensorium.loaders._pptx.order import reading_order, slide_title
        from sensorium.loaders._pptx.shapes import SlideReader

        try:
            shapes = reading_order(SlideReader(slide, deck.width, deck.height).shapes())
        except BROKEN as fault:
            yield Fault(f"the slide cannot be read: {type(fault).__name__}: {fault}", f"slide {number}")
            return
        hidden: dict[str, str | int | float | bool] = (
            {"hidden": True} if slide._element.get("show") in ("0", "false") else {}
        )
        title = slide_title(shapes)
        place = Place(number, "" if title == make.title else title, hidden)
        empty = True
        for item in self._items(slide, shapes, place, figures, make):
            empty = False
            yield item
        if empty:
            yield Fault("no text, table or picture", f"slide {number}")

    def _items(self, slide: Any, shapes: "list[Shape]", place: "Place", figures: "Figures",
               make: NodeMaker) -> Iterator[Item]:  # fmt: skip
        yield from _text(shapes, place, make)
        pictures = 0
        for shape in shapes:
            if shape.note:
                yield Fault(shape.note, f"slide {place.slide}")
            if shape.kind == "picture":
                pictures += 1
                yield from figures.items(shape, place, pictures, make)
            else:
                yield from _tables(shape, place, make)
        if self._notes:
            yield from _notes(slide, place, make)

    def _page(self, file: SourceFile, slide: int) -> tuple[Any, Any, str]:
        """The slide as a PyMuPDF page, its open document, and a word of caution."""
        if self._render == "schematic":
            return self._schematic(file, slide, "")
        from sensorium.loaders._pptx.office import OfficeError

        try:
            return self._office_page(file, slide)
        except OfficeError as fault:
            if self._render == "office":
                raise EvidenceError(f"the slide cannot be drawn: {fault}.", "Or set render: auto.") from fault
            return self._schematic(file, slide, str(fault))

    def _office_page(self, file: SourceFile, slide: int) -> tuple[Any, Any, str]:
        pymupdf = import_pymupdf()

        office = self._office()
        path = office.cached(file.sha256)
        if path is None:
            path = office.pdf(file.path, file.sha256, len(_open_for_picture(file)))
        document = pymupdf.open(path)
        pages = len(document)
        if slide > pages:
            document.close()
            raise EvidenceError(f"there is no slide {slide}: the deck has {pages}")
        return document[slide - 1], document, ""

    def _schematic(self, file: SourceFile, number: int, reason: str) -> tuple[Any, Any, str]:
        from sensorium.loaders._pptx.markup import BROKEN
        from sensorium.loaders._pptx.preview import draw
        from sensorium.loaders._pptx.shapes import SlideReader

        deck = _open_for_picture(file)
        slide = next(islice(deck, number - 1, None), None)
        if slide is None:
            raise EvidenceError(f"there is no readable slide {number}: the deck has {len(deck)}")
        try:
            shapes = SlideReader(slide, deck.width, deck.height).shapes()
        except BROKEN as fault:
            raise EvidenceError(f"slide {number} cannot be read: {type(fault).__name__}: {fault}") from fault
        document = draw(shapes, deck.width, deck.height, Tools().limits.pixels)
        return document[0], document, f"schematic drawing{', ' + reason if reason else ''}"


def _title(deck: "Deck") -> str:
    from sensorium.loaders._pptx.markup import BROKEN
    from sensorium.loaders._pptx.order import deck_title, reading_order
    from sensorium.loaders._pptx.shapes import SlideReader

    try:
        first = next(iter(deck), None)
        opening = SlideReader(first, deck.width, deck.height).shapes() if first is not None else []
        return deck_title(deck.title, reading_order(opening))
    except BROKEN:  # the slide's own fault follows when it is read
        return ""


def _open_for_picture(file: SourceFile) -> "Deck":
    from sensorium.loaders._pptx.package import open_deck

    try:
        return open_deck(file.path, Tools().limits)
    except LoadError as fault:
        raise EvidenceError(f"the deck cannot be opened: {fault}") from fault


def _text(shapes: "list[Shape]", place: "Place", make: NodeMaker) -> Iterator[Item]:
    from sensorium.loaders._pptx.geometry import union

    parts = [(text, shape.box) for shape in shapes if (text := _words(shape))]
    if parts:
        box = union([box for _, box in parts if box]) or FULL
        text = "\n\n".join(text for text, _ in parts)
        yield make.text("slide", text, **_common(place, box))


def _words(shape: "Shape") -> str:
    return "\n".join(part for part in (shape.text, shape.alt) if part)


def _tables(shape: "Shape", place: "Place", make: NodeMaker) -> Iterator[Item]:
    from sensorium.loaders._pptx.tables import tabbed_tables

    tables = [shape.table] if shape.table else tabbed_tables(shape.lines) if shape.kind == "text" else []
    common = _common(place, shape.box or FULL) | ({"role": "chart"} if shape.kind == "chart" else {})
    for table in tables:
        yield make.text("table", table.markdown(), caption=table.caption, **common)


def _notes(slide: Any, place: "Place", make: NodeMaker) -> Iterator[Item]:
    from sensorium.loaders._pptx.markup import BROKEN
    from sensorium.loaders._pptx.shapes import comments, notes

    try:
        spoken, remarks = notes(slide), comments(slide)
    except BROKEN as fault:
        yield Fault(f"the notes cannot be read: {type(fault).__name__}: {fault}", f"slide {place.slide}")
        return
    common = _common(place, FULL)
    if spoken:
        yield make.text("notes", spoken, **common)
    for remark in remarks:
        yield make.text("notes", remark, role="comment", **common)


def _common(place: "Place", box: Box) -> dict[str, Any]:
    return {"section": place.title, "slide": place.slide, "bbox": box, **place.extra}


def _with_margin(box: Box | None) -> Box | None:
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return max(0.0, x0 - _MARGIN), max(0.0, y0 - _MARGIN), min(1.0, x1 + _MARGIN), min(1.0, y1 + _MARGIN)
