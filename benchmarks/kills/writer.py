"""Indexes version after version of all sources, until it is killed; started again, it goes on where it stopped.

`python -m benchmarks.kills.writer URL GRPC KEY SOURCES plain|refused|deadlines SEED`

refused: the server refuses one object in a thousand. deadlines: inserts get too little time now and then.
"""

import random
import sys
from collections.abc import Iterator
from itertools import count

from benchmarks.kills.content import LOOSE, Server, doc_of, nodes_of, record_of, size, version_of
from sensorium.errors import PartialWriteError, StoreError
from sensorium.stores.weaviate import WeaviateStore

PART = 25


def main(url: str, grpc: str, key: str, number: str, mode: str, seed: str) -> None:
    """Index for ever."""
    rng, sources = random.Random(int(seed)), range(int(number))
    server = Server(url, grpc, key)
    stores = [server.open()]
    if mode == "deadlines":
        stores.insert(0, server.open(insert_timeout_s=rng.choice([0.03, 0.06, 0.12])))
    if mode == "refused":
        spoil(stores[0], rng)
    print("open", flush=True)
    have = {source: version_of(stores[-1], doc_of(source)) for source in sources}
    whole = min(have.values())
    # The kill may have come between a version's last source and what is added after it.
    for version in count(whole if whole and not is_added(stores[-1], whole) else whole + 1):
        for source in sources:
            if have[source] < version:
                attempt(stores, lambda store, s=source, v=version: publish(store, s, v))
                print("published", source, version, flush=True)
        attempt(stores, lambda store, v=version: loose(store, v))
        print("added", version, flush=True)


def attempt(stores: list[WeaviateStore], run: object) -> None:
    """Try until it works, as runs that are repeated would: hasty stores first."""
    tries: Iterator[WeaviateStore] = iter([*stores, *stores[-1:] * 20])
    for store in tries:
        try:
            run(store)  # type: ignore[operator]
            return
        except (PartialWriteError, StoreError) as fault:
            print("fault", type(fault).__name__, str(fault)[:160].replace("\n", " "), flush=True)
    raise SystemExit("too many faults in a row")


def publish(store: WeaviateStore, source: int, version: int) -> None:
    """One version of one source."""
    doc, number = doc_of(source), size(source, version)
    nodes, vectors = nodes_of(doc, version, number)
    with store.stage(doc) as stage:
        for start in range(0, number, PART):
            part = slice(start, start + PART)
            stage.add(nodes[part], {space: rows[part] for space, rows in vectors.items()})
        stage.publish(record_of(doc, version, number))


def loose(store: WeaviateStore, version: int) -> None:
    """Nodes that are added without a ledger row, as plain LlamaIndex code does."""
    nodes, vectors = nodes_of("loose", version, LOOSE)
    store.add(nodes, vectors=vectors)


def is_added(store: WeaviateStore, version: int) -> bool:
    """Whether all of them are there."""
    nodes, _ = nodes_of("loose", version, LOOSE)
    return len(store.get_nodes([node.node_id for node in nodes])) == LOOSE


def spoil(store: WeaviateStore, rng: random.Random) -> None:
    """Give one node in a thousand a value that the server refuses."""
    prepare = store._parts.prepare

    def spoiled(*arguments: object) -> list[object]:
        prepared = prepare(*arguments)  # type: ignore[arg-type]
        for node in prepared:
            if rng.random() < 0.001:
                node.properties["kind"] = 3  # type: ignore[index]
        return list(prepared)

    store._parts.prepare = spoiled  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main(*sys.argv[1:])
