"""Weaviate through four clients on one server: ours, LlamaIndex's stock store, Haystack's, and the bare client.

`python -m benchmarks.weaviate [--objects N] [--haystack PYTHON] [--indexes]`

Each client runs in a process of its own, with the same vectors and passages in collections of its own. They write in
turn, 2,500 objects at a time, and ask in turn, ten questions at a time, in another order each time, so that a drift
of the machine's speed hits all of them alike; ratios and differences are medians over what was done side by side.
Where other programs share the processors, their time says more than the clock's. `--haystack` names a Python in whose
environment weaviate-haystack is installed. `--indexes` measures recall against exact search and memory by kind of
index instead, each on a fresh server.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, median, table
from benchmarks.weaviate_clients.data import SOURCE, exact, make
from sensorium.stores._weaviate.server import EmbeddedServer, start

CLIENTS = {"bare client": "bare", "ours": "ours", "stock": "stock", "haystack": "haystack_store"}
KINDS = ("dense", "bm25", "hybrid", "filtered")
FLOORED = ("dense", "bm25", "filtered")
REFUSED = 2_000
BLOCK = 10
INDEXES: dict[str, dict[str, Any]] = {
    "hnsw (default)": {},
    "hnsw, rq 8": {"quantisation": "rq"},
    "hnsw, rq 1": {"quantisation": "rq", "bits": 1},
    "flat": {"index": "flat"},
    "multi, muvera": {},
    "multi, muvera, rq": {"quantisation": "rq"},
}


class Worker:
    """A client in a process of its own.

    Args:
        name: Module in `weaviate_clients`.
        settings: See there.
        python: Interpreter that runs it.
    """

    def __init__(self, name: str, settings: dict[str, Any], python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.weaviate_clients.worker", name, json.dumps(settings)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def __call__(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have one thing done."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"The worker ended with code {self.process.wait()}; see its words above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def settings(server: EmbeddedServer, folder: Path, collection: str, **more: Any) -> dict[str, Any]:
    """What a worker needs to know."""
    return {"port": server.http_port, "grpc_port": server.grpc_port, "api_key": server.api_key,
            "folder": str(folder), "collection": collection, **more}  # fmt: skip


@contextmanager
def running(scratch: str) -> Iterator[tuple[EmbeddedServer, Path]]:
    """A fresh server and a folder for the vectors."""
    folder = Path(scratch)
    (folder / "data").mkdir(exist_ok=True)
    # The stock store declares four properties and leaves all others to the server's guesses.
    with start(folder / "server", settings={"AUTOSCHEMA_ENABLED": "true"}) as server:
        yield server, folder / "data"


def note(text: str) -> None:
    """Progress, on stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def in_turn(workers: dict[str, Worker], turn: int) -> list[str]:
    """Names of the clients in any order, so that each follows each.

    What one leaves the server to do (logs, garbage) is done while the next one writes.
    """
    return random.Random(turn).sample(list(workers), len(workers))


