"""A query pipeline: route, expand, retrieve, fuse, rerank, synthesize."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.vector_stores.types import MetadataFilters

from sensorium.errors import QueryError
from sensorium.pipelines.moments import joined
from sensorium.pipelines.rerank import Reranker
from sensorium.pipelines.results import Answer, Hit, PictureOf
from sensorium.pipelines.retrievers import FusedRetriever, Retrieved
from sensorium.pipelines.synthesis import Synthesizer

if TYPE_CHECKING:
    from sensorium.pipelines._multimodal.requests import Request
    from sensorium.pipelines.route import Asked, Route, Routed

Beside = frozenset[str]
"""What came with the words of a question: "image", "audio"."""
NOTHING_BESIDE: Beside = frozenset()


class QueryPipeline:
    """One named pipeline of the configuration.

    Args:
        name: Its name.
        retriever: Finds hits.
        synthesizer: Makes the answer from them.
        picture_of: Draws evidence, for `Citation.asset()`.
        route: Decides which other pipeline answers instead.
        others: Gives that one by name; it does not route on.
    """

    def __init__(
        self, name: str, retriever: FusedRetriever, synthesizer: Synthesizer, picture_of: PictureOf,
        route: "Route | None" = None, others: "Callable[[str], QueryPipeline] | None" = None,
    ) -> None:  # fmt: skip
        self.name, self.retriever, self.synthesizer = name, retriever, synthesizer
        self._picture_of, self.route, self._others = picture_of, route, others

    def search(
        self, text: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> list[Hit]:  # fmt: skip
        """Hits, best first; speech that goes on from one hit to another is one (`moments.joined`)."""
        return joined(self._turn(text, beside).found(filters, top_k).hits)

    async def asearch(
        self, text: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> list[Hit]:  # fmt: skip
        """`search`, without blocking the event loop; cancelling closes requests to models."""
        return joined((await (await self._aturn(text, beside)).afound(filters, top_k)).hits)

    def ask(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> Answer:  # fmt: skip
        """Search, then answer from what was found."""
        turn = self._turn(question, beside)
        found = turn.found(filters, top_k)
        return turn.finished(turn.pipeline.synthesizer.answer(question, found.hits), found)

    async def aask(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> Answer:  # fmt: skip
        """`ask`, without blocking the event loop; cancelling closes a model's request."""
        turn = await self._aturn(question, beside)
        found = await turn.afound(filters, top_k)
        return turn.finished(await turn.pipeline.synthesizer.aanswer(question, found.hits), found)

    async def astream(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> AsyncGenerator[str | Answer, None]:  # fmt: skip
        """The answer's text in pieces as they come, then the whole `Answer`; closing it closes a model's request."""
        turn = await self._aturn(question, beside)
        found = await turn.afound(filters, top_k)
        async with aclosing(turn.pipeline.synthesizer.astream(question, found.hits)) as parts:
            async for part in parts:
                yield turn.finished(part, found) if isinstance(part, Answer) else part

    def request(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None,
        beside: Beside = NOTHING_BESIDE,
    ) -> "Request":  # fmt: skip
        """What would be sent to the model for the answer, without sending it. Steps before it that ask one do ask.

        Raises:
            QueryError: the pipeline asks no model.
        """
        from sensorium.pipelines.multimodal import Multimodal

        turn = self._turn(question, beside)
        made = turn.pipeline.synthesizer
        if not isinstance(made, Multimodal):
            raise QueryError(
                f"The pipeline {turn.pipeline.name!r} sends no prompt: its answer is made without an LLM.",
                "Choose one with `synthesize: {multimodal: {llm: ...}}`.",
            )
        return made.request(question, turn.found(filters, top_k).hits)

    def query_engine(self) -> RetrieverQueryEngine:
        """The stages of this pipeline, without its `route`, as a plain LlamaIndex query engine."""
        return RetrieverQueryEngine(retriever=self.retriever, response_synthesizer=self.synthesizer)

    def close(self) -> None:
        """Free what models hold in this process; the pipeline can still be used, and loads them again."""
        self.synthesizer.close()
        for step in self.retriever.expansion.steps if self.retriever.expansion else ():
            step.close()
        for router in self.route.routers if self.route else ():
            router.close()
        for reranker in self.retriever.rerank:
            if isinstance(reranker, Reranker):
                reranker.close()

    def _turn(self, question: str, beside: Beside) -> "_Turn":
        started = time.perf_counter()
        if self.route is None:
            return _Turn(self, question, started)
        return self._routed(question, started, self.route.run(_asked(question, beside)))

    async def _aturn(self, question: str, beside: Beside) -> "_Turn":
        started = time.perf_counter()
        if self.route is None:
            return _Turn(self, question, started)
        routed = await self.route.arun(_asked(question, beside))
        return await asyncio.to_thread(self._routed, question, started, routed)  # making a pipeline may take a while

    def _routed(self, question: str, started: float, routed: "Routed") -> "_Turn":
        named = routed.pipeline not in ("", self.name) and self._others is not None
        pipeline = self._others(routed.pipeline) if named and self._others else self
        return _Turn(pipeline, question, started, routed)


def _asked(question: str, beside: Beside) -> "Asked":
    from sensorium.pipelines.retrievers import checked
    from sensorium.pipelines.route import Asked

    return Asked(checked(question), "image" in beside, "audio" in beside)


@dataclass
class _Turn:
    """One question with the pipeline that answers it."""

    pipeline: QueryPipeline
    question: str
    started: float
    routed: "Routed | None" = None
    _retrieved: float = field(default=0.0)

    def found(self, filters: MetadataFilters | None, top_k: int | None) -> Retrieved:
        found = self.pipeline.retriever.search(self.question, filters, top_k)
        self._retrieved = time.perf_counter()
        return found

    async def afound(self, filters: MetadataFilters | None, top_k: int | None) -> Retrieved:
        found = await self.pipeline.retriever.asearch(self.question, filters, top_k)
        self._retrieved = time.perf_counter()
        return found

    def finished(self, answer: Answer, found: Retrieved) -> Answer:
        now = time.perf_counter()
        times = {"retrieve_s": self._retrieved - self.started, "synthesize_s": now - self._retrieved}
        routed = self.routed
        citations = tuple(replace(c, picture_of=self.pipeline._picture_of) for c in answer.citations)
        return replace(
            answer, citations=citations, hits=found.hits, seconds=now - self.started,
            trace={**(routed.trace if routed else {}), **found.trace, **answer.trace, **times},
            notes=(*(routed.notes if routed else ()), *found.notes, *answer.notes),
        )  # fmt: skip
