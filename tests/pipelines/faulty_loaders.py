"""A loader for tests that does what the file says, so that worker processes can be seen to survive it.

Each line of the file is one order; a line that is none becomes a paragraph. `PART FILE` is a minute of a recording:
what is found in it is kept as a part, and the work of finding it noted in FILE.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders.base import Advance, Fault, Item, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.nodes import Evidence


class UpperReader(BaseReader):
    """A LlamaIndex reader as a user may have one."""

    def load_data(self, file: Path) -> list[Document]:
        return [Document(text=Path(file).read_text().upper())]


class FaultyLoader(Loader):
    name = "faulty"

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        make = NodeMaker(file)
        page, minute = 1, 0
        orders = file.path.read_text(encoding="utf-8", errors="replace").splitlines()
        minutes = sum(line.startswith("PART ") for line in orders)
        for line in orders:
            order, _, value = line.partition(" ")
            if order == "PAGE":
                page += 1
            elif order == "MANY":
                for n in range(int(value)):
                    yield make.text("text", f"Paragraph {n} of many. " + "word " * 60, page=1 + n // 10)
            elif order == "FAULT":
                yield Fault(value, f"page {page}")
            elif order == "BEGIN":
                yield Advance(0.0, float(value))
            elif order == "PART":
                minute += 1
                said = self.part(tools, f"{file.sha256}/speech/faulty/{minute}", Path(value))
                yield make.text("speech", said, start_s=60.0 * (minute - 1), end_s=60.0 * minute)
                yield Advance(60.0 * minute, 60.0 * minutes)
            elif order == "PICTURE":
                yield make.picture("figure", value, image_path=str(file.path), page=page)
            elif hasattr(self, order.lower()) and order.isupper():
                getattr(self, order.lower())(value)
            elif line.strip():
                yield make.text("text", line, page=page)

    def part(self, tools: Tools, key: str, note: Path) -> str:
        """What is said in a minute: from before, or found with much work."""
        if tools.parts and (before := tools.parts.get(key)) is not None:
            return before.decode()
        with note.open("a") as file:
            file.write(f"{key.rpartition('/')[2]}\n")
        said = f"Words of minute {key.rpartition('/')[2]}."
        if tools.parts:
            tools.parts.put(key, said.encode())
        return said

    def hang(self, _: str) -> None:
        while True:
            pass

    def sleep(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def pin(self, processor: str) -> None:
        os.sched_setaffinity(0, {int(processor)})

    def compute(self, seconds: str) -> None:
        """Takes so much time of a processor."""
        end = time.process_time() + float(seconds)
        while time.process_time() < end:
            pass

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

    def once(self, path: str) -> None:
        """Die, but only the first time."""
        if not Path(path).exists():
            Path(path).touch()
            time.sleep(0.7)  # what was read so far is sent
            self.kill("9")

    def note(self, path: str) -> None:
        """Write down this process."""
        with Path(path).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        raise EvidenceError("nothing to draw")

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The number of this process, once the orders are done."""
        for line in file.path.read_text().splitlines():
            order, _, value = line.partition(" ")
            getattr(self, order.lower())(value)
        return Picture(str(os.getpid()).encode(), "text/plain")
