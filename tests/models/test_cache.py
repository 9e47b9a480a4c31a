import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding

from sensorium.models.base import Matrix
from sensorium.models.cache import CachedEncoder, EmbeddingCache
from sensorium.models.text import MiniLM


class Counting(BaseEmbedding):
    """Vectors from the letters of a text, and a record of what was embedded."""

    seen: list[str] = []  # noqa: RUF012 - a pydantic field

    def _get_text_embedding(self, text: str) -> Embedding:
        self.seen.append(text)
        return [float(len(text)), float(text.count("a")), 1.0]

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)


def counting(**options: Any) -> Counting:
    return Counting(seen=[], **options)


def entry(number: int, rows: int = 1, width: int = 8) -> Matrix:
    return np.full((rows, width), number, np.float32)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    entries = {key(n): np.random.default_rng(n).normal(size=(n, 5)).astype(np.float32) for n in range(1, 1200)}
    with EmbeddingCache(tmp_path / "deep" / "e.sqlite3") as cache:
        cache.put_many(entries)
    found = EmbeddingCache(tmp_path / "deep" / "e.sqlite3").get_many([*entries, key(5000)])
    assert found.keys() == entries.keys()
    assert all(np.array_equal(found[k], entries[k]) for k in entries)
    assert found[key(3)].shape == (3, 5)


def test_only_misses_are_embedded_and_duplicates_once(tmp_path: Path) -> None:
    cache, embedder = EmbeddingCache(tmp_path / "e"), counting()
    encoder = CachedEncoder(embedder, cache)
    first, parts = encoder.encode_nodes(["banana", "kiwi", "banana"])
    assert parts is None
    assert first.tolist() == [[6, 3, 1], [4, 0, 1], [6, 3, 1]]
    assert embedder.seen == ["banana", "kiwi"]
    again, _ = CachedEncoder(embedder, EmbeddingCache(tmp_path / "e")).encode_nodes(["kiwi", "plum"])
    assert again.tolist() == [[4, 0, 1], [4, 0, 1]]
    assert embedder.seen == ["banana", "kiwi", "plum"]


def test_models_do_not_share_vectors(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "e")
    one, two = counting(model_name="one"), counting(model_name="two")
    CachedEncoder(one, cache).encode_nodes(["text"])
    CachedEncoder(two, cache).encode_nodes(["text"])
    assert two.seen == ["text"]


def test_without_a_cache_and_without_texts() -> None:
    embedder = counting()
    vectors, parts = CachedEncoder(embedder).encode_nodes(["a", "a"], [[(0, 1)], []])
    assert vectors.shape == (2, 3)
    assert parts is None  # the embedder knows no parts
    assert embedder.seen == ["a"]
    assert len(CachedEncoder(embedder).encode_nodes([])[0]) == 0


def test_parts_are_kept_with_their_text(tmp_path: Path) -> None:
    texts = ["A cat sat here. Prices fell.", "One unit only.", "A cat sat here. Prices fell."]
    spans = [[(0, 15), (16, 28)], [(0, 14)], [(0, 15)]]
    model = MiniLM()
    direct, direct_parts = model.encode_parts(texts, spans)
    for _ in range(2):  # embedded, then read
        whole, parts = CachedEncoder(model, EmbeddingCache(tmp_path / "e")).encode_nodes(texts, spans)
        assert parts is not None
        assert np.array_equal(whole, direct)
        assert [np.array_equal(a, b) for a, b in zip(parts, direct_parts, strict=True)] == [True] * 3
    with sqlite3.connect(tmp_path / "e") as file:
        assert file.execute("SELECT count(*) FROM vectors").fetchone() == (3,)


def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "e", limit_mb=1)
    for at in range(0, 1000, 50):
        cache.put_many({key(n): entry(n, 2, 250) for n in range(at, at + 50)})  # 2 MB in all
    found = cache.get_many([key(n) for n in range(1000)])
    assert key(999) in found
    assert key(0) not in found
    assert 150 < len(found) < 500
    cache.close()
    assert (tmp_path / "e").stat().st_size < 1.5e6


@pytest.mark.parametrize("damage", ["garbage", "header", "page", "value"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    path = tmp_path / "e"
    with EmbeddingCache(path) as cache:
        cache.put_many({key(n): entry(n, 4, 100) for n in range(200)})
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(b"not a database " * 500)
    elif damage == "header":
        data[:100] = bytes(100)
    elif damage == "page":
        data[4096 : len(data) - 4096] = b"\xff" * (len(data) - 8192)
    else:
        at = data.index(entry(7, 1, 100).tobytes())
        data[at + 10] ^= 1
    path.write_bytes(data)
    cache = EmbeddingCache(path)
    keys = [key(n) for n in range(200)]
    assert cache.get_many(keys) == {}
    assert "damaged" in caplog.text
    cache.put_many({key(1): entry(1)})
    assert np.array_equal(cache.get_many(keys)[key(1)], entry(1))


def test_a_place_that_cannot_be_written_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    cache, embedder = EmbeddingCache(tmp_path / "file" / "e"), counting()
    for _ in range(2):
        assert CachedEncoder(embedder, cache).encode_nodes(["x"])[0].tolist() == [[1, 0, 1]]
    assert embedder.seen == ["x", "x"]
    assert caplog.text.count("is not used") == 1


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from sensorium.models.cache import EmbeddingCache
cache, start = EmbeddingCache(sys.argv[1]), int(sys.argv[2])
for n in range(start, start + 300):
    cache.put_many({n.to_bytes(32, "big"): np.full((1, 8), n, np.float32)})
"""
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "e"), str(start)]) for start in (0, 200)]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    found = EmbeddingCache(tmp_path / "e").get_many([key(n) for n in range(600)])
    assert sorted(found) == [key(n) for n in range(500)]
    assert all(found[key(n)][0, 0] == n for n in range(500))
