"""One client of the Weaviate benchmark in a process of its own, told on stdin what to do: `worker NAME SETTINGS`."""

import importlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.weaviate_clients.data import Data


def memory_mb() -> float:
    """Memory of this process, without the files mapped into it: the vectors are one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Worker:
    """Runs the commands and measures them."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self.data = Data.load(Path(settings["folder"]))
        self.client = importlib.import_module(f"benchmarks.weaviate_clients.{name}").Client(settings, self.data)

    def calibrate(self) -> dict[str, Any]:
        """Let the client find its best settings."""
        return {"settings": getattr(self.client, "calibrate", lambda: "")()}

    def write(self, first: int, last: int) -> dict[str, Any]:
        """Write objects first..last-1; making them is not counted."""
        made = self.client.prepare(first, last)
        wall, cpu = time.perf_counter(), time.process_time()
        extra = self.client.write(made)
        seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"seconds": seconds, "cpu": cpu, "mb": memory_mb(), "extra": extra or 0.0}

    def query(self, kind: str, numbers: list[int]) -> dict[str, Any]:
        """Ask; milliseconds of wall and processor time of each query, and what it found."""
        ask = getattr(self.client, kind, None)
        if ask is None:
            return {"ms": [], "cpu": [], "found": []}
        result: dict[str, Any] = {"ms": [], "cpu": [], "found": []}
        for number in numbers:
            self.data.question(number)  # remembered, so that making it up is not measured
            wall, cpu = time.perf_counter(), time.process_time()
            found = ask(number)
            result["ms"].append(1000 * (time.perf_counter() - wall))
            result["cpu"].append(1000 * (time.process_time() - cpu))
            result["found"].append(found)
        return result

    def refused(self, count: int) -> dict[str, Any]:
        """Write objects of which 1 in 1,000 has a vector of another dimension; what was reported and what is stored."""
        reported, said = self.client.refused(count)
        return {"reported": reported, "said": said, "stored": self.client.stored()}


def main(name: str, settings: str) -> None:
    """Answer each line on stdin with one on stdout."""
    answers, sys.stdout = sys.stdout, sys.stderr
    worker = Worker(name, json.loads(settings))
    logging.getLogger("weaviate-client").setLevel(logging.CRITICAL)  # it logs each refused object with all its words
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(worker, command.pop("do"))(**command)
        print(json.dumps(answer), file=answers, flush=True)
    worker.client.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
