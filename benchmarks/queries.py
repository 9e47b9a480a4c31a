"""Query time beyond the embedder and the engine, on 50,000 nodes, and of the extractive answer beyond the search.

`python -m benchmarks.queries [--nodes N]` fills a store with made-up passages, asks made-up questions, and compares in
one process, question by question: the embedder alone, the engine's searches alone, `kb.search`, `kb.ask`.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

import sensorium
from benchmarks.common import median, table
from sensorium.nodes import Evidence, NodeInfo, text_node

WORDS = [f"{a}{b}{c}" for a in ("har", "lu", "men", "tor", "ves", "qui") for b in ("ba", "do", "ri", "ne", "su", "mo")
         for c in ("la", "n", "st", "x", "ke", "r", "pi", "th")]  # fmt: skip


def passage(rng: random.Random) -> str:
    """Some eight sentences of made-up words, with numbers and names, unevenly distributed like a language's."""
    sentences = []
    for _ in range(8):
        words = [WORDS[min(int(rng.expovariate(0.02)), len(WORDS) - 1)] for _ in range(10)]
        sentences.append(f"{words[0].title()} {' '.join(words[1:])} {rng.randrange(10_000)}.")
    return " ".join(sentences)


def fill(kb: Any, count: int, rng: random.Random) -> None:
    """Put made-up nodes with random vectors into the store; 100 nodes a document."""
    vectors_rng = np.random.default_rng(7)
    spaces = kb.store.spaces
    for first in range(0, count, 1000):
        nodes = []
        for i in range(first, min(first + 1000, count)):
            evidence = Evidence(source=f"d{i // 100}.pdf", sha256=f"{i // 100:064x}", media_type="application/pdf",
                                kind="text", page=i % 100 + 1, bbox=(0.1, 0.1, 0.9, 0.9))  # fmt: skip
            nodes.append(text_node(passage(rng), evidence, NodeInfo(f"d{i // 100}", "/made-up", i % 100)))
        vectors = {"text": list(vectors_rng.standard_normal((len(nodes), spaces["text"].dimension), np.float32))}
        vectors["sentences"] = [
            vectors_rng.standard_normal((8, spaces["sentences"].dimension), np.float32) for _ in nodes
        ]
        kb.store.add(nodes, vectors=vectors)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--nodes", type=int, default=50_000)
    arguments.add_argument("--questions", type=int, default=60)
    given = arguments.parse_args()
    rng = random.Random(3)
    with tempfile.TemporaryDirectory() as scratch, sensorium.open(data=Path(scratch) / "data") as kb:
        fill(kb, given.nodes, rng)
        questions = [" ".join(passage(rng).split()[:9]) + "?" for _ in range(given.questions)]
        kb.ask(questions[0])  # loads the weights and the matrix
        rows = [measure(kb, question) for question in questions]
    names = ("embedder", "engine", "search", "ask", "search beyond", "ask beyond search")
    columns = np.array(rows).T * 1000
    table([(f"{given.nodes} nodes", "p50 ms", "p95 ms"), *(line(n, c) for n, c in zip(names, columns, strict=True))])


def line(name: str, milliseconds: Any) -> tuple[str, str, str]:
    """One row of the table."""
    return name, f"{median(milliseconds.tolist()):.2f}", f"{np.percentile(milliseconds, 95):.2f}"


def measure(kb: Any, question: str) -> tuple[float, ...]:
    """Times of one question: embedder, engine (both searches and the fetch, one after the other), search, ask."""
    embedder = kb.pipeline().retriever.legs[0].embedder
    vector = embedder.get_query_embedding(question)
    dense = VectorStoreQuery(query_embedding=vector, similarity_top_k=30, embedding_field="text")
    words = VectorStoreQuery(query_str=question, similarity_top_k=30, mode=VectorStoreQueryMode.TEXT_SEARCH)
    # The embedder keeps the vectors of its last questions: another one is timed than the one that is searched for.
    embed = seconds(lambda: embedder.get_query_embedding(f"So {question}"))
    found = [s.node_id for s in kb.store.search(dense)][:30]
    engine = seconds(lambda: kb.store.search(dense)) + seconds(lambda: kb.store.search(words))
    engine += seconds(lambda: kb.store.fetch(found))
    search = seconds(lambda: kb.search(f"And {question}"))
    kb.search(question)
    again = seconds(lambda: kb.search(question))
    ask = seconds(lambda: kb.ask(question))
    return embed, engine, search, ask, search - embed - engine, ask - again


if __name__ == "__main__":
    main()
