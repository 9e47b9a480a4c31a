"""Looks at sources all the time, in a process of its own, and says what it should never see.

`python -m benchmarks.kills.reader URL GRPC KEY SOURCES`; it ends when its standard input is closed.
"""

import random
import sys
import threading

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from benchmarks.kills.content import Server, doc_of, seen, size
from sensorium.errors import StoreError
from sensorium.stores.weaviate import WeaviateStore

PAUSE_S = 0.01


def main(url: str, grpc: str, key: str, sources: str) -> None:
    """Read until the parent has had enough."""
    store = Server(url, grpc, key).open(timeout_s=60.0)
    print("open", flush=True)
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    rng, reads, faults, newest = random.Random(7), 0, 0, dict.fromkeys(range(int(sources)), 0)
    while not over.wait(PAUSE_S):
        source = rng.randrange(int(sources))
        way = rng.choice(["text", "visual", "words", "order"])
        try:
            ids = look(store, source, way)
        except StoreError as fault:
            faults += 1
            print("fault", str(fault)[:200].replace("\n", " "), flush=True)
            continue
        reads += 1
        if wrong := judged(source, way, ids, newest):
            print("wrong", doc_of(source), way, wrong, flush=True)
    print("reads", reads, faults, flush=True)
    store.close()


def look(store: WeaviateStore, source: int, way: str) -> list[str]:
    """Ids of all nodes of a source, by one way of reading."""
    doc = doc_of(source)
    if way == "order":
        return [node.node_id for node in store.siblings(doc, 0, 10_000)]
    if way == "words":
        mode = VectorStoreQueryMode.TEXT_SEARCH
        query = VectorStoreQuery(query_str="common", mode=mode, similarity_top_k=1000, doc_ids=[doc])
    else:
        width = 16 if way == "text" else 8
        query = VectorStoreQuery(
            query_embedding=[1.0] * width, embedding_field=way, similarity_top_k=1000, doc_ids=[doc]
        )
    return [hit.node_id for hit in store.search(query)]


def judged(source: int, way: str, ids: list[str], newest: dict[int, int]) -> str:
    """What is wrong with what was seen; empty when it is one whole version, not older than the last one."""
    found = seen(ids)
    if not found:
        return "nothing, after there was something" if newest[source] else ""
    if len(found) != 1 or len(ids) != len(set(ids)):
        return f"versions {found}"
    ((version, number),) = found.items()
    whole = size(source, version)
    whole = (whole + 1) // 2 if way == "visual" else whole
    older = version < newest[source]
    newest[source] = max(newest[source], version)
    if number != whole or older:
        return f"{number} of {whole} nodes of version {version}, after version {newest[source]}"
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
