"""A query pipeline: retrieve, fuse, rerank, synthesize."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.vector_stores.types import MetadataFilters

from sensorium.errors import QueryError
from sensorium.pipelines.results import Answer, Hit, PictureOf
from sensorium.pipelines.retrievers import FusedRetriever, Retrieved
from sensorium.pipelines.synthesis import Synthesizer

if TYPE_CHECKING:
    from sensorium.pipelines._multimodal.requests import Request


class QueryPipeline:
    """One named pipeline of the configuration.

    Args:
        name: Its name.
        retriever: Finds hits.
        synthesizer: Makes the answer from them.
        picture_of: Draws evidence, for `Citation.asset()`.
    """

    def __init__(self, name: str, retriever: FusedRetriever, synthesizer: Synthesizer, picture_of: PictureOf) -> None:
        self.name, self.retriever, self.synthesizer = name, retriever, synthesizer
        self._picture_of = picture_of

    def search(self, text: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> list[Hit]:
        """Hits, best first."""
        return list(self.retriever.search(text, filters, top_k).hits)

    def ask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """Search, then answer from what was found."""
        started = time.perf_counter()
        found = self.retriever.search(question, filters, top_k)
        retrieved = time.perf_counter()
        answer = self.synthesizer.answer(question, found.hits)
        return self._finished(answer, found, started, retrieved)

    async def aask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """`ask`, without blocking the event loop; cancelling closes a model's request."""
        started = time.perf_counter()
        found = await asyncio.to_thread(self.retriever.search, question, filters, top_k)
        retrieved = time.perf_counter()
        answer = await self.synthesizer.aanswer(question, found.hits)
        return self._finished(answer, found, started, retrieved)

    async def astream(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None
    ) -> AsyncGenerator[str | Answer, None]:
        """The answer's text in pieces as they come, then the whole `Answer`; closing it closes a model's request."""
        started = time.perf_counter()
        found = await asyncio.to_thread(self.retriever.search, question, filters, top_k)
        retrieved = time.perf_counter()
        async with aclosing(self.synthesizer.astream(question, found.hits)) as parts:
            async for part in parts:
                yield self._finished(part, found, started, retrieved) if isinstance(part, Answer) else part

    def request(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> "Request":
        """What would be sent to the model, without sending it.

        Raises:
            QueryError: the pipeline asks no model.
        """
        from sensorium.pipelines.multimodal import Multimodal

        if not isinstance(self.synthesizer, Multimodal):
            raise QueryError(
                f"The pipeline {self.name!r} sends no prompt: its answer is made without an LLM.",
                "Choose one with `synthesize: {multimodal: {llm: ...}}`.",
            )
        return self.synthesizer.request(question, self.retriever.search(question, filters, top_k).hits)

    def query_engine(self) -> RetrieverQueryEngine:
        """The same pipeline as a plain LlamaIndex query engine."""
        return RetrieverQueryEngine(retriever=self.retriever, response_synthesizer=self.synthesizer)

    def _finished(self, answer: Answer, found: Retrieved, started: float, retrieved: float) -> Answer:
        now = time.perf_counter()
        times = {"retrieve_s": retrieved - started, "synthesize_s": now - retrieved}
        citations = tuple(replace(c, picture_of=self._picture_of) for c in answer.citations)
        return replace(
            answer, citations=citations, hits=found.hits, seconds=now - started,
            trace={**found.trace, **answer.trace, **times},
        )  # fmt: skip
