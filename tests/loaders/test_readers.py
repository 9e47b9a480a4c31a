"""Any LlamaIndex reader as a loader."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document, TextNode

from sensorium.errors import ConfigError, EvidenceError, LoadError, MissingExtraError
from sensorium.loaders.base import Tools, local_file
from sensorium.loaders.readers import LlamaIndexReader
from sensorium.nodes import Evidence

HERE = f"{__name__}.PagedReader"


class PagedReader(BaseReader):
    """Gives a document for each line of a file."""

    def __init__(self, upper: bool = False) -> None:
        self.upper = upper

    def lazy_load_data(self, file_path: Path) -> Iterable[Document]:
        for number, line in enumerate(file_path.read_text().splitlines(), 1):
            yield Document(text=line.upper() if self.upper else line, metadata={"page_label": str(number)})

    def load_data(self, file_path: Path) -> list[Document]:
        return list(self.lazy_load_data(file_path))


class FailingReader(BaseReader):
    """Raises whatever it likes."""

    def load_data(self, file: Any) -> list[Document]:
        raise ZeroDivisionError("reader broke")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Test modules are imported without a package; readers are named by module."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, sys.modules["__main__"]))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(text)
    return path


def test_documents_become_nodes_with_pages(tmp_path: Path) -> None:
    file = local_file(write(tmp_path, "first page\nsecond page\n"))
    nodes = list(LlamaIndexReader(HERE, {"upper": True}).load(file, Tools()))
    assert all(isinstance(n, TextNode) for n in nodes)
    assert [(n.text, n.metadata["page"], n.metadata["kind"]) for n in nodes if isinstance(n, TextNode)] == [
        ("FIRST PAGE", 1, "text"),
        ("SECOND PAGE", 2, "text"),
    ]


def test_a_reader_of_llamaindex_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "one paragraph\n\nanother")
    reader = LlamaIndexReader("llama_index.core.readers.string_iterable.StringIterableReader")
    with pytest.raises(LoadError, match="StringIterableReader could not read it"):
        list(reader.load(local_file(path), Tools()))


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("Reader", None, ConfigError, "full class name"),
        ("no_such_package.Reader", None, MissingExtraError, "no-such-package"),
        ("json.JSONDecoder", None, ConfigError, "no LlamaIndex reader"),
        ("json.Missing", None, ConfigError, "no LlamaIndex reader"),
        (HERE, {"unknown": 1}, ConfigError, "unknown"),
    ],
)
def test_wrong_readers_are_named(name: str, options: dict[str, Any] | None, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        LlamaIndexReader(name, options)


def test_failures_and_empty_results_are_load_errors(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="ZeroDivisionError: reader broke"):
        list(LlamaIndexReader(f"{__name__}.FailingReader").load(local_file(write(tmp_path, "x")), Tools()))
    with pytest.raises(LoadError, match="found no text"):
        list(LlamaIndexReader(HERE).load(local_file(write(tmp_path, "\n")), Tools()))


def test_there_is_no_picture(tmp_path: Path) -> None:
    file = local_file(write(tmp_path, "x"))
    evidence = Evidence(source=file.source, sha256=file.sha256, media_type=file.media_type, kind="text")
    with pytest.raises(EvidenceError, match="draws no pictures"):
        LlamaIndexReader(HERE).picture(file, evidence)
