"""What the tests of the Weaviate store share: opening it, nodes, vectors, a proxy that fails on demand."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from numpy.typing import NDArray

from sensorium.stores.base import SourceRecord, Space, Store
from sensorium.stores.weaviate import WeaviateStore
from sensorium.testing.stores.case import plain
from sensorium.testing.weaviate import WeaviateServer

SPACES = (Space("text", 16, "r"), Space("visual", 8, "r"))


def open_store(server: WeaviateServer, name: str, **options: Any) -> WeaviateStore:
    """A store on the server of the run."""
    defaults: dict[str, Any] = {
        "spaces": SPACES,
        "url": server.url,
        "grpc": f"{server.grpc_host}:{server.grpc_port}",
        "api_key": server.api_key,
        "collection": name,
    }
    return WeaviateStore(**{**defaults, **options})


def version(doc: str, number: int, count: int) -> tuple[list[BaseNode], Mapping[str, NDArray[np.float32]]]:
    """Nodes of one version of a source, with vectors in both spaces."""
    nodes: list[BaseNode] = [
        plain(f"{doc}-{number}-{i}", f"word{i} common", doc=doc, version=number, order=i) for i in range(count)
    ]
    rng = np.random.default_rng(number)
    return nodes, {space.name: rng.normal(size=(count, space.dimension)).astype(np.float32) for space in SPACES}


def publish(store: Store, doc: str, number: int, count: int = 60) -> None:
    """Index one version of a source."""
    nodes, vectors = version(doc, number, count)
    with store.stage(doc) as stage:
        for start in range(0, count, 25):
            part = slice(start, start + 25)
            stage.add(nodes[part], {space: rows[part] for space, rows in vectors.items()})
        stage.publish(SourceRecord(doc, "/r", doc, "stored", counts={"text": count}, sha256=str(number)))


def versions(store: Store, doc: str) -> dict[int, int]:
    """How many nodes of which version readers see of a source."""
    found: dict[int, int] = {}
    for node in store.siblings(doc, 0, 100_000):
        found[node.metadata["version"]] = found.get(node.metadata["version"], 0) + 1
    return found


class Proxy:
    """A TCP proxy in front of a port. `cut` breaks what is under way, `frozen` lets nothing through."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: list[socket.socket] = []
        self.frozen = threading.Event()
        self.bytes_up = 0
        self.cut_after: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                self._pairs += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                while self.frozen.is_set():
                    threading.Event().wait(0.02)
                target.sendall(data)
                if up:
                    self.bytes_up += len(data)
                    if self.cut_after is not None and self.bytes_up > self.cut_after:
                        self.cut_after = None
                        self.cut()
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Break all connections."""
        pairs, self._pairs = self._pairs, []
        for one in pairs:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        """Take no more connections, and break those there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.frozen.clear()
        self.cut()


@contextmanager
def proxied(server: WeaviateServer) -> Iterator[Proxy]:
    """A proxy in front of the server's gRPC port."""
    proxy = Proxy(server.grpc_host, server.grpc_port)
    try:
        yield proxy
    finally:
        proxy.close()


def ids(nodes: Sequence[BaseNode]) -> list[str]:
    """Ids of nodes."""
    return [n.node_id for n in nodes]