def server_seconds(server: EmbeddedServer) -> float:
    """Processor time of the server so far."""
    values = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def write_all(server: EmbeddedServer, workers: dict[str, Worker], count: int) -> dict[str, list[dict[str, Any]]]:
    """All objects through all clients, in turn and in another order each time."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    names = list(workers)
    for turn, first in enumerate(range(0, count, SOURCE)):
        last = min(first + SOURCE, count)
        for name in in_turn(workers, turn):
            before = server_seconds(server)
            run = workers[name]("write", first=first, last=last) | {"first": first, "objects": last - first}
            runs[name].append(run | {"server": server_seconds(server) - before})
        note(f"{last} objects written: " + ", ".join(f"{n} {runs[n][-1]['seconds']:.1f} s" for n in names))
    return runs


def ask_all(workers: dict[str, Worker], questions: int) -> dict[str, dict[str, dict[str, list[Any]]]]:
    """All kinds of queries through all clients: name, kind, figure."""
    results: dict[str, dict[str, dict[str, list[Any]]]] = {
        name: {kind: {"ms": [], "cpu": [], "found": []} for kind in KINDS} for name in workers
    }
    for kind in KINDS:
        for worker in workers.values():
            worker("query", kind=kind, numbers=list(range(BLOCK)))  # warms up
        for turn, first in enumerate(range(0, questions, BLOCK)):
            for name in in_turn(workers, turn):
                answer = workers[name]("query", kind=kind, numbers=list(range(first, min(first + BLOCK, questions))))
                for figure, values in answer.items():
                    results[name][kind][figure] += values
        note(f"{kind} asked")
    return results


def recall(found: list[list[int]], truth: list[list[int]]) -> float:
    """Share of the true nearest ten that was found."""
    return float(np.mean([len(set(f) & set(t)) / len(t) for f, t in zip(found, truth, strict=True)]))


def writing_table(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Objects/s, and ratios to the bare client and to the stock store."""
    rows: list[tuple[object, ...]] = [
        (
            "writing", "objects/s", "/ bare", "/ bare without publishing", "/ stock", "client µs/object",
            "server µs/object", "processor time, bare /", "client MB at 10,000 and at the end",
        )
    ]  # fmt: skip
    for name, chunks in runs.items():
        count = sum(c["objects"] for c in chunks)
        bare = _ratios(runs["bare client"], chunks, lambda c: c["seconds"])
        staged = _ratios(runs["bare client"], chunks, lambda c: c["seconds"] - c["extra"])
        stock = _ratios(runs["stock"], chunks, lambda c: c["seconds"])
        worked = _ratios(runs["bare client"], chunks, lambda c: c["cpu"] + c["server"])
        client, served = (sum(c[who] for c in chunks) / count * 1e6 for who in ("cpu", "server"))
        early = next((c["mb"] for c in chunks if c["first"] + c["objects"] >= 10_000), chunks[0]["mb"])
        rows.append(
            (
                name, f"{count / sum(c['seconds'] for c in chunks):.0f}", bare, staged, stock, f"{client:.0f}",
                f"{served:.0f}", worked, f"{early:.0f} / {chunks[-1]['mb']:.0f}",
            )
        )  # fmt: skip
    table(rows)


def _ratios(others: list[dict[str, Any]], chunks: list[dict[str, Any]], cost: Callable[[dict[str, Any]], float]) -> str:
    """How many times as fast as another client: over all objects, and the quartiles of the chunks."""
    theirs, own = [[cost(chunk) for chunk in side] for side in (others, chunks)]
    low, high = np.percentile(np.divide(theirs, own), (25, 75))
    return f"{sum(theirs) / sum(own):.2f} ({low:.2f}-{high:.2f})"


def asking_table(results: dict[str, dict[str, dict[str, list[Any]]]], truth: list[list[int]]) -> None:
    """Milliseconds by kind of query."""
    rows: list[tuple[object, ...]] = [
        ("query of ten", *(f"{kind} p50/p95 ms" for kind in KINDS), "client CPU ms (dense/hybrid)", "recall@10")
    ]
    for name, kinds in results.items():
        cells = [_milliseconds(kinds[kind]["ms"]) for kind in KINDS]
        cpu = "/".join(f"{median(kinds[kind]['cpu']):.2f}" for kind in ("dense", "hybrid"))
        rows.append((name, *cells, cpu, f"{recall(kinds['dense']['found'], truth):.3f}"))
    table(rows)
    ours, stock, bare = (results[name] for name in ("ours", "stock", "bare client"))
    pairs = list(zip(ours["hybrid"]["ms"], stock["hybrid"]["ms"], bare["hybrid"]["ms"], strict=True))
    print(f"\nHybrid, times as fast as stock: {median([s / o for o, s, _ in pairs]):.2f}, "
          f"as one hybrid call of the bare client: {median([b / o for o, _, b in pairs]):.2f}")  # fmt: skip
    for figure, what in (("ms", "milliseconds"), ("cpu", "milliseconds of the client's processor")):
        over = {k: median([o - b for o, b in zip(ours[k][figure], bare[k][figure], strict=True)]) for k in FLOORED}
        print(f"Ours over the bare client, {what}: " + ", ".join(f"{k} {ms:+.2f}" for k, ms in over.items()))


