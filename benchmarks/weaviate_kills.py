"""Kills: the indexing process and the server, at random points of runs that are resumed, while a reader watches.

`python -m benchmarks.weaviate_kills [--client N] [--server N] [--mode plain|refused|deadlines|mixed]
[--sources N] [--seed N]`

Sixteen sources with vectors in three spaces (HNSW, RQ, MUVERA) are indexed in version after version, and nodes are
added on the side. At the end nothing may be lost, doubled, torn, or stored and not found through every one of its
spaces, and the reader must never have seen anything but one whole version of a source, never an older one again.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery

from benchmarks.common import ROOT
from benchmarks.kills.content import LOOSE, SOURCES, SPACES, Server, doc_of, nodes_of, seen, size, version_of
from sensorium.stores._weaviate.server import EmbeddedServer, start
from sensorium.stores.weaviate import WeaviateStore

MODES = ("plain", "refused", "deadlines")
NEAR = 10
PATIENCE_S = 180.0


class Process:
    """A writer or reader, and what it has printed."""

    def __init__(self, module: str, server: Server, *more: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.kills.{module}", server.url, server.grpc]
        self.process = subprocess.Popen(
            [*command, server.key, *more], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def said(self, word: str) -> list[list[str]]:
        """Its lines that begin with a word, in words."""
        return [line.split(maxsplit=3) for line in list(self.lines) if line.split(" ", 1)[0] == word]

    def wait_for(self, word: str, more_than: int = 0) -> bool:
        """Wait for another line of a kind; False when the process has ended."""
        end = time.monotonic() + PATIENCE_S
        while len(self.said(word)) <= more_than:
            if self.process.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end(self, kill: bool) -> None:
        """Kill it, or let it end by itself."""
        if kill:
            self.process.send_signal(signal.SIGKILL)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass
class Outcome:
    """What a scenario came to.

    Attributes:
        client_kills: Kills of the indexing process.
        server_kills: Kills of the server.
        published: Updates that the indexing process called done.
        faults: Errors that it met and got over, by class.
        reads: Reads of the watching process.
        unread: Reads that ended with an error.
        wrong: What should never have been seen, or is wrong in the end.
        nodes: Nodes in the end.
        mended: What the final verification found (and mended) before it was sound.
        seconds: Time taken.
    """

    client_kills: int = 0
    server_kills: int = 0
    published: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    unread: int = 0
    wrong: list[str] = field(default_factory=list)
    nodes: int = 0
    mended: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Scenario:
    """One index on one server, written by processes that are killed.

    Args:
        folder: Of the server.
        modes: How the indexing processes work, in turn.
        seed: Of the random points.
        sources: How many sources there are.
    """

    def __init__(self, folder: Path, modes: tuple[str, ...], seed: int = 0, sources: int = SOURCES) -> None:
        self.outcome = Outcome()
        self._sources = sources
        self._folder = folder
        self._modes = modes
        self._rng = random.Random(seed)
        self._embedded: EmbeddedServer = start(folder)
        self._used = [self._embedded]
        self._started = 0
        self._processes: list[Process] = []
        self._published: dict[int, int] = {}
        self._added = 0

    @property
    def server(self) -> Server:
        """Where the server is now."""
        return Server(self._embedded.url, f"127.0.0.1:{self._embedded.grpc_port}", self._embedded.api_key)

    def run(self, client_kills: int, server_kills: int) -> Outcome:
        """Kill in random order, resume, and look at what is there in the end."""
        began = time.monotonic()
        try:
            reader = self._process("reader")
            assert reader.wait_for("open")
            kills = ["client"] * client_kills + ["server"] * server_kills
            self._rng.shuffle(kills)
            writer = self._writer()
            for number, kill in enumerate(kills, 1):
                writer = self._kill(kill, writer)
                self._look()
                print(f"{number} of {len(kills)}: {kill}", file=sys.stderr, flush=True)
            writer = self._finish(writer)
            reader.end(kill=False)
            self._read(reader)
            self._judge()
        finally:
            for process in self._processes:
                process.process.kill()
            for embedded in self._used:
                embedded.stop()
        self.outcome.seconds = round(time.monotonic() - began, 1)
        return self.outcome

    def _process(self, module: str, *more: str) -> Process:
        self._processes.append(Process(module, self.server, str(self._sources), *more))
        return self._processes[-1]

    def _writer(self) -> Process:
        mode = self._modes[self._started % len(self._modes)]
        self._started += 1
        writer = self._process("writer", mode, str(self._started))
        if not writer.wait_for("open"):
            raise AssertionError(f"the indexing process does not start: {writer.lines[-5:]}")
        return writer

    def _kill(self, what: str, writer: Process) -> Process:
        time.sleep(self._rng.uniform(0.0, 1.5))
        if what == "client":
            self.outcome.client_kills += 1
            self._gather(writer, kill=True)
            return self._writer()
        self.outcome.server_kills += 1
        self._embedded.kill()
        time.sleep(self._rng.uniform(0.0, 1.0))
        self._embedded = start(self._folder)
        self._used.append(self._embedded)
        if not writer.wait_for("published", len(writer.said("published"))):
            self._gather(writer, kill=True)  # it gave up meanwhile: resumed by another
            return self._writer()
        return writer

    def _gather(self, writer: Process, kill: bool) -> None:
        """End a writer and note down what it has called done."""
        writer.end(kill)
        for _, source, version in writer.said("published"):
            self._published[int(source)] = max(int(version), self._published.get(int(source), 0))
            self.outcome.published += 1
        self._added = max([self._added, *(int(words[1]) for words in writer.said("added"))])
        for words in writer.said("fault"):
            self.outcome.faults[words[1]] = self.outcome.faults.get(words[1], 0) + 1

    def _look(self) -> None:
        """After each kill: every source in one whole version, not older than what was called done."""
        store = self.server.open()
        for source in range(self._sources):
            self._check_source(store, source)
        store.close()

    def _check_source(self, store: WeaviateStore, source: int) -> None:
        record = store.source(doc_of(source))
        found = seen([node.node_id for node in store.siblings(doc_of(source), 0, 10_000)])
        whole = {version: size(source, version) for version in found}
        if found != whole or len(found) > 1:
            self.outcome.wrong.append(f"source {source}: {found} instead of {whole}")
        if max(found, default=0) < self._published.get(source, 0):
            self.outcome.wrong.append(f"source {source}: {found} after {self._published[source]} was published")
        if record is not None and str(max(found, default=0)) != record.sha256:
            fresh = store.source(doc_of(source))
            if fresh == record:
                self.outcome.wrong.append(f"source {source}: nodes {found}, ledger {record.sha256}")

    def _finish(self, writer: Process) -> Process:
        """Let the run go on for a whole version, then end it."""
        while not writer.wait_for("added", len(writer.said("added"))):
            self._gather(writer, kill=True)
            writer = self._writer()
        self._gather(writer, kill=True)
        return writer

    def _read(self, reader: Process) -> None:
        self.outcome.wrong += [f"read: {' '.join(words[1:])}" for words in reader.said("wrong")]
        self.outcome.wrong += [f"the reader ended: {reader.process.returncode}"] if reader.process.returncode else []
        (_, reads, unread), *_ = reader.said("reads") or [["", "0", "0"]]
        self.outcome.reads, self.outcome.unread = int(reads), int(unread)

    # In the end -------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        store = self.server.open(timeout_s=5.0)
        self._sweep(store)
        found = store.verify()
        if not found.sound:
            self.outcome.wrong += [f"verify: {finding}" for finding in found.left]
            self.outcome.mended = [str(f) for f in store.verify(repair=True).found]
        self._look()
        expected = self._expected(store)
        stored = [node.node_id for node in store.get_nodes()]
        self.outcome.nodes = len(stored)
        if sorted(stored) != sorted(expected):
            missing, extra = sorted(expected.keys() - set(stored)), sorted(set(stored) - expected.keys())
            twice = len(stored) - len(set(stored))
            self.outcome.wrong.append(f"lost {missing[:5]} ({len(missing)}), too many {extra[:5]}, doubled {twice}")
        self._find_each(store, expected)
        store.close()

    def _sweep(self, store: WeaviateStore) -> None:
        """Wait until what killed processes left behind has been cleared away."""
        end = time.monotonic() + PATIENCE_S
        while store._parts.generations.read().updates and time.monotonic() < end:
            store._parts.sweep(now=True)
            time.sleep(0.5)

    def _expected(self, store: WeaviateStore) -> dict[str, dict[str, Any]]:
        """Every node that has to be there, with its vectors."""
        expected: dict[str, dict[str, Any]] = {}
        live = [(doc_of(s), v, size(s, v)) for s in range(self._sources) if (v := version_of(store, doc_of(s)))]
        stored = {int(n.node_id.split("-")[1]) for n in store.get_nodes() if n.node_id.startswith("loose-")}
        if not set(range(1, self._added + 1)) <= stored:
            self.outcome.wrong.append(f"added nodes are lost: {sorted(set(range(1, self._added + 1)) - stored)}")
        # Of an addition that was killed, any part may be there.
        partly = max(stored, default=0) if max(stored, default=0) > self._added else 0
        present = {n.node_id for n in store.get_nodes()} if partly else set()
        for doc, version, number in [*live, *(("loose", v, LOOSE) for v in sorted(stored))]:
            nodes, vectors = nodes_of(doc, version, number)
            for i, node in enumerate(nodes):
                if doc != "loose" or version != partly or node.node_id in present:
                    expected[node.node_id] = {s: rows[i] for s, rows in vectors.items() if rows[i] is not None}
        return expected

    def _find_each(self, store: WeaviateStore, expected: dict[str, dict[str, Any]]) -> None:
        """Search for every node by its own vector, in each of its spaces, without any filter."""
        lost: list[str] = []
        for node_id, vectors in expected.items():
            for space in SPACES:
                if space.name in vectors:
                    own = vectors[space.name]
                    single = None if space.multi else own.tolist()
                    query = VectorStoreQuery(query_embedding=single, embedding_field=space.name, similarity_top_k=NEAR)
                    hits = store.search(query, matrix=own if space.multi else None)
                    if node_id not in {hit.node_id for hit in hits}:
                        lost.append(f"{node_id} in {space.name}")
        if lost:
            self.outcome.wrong.append(f"{len(lost)} nodes are not found by their own vector: {lost[:8]}")


def main() -> None:
    """Run one scenario and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", type=int, default=20, help="kills of the indexing process")
    parser.add_argument("--server", type=int, default=10, help="kills of the server")
    parser.add_argument("--mode", choices=(*MODES, "mixed"), default="plain", help="of the indexing processes")
    parser.add_argument("--sources", type=int, default=SOURCES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        modes = MODES if given.mode == "mixed" else (given.mode,)
        scenario = Scenario(Path(folder) / "server", modes, given.seed, given.sources)
        outcome = scenario.run(given.client, given.server)
    print(json.dumps(vars(outcome), indent=2))
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
