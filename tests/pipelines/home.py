"""What tests of indexing share: a place to index into, and worker processes."""

from pathlib import Path
from typing import Any

import psutil

from sensorium.models.cache import EmbeddingCache
from sensorium.pipelines._ingest.host import Forks
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.ingest import Ingestor
from sensorium.pipelines.split import SentenceSplit
from sensorium.stores.base import Space
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing import FakeEmbedding


class Home:
    """A folder of documents and a data folder."""

    def __init__(self, folder: Path) -> None:
        self.docs = folder / "docs"
        self.data = folder / "data"
        self.docs.mkdir()
        self.stores: list[SqliteStore] = []

    def store(self, embedder: FakeEmbedding | None = None) -> SqliteStore:
        embedder = embedder or FakeEmbedding()
        self.stores.append(SqliteStore(data=self.data, spaces=[Space("text", embedder.dimension, embedder.revision)]))
        return self.stores[-1]

    def ingestor(self, **options: Any) -> Ingestor:
        embedder = options.pop("embedder", FakeEmbedding())
        given: dict[str, Any] = {
            "store": options.pop("store", None) or self.store(),
            "embedders": {"text": embedder}, "split": SentenceSplit(), "fingerprint": "one", "ocr": "off", "workers": 1,
            "assets": AssetStore(str(self.data / "assets")), "cache": EmbeddingCache(self.data / "cache.sqlite3"),
        }  # fmt: skip
        return Ingestor(**(given | options))

    def write(self, name: str, text: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


class Shared(Forks):
    """Leaves the host as it is, but no worker behind."""

    def close(self) -> None:
        left = [worker for child in psutil.Process().children() for worker in child.children() if worker.is_running()]
        assert not left, "a worker outlived its pool"
