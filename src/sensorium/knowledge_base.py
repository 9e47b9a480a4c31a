"""`sensorium.open`: one configuration and one data folder, ready to index, search and answer."""

import asyncio
import fnmatch
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from sensorium.clock import span
from sensorium.errors import EvidenceError, QueryError
from sensorium.loaders.base import Picture
from sensorium.nodes import Evidence
from sensorium.pipelines.build import Parts
from sensorium.pipelines.context import Scope, context
from sensorium.pipelines.evidence import PictureDrawer
from sensorium.pipelines.ingest import IngestReport, Progress
from sensorium.pipelines.links import Linker, Links
from sensorium.pipelines.query import QueryPipeline
from sensorium.pipelines.results import Answer, Citation, Form, Hit, usual_form
from sensorium.pipelines.retrievers import equality
from sensorium.pipelines.shown import Shown
from sensorium.pipelines.spec import Spec, load_spec
from sensorium.stores.base import SourceRecord, Store
from sensorium.stores.verification import Verification

if TYPE_CHECKING:
    from sensorium.pipelines._ingest.estimate import Estimate
    from sensorium.pipelines._multimodal.requests import Request
    from sensorium.pipelines.chat import Chat

Filters = MetadataFilters | Mapping[str, Any] | None


class KnowledgeBase:
    """What `sensorium.open` returns. Parts are made when they are first used; use it as a context manager or `close`.

    Args:
        spec: A validated configuration.
        create: Whether to make the index where there is none.
    """

    def __init__(self, spec: Spec, create: bool = True) -> None:
        self.spec = spec
        self._parts = Parts(spec, create)
        self._drawer = PictureDrawer(self._parts.loader, self._parts.assets, self._parts.drawn)
        self._shown = Shown(self._drawer, self._parts.loader, lambda: self._parts.ocr)
        self._pipelines: dict[str, QueryPipeline] = {}
        self._making = RLock()
        self._links = Links(lambda: self._parts.archive)

    @property
    def store(self) -> Store:
        """The store, a LlamaIndex `BasePydanticVectorStore`."""
        return self._parts.store

    def index(
        self, *paths: str | Path, prune: bool = False, progress: Callable[[Progress], None] | None = None
    ) -> IngestReport:
        """Index files and folders; what did not change costs nothing.

        Args:
            *paths: Files or folders.
            prune: Also remove sources that vanished from the given folders.
            progress: Called now and then.

        Raises:
            LoadError: a path does not exist. Faults of single files stand in the report.
        """
        report = self._parts.ingestor().run([Path(path) for path in paths], prune=prune, progress=progress)
        self._link()
        if report.removed:
            self._sweep()
        return report

    def estimate(self, *paths: str | Path) -> "Estimate":
        """A dry run of `index.captions`: what describing the pictures of files and folders would take.

        Files that `index` would read are read; nothing is stored, and no model is asked.

        Args:
            *paths: Files or folders.

        Raises:
            ConfigError: `index.captions` is off.
            LoadError: a path does not exist.
        """
        return self._parts.ingestor().estimate([Path(path) for path in paths])

    async def aindex(self, *paths: str | Path, prune: bool = False) -> IngestReport:
        """`index`, without blocking the event loop."""
        return await asyncio.to_thread(lambda: self.index(*paths, prune=prune))

    def search(
        self, query: str = "", *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> list[Hit]:  # fmt: skip
        """Find passages, tables and pictures.

        Args:
            query: A question or words.
            image: A picture as (part of) the query: the text recognised in it is searched for.
            audio: A recording as the query; no space takes sound yet.
            top_k: How many hits; the pipeline's own number by default.
            pipeline: Name of a pipeline of the configuration.
            filters: LlamaIndex filters, or `{key: value}` for equality (a list means any of its values). `at` is a
                time in recordings: seconds, "1:15", or "1:15-1:30" for whatever reaches into that span.

        Raises:
            QueryError: an empty or impossible query, an unknown pipeline.
        """
        text = self._parts.query_text(query, image, audio)
        hits = self.pipeline(pipeline).search(text, _filters(filters), top_k, _beside(image, audio))
        return self._links.on_hits(hits)

    def ask(
        self, question: str, *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> Answer:  # fmt: skip
        """Answer a question with citations; see `search` for the arguments."""
        text = self._parts.query_text(question, image, audio)
        answer = self.pipeline(pipeline).ask(text, _filters(filters), top_k, _beside(image, audio))
        answer = self._links.on_answer(answer)
        return answer if text == question else _as_asked(answer, question)

    async def asearch(
        self, query: str = "", *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> list[Hit]:  # fmt: skip
        """`search`, without blocking the event loop; cancelling it closes requests to models."""
        text = await asyncio.to_thread(self._parts.query_text, query, image, audio)
        made = await asyncio.to_thread(self.pipeline, pipeline)
        hits = await made.asearch(text, _filters(filters), top_k, _beside(image, audio))
        return await asyncio.to_thread(self._links.on_hits, hits)

    async def aask(
        self, question: str, *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> Answer:  # fmt: skip
        """`ask`, without blocking the event loop; cancelling it closes a model's request."""
        text = await asyncio.to_thread(self._parts.query_text, question, image, audio)
        made = await asyncio.to_thread(self.pipeline, pipeline)
        answer = await made.aask(text, _filters(filters), top_k, _beside(image, audio))
        answer = await asyncio.to_thread(self._links.on_answer, answer)
        return answer if text == question else _as_asked(answer, question)

    async def astream(
        self, question: str, *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> AsyncGenerator[str | Answer, None]:  # fmt: skip
        """The answer's text in pieces as a model writes them, then the whole `Answer`, checked.

        Closing the iterator (or cancelling the task) closes a model's request.
        """
        text = await asyncio.to_thread(self._parts.query_text, question, image, audio)
        made = await asyncio.to_thread(self.pipeline, pipeline)
        async with aclosing(made.astream(text, _filters(filters), top_k, _beside(image, audio))) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    part = _as_asked(await asyncio.to_thread(self._links.on_answer, part), question)
                yield part

    def request(
        self, question: str, *, image: str | Path | None = None, audio: str | Path | None = None,
        top_k: int | None = None, pipeline: str = "default", filters: Filters = None,
    ) -> "Request":  # fmt: skip
        """What a pipeline with an LLM would send for a question, without sending it.

        Raises:
            QueryError: the pipeline asks no model.
        """
        text = self._parts.query_text(question, image, audio)
        return self.pipeline(pipeline).request(text, _filters(filters), top_k, _beside(image, audio))

    def pipeline(self, name: str = "default") -> QueryPipeline:
        """A query pipeline by name.

        Raises:
            QueryError: there is none of this name.
        """
        if name not in self.spec.pipelines:
            raise QueryError(f"There is no pipeline {name!r}.", f"Known: {', '.join(self.spec.pipelines)}.")
        with self._making:
            if name not in self._pipelines:
                self._pipelines[name] = self._parts.pipeline(name, self._shown, self.pipeline)
            return self._pipelines[name]

    def chat(self, pipeline: str = "default") -> "Chat":
        """A conversation: with an LLM, follow-up questions are understood from what was said before.

        Raises:
            QueryError: there is no such pipeline.
        """
        from sensorium.pipelines.chat import Chat

        return Chat(self.pipeline(pipeline), prompts=self.spec.prompts)

    def query_engine(self, name: str = "default") -> RetrieverQueryEngine:
        """A pipeline as a plain LlamaIndex query engine."""
        return self.pipeline(name).query_engine()

    def retriever(self, name: str = "default") -> BaseRetriever:
        """A pipeline's retriever as a plain LlamaIndex retriever."""
        return self.pipeline(name).retriever

    def picture(self, of: str | Hit | Citation) -> Picture:
        """The crop, slide picture, frame, waveform or text behind a node; see `asset`.

        Raises:
            EvidenceError: unknown node, or its source vanished or changed.
        """
        return self.asset(of, "picture")

    def clip(self, of: str | Hit | Citation) -> Picture:
        """The clip of a recording behind a node, in a format that browsers play: MP4, or M4A for sound alone.

        Raises:
            EvidenceError: unknown node, no recording, or its source vanished or changed.
        """
        return self.asset(of, "clip")

    def asset(
        self, of: str | Hit | Citation, form: Form | None = None, at: tuple[float, float] | None = None
    ) -> Picture:
        """What shows a node, or a result: of a hit with neighbours and of a citation just the seconds of its evidence.

        Args:
            of: The id of a node, a hit or a citation.
            form: "picture" or "clip"; by default a clip of what is said, and a picture of everything else.
            at: Other seconds of the recording, from and to.

        Raises:
            EvidenceError: unknown node, its source vanished or changed, or it has no such form.
        """
        evidence, metadata = self._evidence(of)
        if at is not None:
            if evidence.start_s is None:
                raise EvidenceError(f"{evidence.source} is no recording: it has no time {span(*at)}.")
            if not 0 <= at[0] <= at[1]:
                raise EvidenceError(f"{at[0]:g} to {at[1]:g} s is no stretch of time.", "Give seconds, from and to.")
            evidence = evidence.model_copy(update={"start_s": at[0], "end_s": at[1]})
        return self._drawer.draw(evidence, metadata, form or usual_form(evidence, metadata))

    def evidence(self, node_id: str) -> Evidence:
        """Where a node stands in its source.

        Raises:
            EvidenceError: unknown node.
        """
        return self._evidence(node_id)[0]

    def highlighted(self, node_id: str, quote: str) -> Picture:
        """The picture of a node with the lines of a quote marked; see `Citation.highlighted`.

        Raises:
            EvidenceError: unknown node, its source vanished or changed, or it has no picture.
        """
        return self._shown.highlighted(*self._evidence(node_id), quote)

    def _evidence(self, of: str | Hit | Citation) -> tuple[Evidence, Mapping[str, Any]]:
        if not isinstance(of, str):
            return of.evidence, of.node.metadata if isinstance(of, Hit) else of.metadata
        node_id = of
        nodes = self._parts.archive.fetch([node_id])
        if not nodes:
            raise EvidenceError(
                f"There is no node {node_id!r}.", "Take a node_id from `search --json` or from a citation."
            )
        return Evidence.of(nodes[0]), nodes[0].metadata

    def context(self, hit: Hit, scope: Scope = "section", max_chars: int = 6000) -> list[BaseNode]:
        """Small-to-big: the hit's node with its neighbours of the same section or page, in reading order.

        Args:
            hit: A hit of `search`.
            scope: How far to go.
            max_chars: Budget for all texts together.
        """
        return context(self.store, hit.node, scope, max_chars)

    def status(self) -> dict[str, Any]:
        """What is stored where: the engine's facts, sources by status, nodes by kind, spaces and models.

        Also of an index that was made with other embedders than those configured now; its `warnings` say so.
        """
        store = self._parts.archive
        records = self.sources()
        kinds: dict[str, int] = {}
        states: dict[str, int] = {}
        for record in records:
            states[record.status] = states.get(record.status, 0) + 1
            for kind, number in record.counts.items():
                kinds[kind] = kinds.get(kind, 0) + number
        return {
            "data": str(self.spec.data_folder),
            "store": self._with_mismatch(store.status()),
            "folders": sorted({record.root for record in records}),
            "sources": states,
            "nodes": dict(sorted(kinds.items())),
            "spaces": self._parts.space_facts(),
            "problems": [_problem(r) for r in records if r.status != "stored" or r.warnings],
        }

    def verify(self, repair: bool = False) -> Verification:
        """Look for every stored node through every search that has to find it, and compare the ledger's counts.

        Args:
            repair: Mend what is found; what only indexing again can mend stays in the outcome's `left`.
        """
        return self._parts.archive.verify(repair)

    def _with_mismatch(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        if not self._parts.mismatch:
            return dict(facts)
        return dict(facts) | {"warnings": [*facts.get("warnings", ()), self._parts.mismatch]}

    def sources(self, pattern: str = "*") -> list[SourceRecord]:
        """What the ledger says of the sources that a pattern names, as for `delete`."""
        known = self._parts.archive.sources()
        return [r for r in known if r.source == pattern or fnmatch.fnmatchcase(r.source, pattern)]

    def delete(self, pattern: str) -> list[str]:
        """Remove sources from the index; files are not touched.

        Args:
            pattern: A source, or a glob over sources ("pdf/*.pdf"; "*" for all).

        Returns:
            The removed sources.
        """
        found = self.sources(pattern)
        for record in found:
            self._parts.archive.remove_source(record.doc_id)
        if found:
            self._link()
            self._sweep()
        return [record.source for record in found]

    def _link(self) -> None:
        """Find which slides the recordings show, where either changed."""
        Linker(self._parts.archive, self._parts.assets.read, self._drawer.draw).update()

    def _sweep(self) -> None:
        """Delete pictures that no node names any more."""
        without = MetadataFilter(key="asset", operator=FilterOperator.IS_EMPTY, value=None)
        pictures = MetadataFilters(filters=[without], condition=FilterCondition.NOT)
        named = self._parts.archive.get_nodes(filters=pictures)
        self._parts.assets.sweep({str(node.metadata["asset"]) for node in named})

    def close(self) -> None:
        """Release the store's files and connections, and models that run in this process."""
        for pipeline in self._pipelines.values():
            pipeline.close()
        self._parts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open(
    config: str | Path | Mapping[str, Any] | None = None, data: str | Path | None = None, *, create: bool = True
) -> KnowledgeBase:
    """Open a knowledge base.

    Args:
        config: A YAML file, or its content as a mapping; None for the built-in defaults.
        data: Data folder, in place of the configuration's `data:`.
        create: Whether to make the index where there is none, when it is first used. Otherwise nothing is made,
            neither a folder nor a collection nor a tenant: `MissingIndexError` is raised, at once where the index
            would be in the data folder, and by the first question where it would be on a server.

    Raises:
        MissingIndexError: see `create`.
        ConfigError: the configuration is invalid; names every fault.
    """
    spec = load_spec(config)
    return KnowledgeBase(spec if data is None else spec.with_data(data), create)


def _beside(image: str | Path | None, audio: str | Path | None) -> frozenset[str]:
    """What came with the words of a question, for routing."""
    return frozenset(name for name, given in (("image", image), ("audio", audio)) if given is not None)


def _filters(filters: Filters) -> MetadataFilters | None:
    return filters if isinstance(filters, MetadataFilters) else equality(filters)


def _as_asked(answer: Answer, question: str) -> Answer:
    from dataclasses import replace

    return replace(answer, question=question)


def _problem(record: SourceRecord) -> dict[str, Any]:
    return {
        "source": record.source, "status": record.status, "reason": record.reason,
        "warnings": list(record.warnings), "searchable": bool(record.live_sha256),
    }  # fmt: skip
