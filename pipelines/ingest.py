"""Indexing: from files to nodes in the store, with a ledger row for each of them.

Worker processes read and split files while this one embeds what they send and stages it; a source goes live in one
step when it is complete. Whatever happens to a source, the others go on, and its old version stays searchable.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from sensorium.errors import ConfigError
from sensorium.loaders.base import Limits
from sensorium.models import OCR_ENGINES, SPEECH_ENGINES
from sensorium.models._encoder import cores
from sensorium.models.cache import EmbeddingCache
from sensorium.pipelines._ingest.captions import Captioning
from sensorium.pipelines._ingest.discover import discover
from sensorium.pipelines._ingest.embed import Vectoriser
from sensorium.pipelines._ingest.messages import Part, Setup, Splitter, loader_parts
from sensorium.pipelines._ingest.parts import PartStore
from sensorium.pipelines._ingest.plan import Plan
from sensorium.pipelines._ingest.progress import Progress, Reading, Tracker
from sensorium.pipelines._ingest.report import IngestReport, Row
from sensorium.pipelines._ingest.run import Run
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.evidence import pictures_of
from sensorium.pipelines.results import PictureOf
from sensorium.stores.base import SourceRecord, Store

if TYPE_CHECKING:
    from sensorium.pipelines._ingest.estimate import Estimate
    from sensorium.pipelines.captions import Captions

__all__ = ["IngestReport", "Ingestor", "Progress", "Reading", "Row"]


class Ingestor:
    """Indexes files into a store.

    Args:
        store: Where nodes, vectors and the ledger go.
        embedders: The embedder of each searchable space.
        sentences: Space for the vectors of sentences and table rows, or None.
        split: Packs and cuts nodes; it is pickled for the workers.
        loaders: Options of each registered loader.
        readers: LlamaIndex readers for other formats: file suffix to "package.module.Class" and its options.
        ocr: Name of an OCR engine, or "off".
        speech: Name and options of a speech engine; the name "off" for none.
        limits: What one source may cost.
        workers: Processes that read files; 0: one a core.
        fingerprint: Of the configuration; when it changes, sources are read again.
        assets: Where pictures are kept, or None.
        cache: Vectors from before, or None.
        data_folder: Sensorium's own folder, which is never indexed; by default the one of the cache.
        captions: Describes pictures with a multimodal LLM, or None.
        draw: Draws evidence: pictures to describe that were not kept.
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
        readers: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
        ocr: str = "tiny",
        speech: tuple[str, Mapping[str, Any]] = ("whisper", {}),
        limits: Limits | None = None,
        workers: int = 0,
        assets: AssetStore | None = None,
        cache: EmbeddingCache | None = None,
        data_folder: Path | None = None,
        captions: "Captions | None" = None,
        draw: PictureOf | None = None,
    ) -> None:
        self.store = store
        self.embedders = embedders
        self.sentences = sentences
        self.limits = limits or Limits()
        self.workers = workers or cores()
        self.fingerprint = fingerprint
        self.cache = cache
        self.captions = captions
        self._draw, self._assets = draw, assets
        self.data_folder = data_folder or (cache.path.parent if cache else None)
        self.setup = Setup(
            by_type=loader_parts(loaders or {}),
            by_suffix={s.lower(): _reader(s, *named) for s, named in (readers or {}).items()},
            ocr=None if ocr == "off" else Part(ocr, OCR_ENGINES.entry(ocr).target),
            speech=_speech(*speech),
            split=split,
            assets=assets,
            limits=self.limits,
            parts=PartStore(self.data_folder / "parts") if self.data_folder else None,
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
        if isinstance(self.setup.parts, PartStore):
            self.setup.parts.sweep()
        tracker = Tracker(progress, (found.size for found in discovery.found.values()))
        plan = Plan(self.store, discovery, self.setup, self.fingerprint)
        vectoriser = Vectoriser(self.embedders, self.sentences, self.cache)
        run = Run(self.store, self.setup, self.workers, plan, vectoriser, tracker, self._captioning())
        rows = run.read()
        vanished = plan.vanished()
        removed = vanished if prune else []
        for record in removed:
            self.store.remove_source(record.doc_id)
        notes = [*discovery.notes, *run.notes, *_kept(vanished if not prune else []), *self._settle_spaces()]
        return IngestReport(
            rows=[rows[doc_id] for doc_id in discovery.found],
            removed=[record.source for record in removed],
            hidden=discovery.hidden,
            notes=notes,
            seconds=tracker.seconds,
        )

    def estimate(self, paths: Sequence[str | Path]) -> "Estimate":
        """What describing the pictures of files and folders would take; no model is asked, nothing is stored.

        Args:
            paths: Files and folders.

        Raises:
            ConfigError: `index.captions` is off.
            LoadError: a path does not exist.
        """
        from sensorium.pipelines._ingest.estimate import estimate

        if self.captions is None or self._draw is None:
            raise ConfigError(
                "index.captions is off: no picture would be described.", "Name a model: captions: {llm: …}."
            )
        discovery = discover(paths, self.data_folder)
        plan = Plan(self.store, discovery, self.setup, self.fingerprint)
        draw = self._draw
        return estimate(self.setup, self.workers, plan, self.captions, lambda assets: pictures_of(assets, draw))

    def _captioning(self) -> Captioning | None:
        if self.captions is None or self._assets is None or self._draw is None:
            return None
        return Captioning(self.captions, pictures_of(self._assets, self._draw), self.setup.split)

    def _settle_spaces(self) -> list[str]:
        """Open spaces that were added later, once every source has been indexed with them; else say what is missing."""
        if not self.store.incomplete:
            return []
        records = list(self.store.sources())
        behind = [r for r in records if any(r.counts.values()) and not self._is_current(r)]
        if behind or self.store.count() != sum(sum(r.counts.values()) for r in records):
            return self.store.incomplete_warnings()
        self.store.completed()
        return []

    def _is_current(self, record: SourceRecord) -> bool:
        """Whether a source's nodes were made with this configuration."""
        return record.status == "stored" and record.fingerprint.split(" ")[0] == self.fingerprint


def _speech(name: str, options: Mapping[str, Any]) -> Part | None:
    return None if name == "off" else Part(name, SPEECH_ENGINES.entry(name).target, dict(options))


def _kept(vanished: Sequence[SourceRecord]) -> list[str]:
    """What to say of sources whose files are gone."""
    stored = [record.source for record in vanished if record.live_sha256]
    if not stored:
        return []
    names = ", ".join(stored[:3]) + (" ..." if len(stored) > 3 else "")
    files, stay = ("file has", "stays") if len(stored) == 1 else ("files have", "stay")
    return [f"{len(stored)} {files} vanished ({names}) and {stay} searchable; --prune removes such sources."]


def _reader(suffix: str, path: str, options: Mapping[str, Any]) -> Part:
    given = {"reader": path, "options": dict(options)}
    return Part(f"reader {suffix}", "sensorium.loaders.readers:LlamaIndexReader", given)
