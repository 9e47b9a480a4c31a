"""A loader for tests that does what the file says, so that worker processes can be seen to survive it.

Each line of the file is one order; a line that is none becomes a paragraph.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders.base import Fault, Item, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.nodes import Evidence


class UpperReader(BaseReader):
    """A LlamaIndex reader as a user may have one."""

    def load_data(self, file: Path) -> list[Document]:
        return [Document(text=Path(file).read_text().upper())]


class FaultyLoader(Loader):
    name = "faulty"

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        make = NodeMaker(file)
        page = 1
        for line in file.path.read_text(encoding="utf-8", errors="replace").splitlines():
            order, _, value = line.partition(" ")
            if order == "PAGE":
                page += 1
            elif order == "MANY":
                for n in range(int(value)):
                    yield make.text("text", f"Paragraph {n} of many. " + "word " * 60, page=1 + n // 10)
            elif order == "FAULT":
                yield Fault(value, f"page {page}")
            elif order == "PICTURE":
                yield make.picture("figure", value, image_path=str(file.path), page=page)
            elif hasattr(self, order.lower()) and order.isupper():
                getattr(self, order.lower())(value)
            elif line.strip():
                yield make.text("text", line, page=page)

    def hang(self, _: str) -> None:
        while True:
            pass

    def sleep(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def kill(self, signal: str) -> None:
        os.kill(os.getpid(), int(signal))

    def segfault(self, _: str) -> None:
        ctypes.string_at(0)

    def exit(self, status: str) -> None:
        raise SystemExit(int(status))

    def eat(self, megabytes: str) -> None:
        self.eaten = bytearray(int(megabytes) * 1_000_000)

    def throw(self, words: str) -> None:
        raise ValueError(words)

    def refuse(self, words: str) -> None:
        raise LoadError(words, "Do something about it.")

    def recurse(self, _: str) -> None:
        self.recurse(_)

    def child(self, path: str) -> None:
        """Start a program of its own, note its process, and hang."""
        import subprocess

        Path(path).write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        self.hang("")

    def note(self, path: str) -> None:
        """Write down this process."""
        with Path(path).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        raise EvidenceError("nothing to draw")
