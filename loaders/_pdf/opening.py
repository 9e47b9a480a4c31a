"""Opening PDF files, and what PyMuPDF raises."""

from pathlib import Path
from typing import Any

from sensorium.errors import LoadError
from sensorium.loaders.base import SourceFile
from sensorium.loaders.mupdf import import_pymupdf


def pdf_errors() -> tuple[type[Exception], ...]:
    """What PyMuPDF raises on damaged or oversized content."""
    pymupdf = import_pymupdf()
    return (RuntimeError, ValueError, IndexError, KeyError, MemoryError, pymupdf.mupdf.FzErrorBase)


def open_pdf(file: SourceFile, password: str | None) -> Any:
    """Open a PDF with PyMuPDF, its console messages silenced.

    Raises:
        LoadError: not a PDF, damaged beyond repair, without pages, or encrypted without the right password.
    """
    pymupdf = import_pymupdf()
    try:
        document = _opened(pymupdf, file.path)
    except OSError as fault:
        raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault
    except pdf_errors() as fault:
        # MuPDF's words for most damage are "Failed to open file", and the whole path.
        words = "it is truncated or damaged" if "ailed to open" in str(fault) else str(fault)
        raise LoadError(f"is not a readable PDF: {words}") from fault
    try:
        _check(document, password)
    except LoadError:
        document.close()
        raise
    return document


def _opened(pymupdf: Any, path: Path) -> Any:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # MuPDF takes names in UTF-8 only; on Linux they may be any bytes
        return pymupdf.open(stream=path.read_bytes(), filetype="pdf")
    return pymupdf.open(path)


def _check(document: Any, password: str | None) -> None:
    if not document.is_pdf:
        kind = (document.metadata or {}).get("format") or "another format"
        raise LoadError(f"is not a PDF: its content is {kind}")
    if document.needs_pass:
        if password is None:
            raise LoadError("is encrypted: a password is needed", "Set loaders: {pdf: {password: ...}}.")
        if not document.authenticate(password):
            raise LoadError("is encrypted and the password given is wrong", "Check loaders: {pdf: {password: ...}}.")
    if document.page_count == 0:
        raise LoadError("has no pages: it is empty, truncated or damaged beyond repair")
