"""Texts: plain, Markdown, HTML, and tables as CSV or TSV."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Field

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._text.decode import encoding_of, open_text
from sensorium.loaders._text.html import html_parts
from sensorium.loaders._text.markdown import markdown_parts
from sensorium.loaders._text.parts import Part
from sensorium.loaders._text.plain import plain_parts
from sensorium.loaders._text.table import TableError, table_parts
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.nodes import Evidence

# Markdown and HTML are read as a whole, and their trees are far larger than the files.
_WHOLE_MB = 32
_SHOWN = 1 << 20
_SINGLE_BYTE = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}


class TextLoader(Loader):
    """Loads texts: paragraphs with the path of headings above them, tables as Markdown.

    Nodes carry `line`, the line of the file at which they start (not for HTML); tables of CSV files `row_start`
    and `row_end`, counted from 1 without the header.

    Args:
        rows: Rows of a CSV or TSV file that make one node; each has the header.
    """

    name: ClassVar[str] = "text"

    def __init__(self, rows: Annotated[int, Field(ge=1)] = 50) -> None:
        self._rows = rows

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """See `Loader.load`."""
        parts = self._html(file) if file.media_type == "text/html" else self._decoded(file)
        make = NodeMaker(file)
        found = False
        for part in parts:
            if isinstance(part, Part):
                found = True
                yield _node(part, make)
            else:
                yield part
        if not found:
            raise LoadError("holds no text")

    def _decoded(self, file: SourceFile) -> Iterator[Part | Fault]:
        try:
            encoding = encoding_of(file.path)
        except OSError as fault:
            raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault
        if encoding in _SINGLE_BYTE:
            yield Fault(f"is no valid UTF-8 and was read as {_SINGLE_BYTE[encoding]}; some letters may be wrong")
        if file.media_type == "text/markdown":
            yield from markdown_parts(_whole(file).decode(encoding, "replace").replace("\r\n", "\n"))
        elif file.media_type in ("text/csv", "text/tab-separated-values"):
            yield from self._table(file, encoding)
        else:
            with open_text(file.path, encoding) as stream:
                yield from plain_parts(stream)

    def _table(self, file: SourceFile, encoding: str) -> Iterator[Part | Fault]:
        separator = "\t" if file.media_type == "text/tab-separated-values" else None
        with open_text(file.path, encoding, newline="") as stream:
            try:
                yield from table_parts(stream, separator, self._rows, PurePosixPath(file.source).stem)
            except TableError as fault:
                yield Fault(str(fault))

    def _html(self, file: SourceFile) -> Iterator[Part]:
        return html_parts(_whole(file))

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The text itself, at most its first megabyte: a text has no picture."""
        try:
            with file.path.open("rb") as stream:
                data = stream.read(_SHOWN + 1)
        except OSError as fault:
            raise EvidenceError(f"{file.source} cannot be read: {fault.strerror or fault}") from fault
        whole = "the whole text" if len(data) <= _SHOWN else "the first megabyte of the text"
        text = data[:_SHOWN].decode(encoding_of(file.path), "ignore")
        return Picture(text.encode(), "text/plain", f"{whole}; the quote says which passage")


def _node(part: Part, make: NodeMaker) -> Item:
    make.title = part.title
    line = {"line": part.line} if part.line else {}
    extra: dict[str, str | float | bool] = {**line, **part.extra}
    return make.text(part.kind, part.text, section=part.section, caption=part.caption, **extra)  # type: ignore[arg-type]


def _whole(file: SourceFile) -> bytes:
    size = file.path.stat().st_size
    if size > _WHOLE_MB << 20:
        raise LoadError(f"is {size >> 20} MB; Markdown and HTML are read up to {_WHOLE_MB} MB", "Split the file.")
    return file.path.read_bytes()
