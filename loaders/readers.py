"""LlamaIndex readers as loaders, for formats that have no loader of their own."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document, ImageDocument

from sensorium.errors import ConfigError, EvidenceError, LoadError, MissingExtraError
from sensorium.loaders._text.parts import pieces
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.nodes import Evidence

# What readers call the page, and the arguments that they take a file by.
_PAGE_KEYS = ("page_label", "page", "page_number", "source")
_FILE_ARGUMENTS = ("file", "file_path", "input_file", "path", "filename", "filepath")


class LlamaIndexReader(Loader):
    """Loads files through any LlamaIndex reader, such as `llama_index.readers.file.DocxReader`.

    Args:
        reader: Full name of the reader's class, "package.module.ClassName".
        options: Arguments of its constructor.
    """

    name: ClassVar[str] = "reader"

    def __init__(self, reader: str, options: dict[str, Any] | None = None) -> None:
        self.reader = reader
        self._reader = _reader(reader, options or {})

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """See `Loader.load`."""
        make = NodeMaker(file)
        found = False
        for number, document in enumerate(self._documents(file), 1):
            if isinstance(document, ImageDocument):
                yield Fault(f"{self.reader} gave a picture, which is not kept", f"document {number}")
            page = _page(document.metadata)
            make.title = str(document.metadata.get("title") or "")
            for paragraph in _paragraphs(document.text):
                found = True
                yield make.text("text", paragraph, page=page)
        if not found:
            raise LoadError(f"{self.reader} found no text in it")

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """There is none: a reader gives text only."""
        raise EvidenceError(f"{file.source} was read by {self.reader}, which draws no pictures; see the quote.")

    def _documents(self, file: SourceFile) -> Iterator[Document]:
        try:
            yield from self._reader.load_data(**{_file_argument(self._reader): file.path})
        except ModuleNotFoundError as fault:
            raise MissingExtraError(self.reader, fault.name or str(fault)) from fault
        except ImportError as fault:  # such readers say in their own words what to install
            raise LoadError(f"{self.reader} cannot run: {fault}") from fault
        except Exception as fault:  # a foreign reader may raise anything; its file has failed, and no more
            raise LoadError(f"{self.reader} could not read it: {type(fault).__name__}: {fault}") from fault


def _reader(name: str, options: dict[str, Any]) -> BaseReader:
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ConfigError(f"reader: {name!r} is no full class name.", "Write it as package.module.ClassName.")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as fault:
        missing = fault.name or module
        raise MissingExtraError(f"reader {name}", missing.replace("_", "-").replace(".", "-")) from fault
    if not (inspect.isclass(found) and issubclass(found, BaseReader)):
        raise ConfigError(f"reader: {name!r} is no LlamaIndex reader (a subclass of BaseReader).")
    try:
        return found(**options)
    except TypeError as fault:
        raise ConfigError(f"reader {name}: {fault}", "See 'options'.") from fault


def _file_argument(reader: BaseReader) -> str:
    """The argument of `load_data` that takes the file, else its first one."""
    names = list(inspect.signature(reader.load_data).parameters)
    return next((name for name in _FILE_ARGUMENTS if name in names), names[0] if names else "file")


def _page(metadata: dict[str, Any]) -> int | None:
    """The page, where the metadata says it as a whole number from 1."""
    for key in _PAGE_KEYS:
        value = str(metadata.get(key, "")).strip()
        if value.isdigit() and int(value) >= 1:
            return int(value)
    return None


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.replace("\r\n", "\n").split("\n\n"):
        yield from pieces(paragraph)