def _milliseconds(values: list[float]) -> str:
    return f"{median(values):.1f} / {np.percentile(values, 95):.1f}" if values else "none"


def compare(count: int, questions: int, haystack: str | None) -> None:
    """The clients against each other."""
    with tempfile.TemporaryDirectory() as scratch, running(scratch) as (server, folder), ExitStack() as opened:
        data = make(folder, count, questions, 384)
        workers = {}
        for name, module in CLIENTS.items():
            python = haystack if name == "haystack" else sys.executable
            if python:
                collection = f"Bench{module.split('_')[0].title()}"
                workers[name] = Worker(module, settings(server, folder, collection), python)
                opened.callback(workers[name].close)
        note(f"the bare client writes {workers['bare client']('calibrate')['settings']}")
        runs = write_all(server, workers, count)
        truth = exact(data)
        results = ask_all(workers, questions)
        refused = {name: worker("refused", count=min(REFUSED, count)) for name, worker in workers.items()}
    print(f"\n{count} objects of 384 dimensions, {questions} questions of a kind\n")
    writing_table(runs)
    print()
    asking_table(results, truth)
    print()
    rows = [(name, r["reported"], r["stored"], r["said"] or "nothing") for name, r in refused.items()]
    table([(f"1 in 1,000 of {min(REFUSED, count)} refused", "reported as stored", "stored", "what was said"), *rows])


def server_mb(server: EmbeddedServer, field: str = "RssAnon") -> float:
    """Memory of the server process."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure_index(options: dict[str, Any], multi: bool, count: int, questions: int) -> tuple[object, ...]:
    """Figures of one kind of index, on a fresh server."""
    with tempfile.TemporaryDirectory() as scratch, running(scratch) as (server, folder):
        data = make(folder, count, questions, 128 if multi else 384, parts=32 if multi else 0)
        worker = Worker("ours", settings(server, folder, "Bench", space=options))
        empty, seconds = server_mb(server), 0.0
        for first in range(0, count, SOURCE):
            seconds += worker("write", first=first, last=min(first + SOURCE, count))["seconds"]
        asked = worker("query", kind="dense", numbers=list(range(questions)))
        worker.close()
        memory = (f"{server_mb(server) - empty:.0f}", f"{server_mb(server, 'VmRSS'):.0f}")
        found = f"{recall(asked['found'], exact(data)):.3f}"
        return count, f"{count / seconds:.0f}", found, _milliseconds(asked["ms"]), *memory


def indexes(count: int, questions: int) -> None:
    """Recall and memory by kind of index."""
    rows: list[tuple[object, ...]] = [
        ("index", "objects", "objects/s", "recall@10", "p50 / p95 ms", "server MB over empty", "server RSS MB")
    ]
    for name, options in INDEXES.items():
        multi = name.startswith("multi")
        rows.append((name, *measure_index(options, multi, count // 10 if multi else count, questions)))
        note(f"{name}: {rows[-1]}")
    table(rows)


def main() -> None:
    """Read the arguments and run."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--objects", type=int, default=50_000)
    arguments.add_argument("--questions", type=int, default=200)
    arguments.add_argument("--haystack", metavar="PYTHON")
    arguments.add_argument("--indexes", action="store_true")
    given = arguments.parse_args()
    if given.indexes:
        indexes(given.objects, given.questions)
    else:
        compare(given.objects, given.questions, given.haystack)


if __name__ == "__main__":
    main()
