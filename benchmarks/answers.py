"""What an answer by a multimodal LLM costs beyond the model: time over its call, time to the first word, memory.

`python -m benchmarks.answers [--runs N]` indexes the example documents, starts a scripted model in another process, and
compares in turn, with the same messages: the LlamaIndex LLM alone, and our synthesizer around it.
"""

import argparse
import asyncio
import json
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sensorium
from benchmarks.common import ROOT, fresh, table
from sensorium.pipelines.multimodal import Multimodal
from sensorium.pipelines.results import Hit

QUESTION = "How many visitors did Sandreef have in 2024, and how was the electricity of the towers used?"
REPLY = (
    "ANSWERABLE: yes\nSandreef had 20,115 visitors in 2024 [1]. The use of electricity of Gull Point fell by 62 "
    "percent [1]. Membership grew to 3,480 people [2]."
)
PICTURES = 6
Times = tuple[float, float]
"""Seconds of wall time, and of CPU time of this process, on which others' load hardly shows."""


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=15)
    arguments.add_argument("--serve", action="store_true", help="be the model (used by this script)")
    arguments.add_argument("--memory", action="store_true", help="measure memory alone (used by this script)")
    arguments.add_argument("--scratch", default="")
    given = arguments.parse_args()
    if given.serve:
        serve()
    elif given.memory:
        print(json.dumps(memory(Path(given.scratch))))
    else:
        times(given.runs)


def serve() -> None:
    """A model that answers at once, until its input ends."""
    from sensorium.testing.llm_server import ChatServer

    with ChatServer() as server:
        server.always(REPLY)
        print(server.base, flush=True)
        sys.stdin.read()


@contextmanager
def model() -> Iterator[dict[str, Any]]:
    """The `llm:` option of a model in another process."""
    command = [sys.executable, "-m", "benchmarks.answers", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        base = process.stdout.readline().strip()
        yield {"openai": {"model": "gpt-5-mini", "api_base": base, "api_key": "sk-loopback"}}
        process.stdin.close()


def opened(folder: Path, llm: dict[str, Any], index: bool = True) -> Any:
    """A knowledge base of the example documents."""
    if index:
        runpy.run_path(str(ROOT / "examples" / "make_documents.py"))["main"](folder / "documents")
    pipelines = {
        name: {"synthesize": {"multimodal": {"llm": llm, "max_images": most}}}
        for name, most in (("default", PICTURES), ("blind", 0))
    }
    kb = sensorium.open({"data": str(folder / "data"), "pipelines": pipelines})
    if index:
        kb.index(folder / "documents")
    return kb


def times(runs: int) -> None:
    """The table of times."""
    with tempfile.TemporaryDirectory() as scratch, model() as llm, opened(Path(scratch), llm) as kb:
        made, hits = kb.pipeline().synthesizer, kb.search(QUESTION)
        assert isinstance(made, Multimodal)
        first = spent(lambda: made.answer(QUESTION, hits))[0]
        request = made.request(QUESTION, hits)
        sizes = [picture.size for picture in request.pictures()]
        plain = made.models.first.llm
        asked = request.messages()

        def alone() -> Times:
            return spent(lambda: plain.chat(asked))

        def ours() -> Times:
            return spent(lambda: made.answer(QUESTION, hits))

        def without_pictures(drawn: bool) -> Times:
            forget(kb, drawn)
            return ours()

        whole = [(alone(), ours()) for _ in range(runs)]
        kept = [(alone(), without_pictures(drawn=False)) for _ in range(runs)]
        drawn = [(alone(), without_pictures(drawn=True)) for _ in range(runs)]
        words = [asyncio.run(first_words(made, hits, asked)) for _ in range(runs)]
    print(f"{len(sizes)} pictures: {', '.join(f'{w} x {h}' for w, h in sizes)}")
    print(f"first answer of the process, with the client's import and LibreOffice: {first * 1000:.0f} ms\n")
    table([
        ("ms beyond the model's call", "median", "lowest", "CPU median"),
        row("pictures at hand", whole),
        row("pictures from the data folder", kept),
        row("pictures drawn anew", drawn),
        row("to the first word of a stream", words),
    ])  # fmt: skip
    print("\nmemory:", fresh("benchmarks.answers", "--memory"))


def forget(kb: Any, drawn: bool) -> None:
    """Drop the pictures in memory; with `drawn` those in the data folder too."""
    kb.pipeline().synthesizer._maker._pictures._kept.clear()
    if drawn:
        kb._parts.drawn.clear()


async def first_words(made: Multimodal, hits: Sequence[Hit], asked: Sequence[Any]) -> tuple[Times, Times]:
    """Times to the first word: of the LLM alone, and of ours behind the reply's first line."""
    clock = Clock()
    stream = await made.models.first.llm.astream_chat(asked)
    text = ""
    async for piece in stream:
        text += piece.delta or ""
        if len(text.split()) > 2:  # the first line is not shown
            break
    alone = clock.read()
    await stream.aclose()
    clock = Clock()
    ours = made.astream(QUESTION, hits)
    await anext(ours)
    took = clock.read()
    await ours.aclose()
    return alone, took


def memory(scratch: Path) -> dict[str, float]:
    """Peak memory of a question with six pictures, drawn from their files, over what the process held before, in MB.

    The first one also brings in what draws pictures; before it, a question without pictures was answered.
    """

    def peak() -> float:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    with model() as llm:
        # Another process indexes: what that takes would hide what a request takes.
        indexing = "from pathlib import Path; from benchmarks.answers import *; "
        indexing += f"opened(Path({str(scratch)!r}), {llm!r})"
        subprocess.run([sys.executable, "-c", indexing], check=True, cwd=ROOT)
        with opened(scratch, llm, index=False) as kb:
            kb.ask(QUESTION, pipeline="blind")
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before = peak()
            pictures = kb.ask(QUESTION).trace["prompt"]["pictures"]
            first = peak() - before
            forget(kb, drawn=True)
            Path("/proc/self/clear_refs").write_text("5")
            before = peak()
            kb.ask(QUESTION)
            return {"pictures": len(pictures), "first_mb": first, "again_mb": peak() - before}


class Clock:
    """Wall time and this process's CPU time since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Times:
        """Seconds of both."""
        return time.perf_counter() - self._wall, time.process_time() - self._cpu


def spent(call: Callable[[], object]) -> Times:
    """Times of one call."""
    clock = Clock()
    call()
    return clock.read()


def row(name: str, pairs: Sequence[tuple[Times, Times]]) -> tuple[str, str, str, str]:
    """One row of the table: what ours took more than the model alone, pair by pair."""
    wall = [(ours[0] - alone[0]) * 1000 for alone, ours in pairs]
    cpu = [(ours[1] - alone[1]) * 1000 for alone, ours in pairs]
    return name, f"{statistics.median(wall):.1f}", f"{min(wall):.1f}", f"{statistics.median(cpu):.1f}"


if __name__ == "__main__":
    main()
