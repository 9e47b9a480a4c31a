"""What the benchmarks share: the files, runs in fresh processes, peak memory, tables."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]


def corpus() -> Path:
    """The real corpus: `SENSORIUM_CORPUS`, else `../shared/corpus`."""
    folder = Path(os.environ.get("SENSORIUM_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not (folder / "pdf").is_dir():
        sys.exit(f"The benchmarks need the corpus; it is not at {folder}. Set SENSORIUM_CORPUS.")
    return folder


def born_digital(folder: Path) -> list[Path]:
    """PDFs with text on every page that is not a picture: what a stock reader can read at all."""
    import pymupdf

    files = []
    for path in sorted((folder / "pdf").glob("*.pdf")):
        with pymupdf.open(path) as document:
            if sum(len(page.get_text()) for page in document) > 200 * len(document):
                files.append(path)
    return files


def fresh(module: str, *args: str) -> dict[str, Any]:
    """Run `python -m MODULE ARGS` in a new process with a new data folder; its last line is a JSON object."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", module, *args, "--scratch", scratch]
        # Installed packages are compiled once; a machine that forbids that would time the compiler.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{run.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return result


def in_turn(runs: int, variants: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Run variants in turn (A B A B ...), so that a drift of the machine's speed hits all of them alike."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for i in range(runs):
        for name, variant in variants.items():
            results[name].append(variant())
            print(f"  run {i + 1} {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    return results


def ratio(results: dict[str, list[dict[str, Any]]], a: str, b: str, key: str = "seconds") -> str:
    """Median of the pairwise ratios a / b, with their range."""
    ratios = [x[key] / y[key] for x, y in zip(results[a], results[b], strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def table(rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table; the first row is the header."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


class PeakMemory:
    """Peak proportional memory (MB) of this process and its children while the `with` block runs (Linux)."""

    def __enter__(self) -> Self:
        self.mb, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.is_set():
            total = 0.0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss / 1e6
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            self.mb = max(self.mb, total)
            time.sleep(0.1)
