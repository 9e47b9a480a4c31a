"""Indexing: from files to nodes in the store, with a ledger row for each of them.

Worker processes read and split files while this one embeds what they send and stages it; a source goes live in one
step when it is complete. Whatever happens to a source, the others go on, and its old version stays searchable.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
from sensorium.loaders.base import Limits
from sensorium.models import OCR_ENGINES
from sensorium.models._encoder import cores
from sensorium.models.cache import EmbeddingCache
from sensorium.pipelines._ingest.discover import discover
from sensorium.pipelines._ingest.embed import Vectoriser
from sensorium.pipelines._ingest.messages import Part, Setup, Splitter
from sensorium.pipelines._ingest.plan import Plan
from sensorium.pipelines._ingest.progress import Progress, Tracker
from sensorium.pipelines._ingest.report import IngestReport, Row
from sensorium.pipelines._ingest.run import Run
from sensorium.pipelines.assets import AssetStore
from sensorium.stores.base import Store

__all__ = ["IngestReport", "Ingestor", "Progress", "Row"]


class Ingestor:
    """Indexes files into a store.

    Args:
        store: Where nodes, vectors and the ledger go.
        embedders: The embedder of each searchable space.
        sentences: Space for the vectors of sentences and table rows, or None.
        split: Packs and cuts nodes; it is pickled for the workers.
        loaders: Options of each registered loader.
        readers: LlamaIndex readers for other formats: file suffix to "package.module.Class".
        ocr: Name of an OCR engine, or "off".
        limits: What one source may cost.
        workers: Processes that read files; 0: one a core.
        fingerprint: Of the configuration; when it changes, sources are read again.
        assets: Where pictures are kept, or None.
        cache: Vectors from before, or None.
        data_folder: Sensorium's own folder, which is never indexed; by default the one of the cache.
    """

    def __init__(
        self,
        *,
        store: Store,
        embedders: Mapping[str, BaseEmbedding],
        split: Splitter,
        fingerprint: str,
        sentences: str | None = None,
        loaders: Mapping[str, Mapping[str, Any]] | None = None,
        readers: Mapping[str, str] | None = None,
        ocr: str = "tiny",
        limits: Limits | None = None,
        workers: int = 0,
        assets: AssetStore | None = None,
        cache: EmbeddingCache | None = None,
        data_folder: Path | None = None,
    ) -> None:
        self.store = store
        self.embedders = embedders
        self.sentences = sentences
        self.limits = limits or Limits()
        self.workers = workers or cores()
        self.fingerprint = fingerprint
        self.cache = cache
        self.data_folder = data_folder or (cache.path.parent if cache else None)
        self.setup = Setup(
            by_type=_by_type(loaders or {}),
            by_suffix={s.lower(): _reader(s, path) for s, path in (readers or {}).items()},
            ocr=None if ocr == "off" else Part(ocr, OCR_ENGINES.entry(ocr).target),
            split=split,
            assets=assets,
            limits=self.limits,
        )

    def run(
        self,
        paths: Sequence[str | Path],
        prune: bool = False,
        progress: Callable[[Progress], None] | None = None,
    ) -> IngestReport:
        """Index files and folders. What did not change costs nothing.

        Args:
            paths: Files and folders.
            prune: Also remove sources whose files have vanished from the given folders.
            progress: Called now and then.

        Returns:
            One row a source, also for those that failed.

        Raises:
            LoadError: a path does not exist.
            SpaceError: the index was made with another embedder.
            SensoriumError: worker processes cannot be started.
        """
        discovery = discover(paths, self.data_folder)
        tracker = Tracker(progress, (found.size for found in discovery.found.values()))
        plan = Plan(self.store, discovery, self.setup, self.fingerprint)
        vectoriser = Vectoriser(self.embedders, self.sentences, self.cache)
        run = Run(self.store, self.setup, self.workers, plan, vectoriser, tracker)
        rows = run.read()
        removed = plan.vanished() if prune else []
        for record in removed:
            self.store.remove_source(record.doc_id)
        return IngestReport(
            rows=[rows[doc_id] for doc_id in discovery.found],
            removed=[record.source for record in removed],
            hidden=discovery.hidden,
            notes=[*discovery.notes, *run.notes],
            seconds=tracker.seconds,
        )


def _by_type(options: Mapping[str, Mapping[str, Any]]) -> dict[str, Part]:
    return {
        media_type: Part(name, LOADERS.entry(name).target, dict(options.get(name, {})))
        for media_type, name in BY_MEDIA_TYPE.items()
    }


def _reader(suffix: str, path: str) -> Part:
    return Part(f"reader {suffix}", "sensorium.loaders.readers:LlamaIndexReader", {"reader": path})
