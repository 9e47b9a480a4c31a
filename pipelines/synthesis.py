"""What every synthesizer of Sensorium is: a LlamaIndex synthesizer whose one method to write is `answer`."""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.llms import MockLLM
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle

from sensorium.pipelines.results import Answer, Hit


class Synthesizer(BaseSynthesizer):
    """Makes an `Answer` from hits. Works inside any LlamaIndex query engine.

    The LlamaIndex response carries the answer's text, the hits as source nodes, and in its metadata `abstained`,
    `support` and `citations` in the shapes of the command line.
    """

    def __init__(self, streaming: bool = False) -> None:
        # Core looks for a default LLM (and asks for an OpenAI key) unless it is given one.
        super().__init__(llm=MockLLM(), streaming=streaming)

    @abstractmethod
    def answer(self, question: str, hits: Sequence[Hit]) -> Answer:
        """Answer a question from hits, best first."""

    def close(self) -> None:
        """Free what a model holds in this process."""

    async def aanswer(self, question: str, hits: Sequence[Hit]) -> Answer:
        """`answer`, without blocking the event loop."""
        return await asyncio.to_thread(self.answer, question, hits)

    def stream(self, question: str, hits: Sequence[Hit]) -> Iterator[str | Answer]:
        """The answer's text in pieces, then the whole `Answer`."""
        answer = self.answer(question, hits)
        yield from answer.text.splitlines(keepends=True)
        yield answer

    async def astream(self, question: str, hits: Sequence[Hit]) -> AsyncGenerator[str | Answer, None]:
        """`stream`, without blocking the event loop."""
        answer = await self.aanswer(question, hits)
        for piece in answer.text.splitlines(keepends=True):
            yield piece
        yield answer

    def synthesize(
        self, query: str | QueryBundle, nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None, **_: Any,
    ) -> RESPONSE_TYPE:  # fmt: skip
        """LlamaIndex's entry: an answer as a `Response`, or as a stream of its text.

        The metadata of a stream is filled in when it has ended.
        """
        question, hits = _asked(query, nodes)
        sources = [*nodes, *(additional_source_nodes or ())]
        if self._streaming:
            metadata: dict[str, Any] = {}
            return StreamingResponse(_words(self.stream(question, hits), metadata), sources, metadata)
        answer = self.answer(question, hits)
        return Response(answer.text, sources, _facts(answer))

    async def asynthesize(
        self, query: str | QueryBundle, nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None, **_: Any,
    ) -> RESPONSE_TYPE:  # fmt: skip
        """`synthesize`, without blocking the event loop."""
        question, hits = _asked(query, nodes)
        sources = [*nodes, *(additional_source_nodes or ())]
        if self._streaming:
            metadata: dict[str, Any] = {}
            return AsyncStreamingResponse(_awords(self.astream(question, hits), metadata), sources, metadata)
        answer = await self.aanswer(question, hits)
        return Response(answer.text, sources, _facts(answer))

    def get_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
        """Not how this synthesizer works: plain texts have no evidence to cite."""
        raise NotImplementedError("Sensorium's synthesizers need nodes: call synthesize(query, nodes).")

    async def aget_response(self, query_str: str, text_chunks: Sequence[str], **kwargs: Any) -> str:
        """See `get_response`."""
        return self.get_response(query_str, text_chunks, **kwargs)

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts: PromptDictType) -> None:
        """There are none to update."""


def _asked(query: str | QueryBundle, nodes: Sequence[NodeWithScore]) -> tuple[str, list[Hit]]:
    question = query.query_str if isinstance(query, QueryBundle) else query
    return question, [Hit(rank, float(n.score or 0.0), n.node) for rank, n in enumerate(nodes, 1)]


def _facts(answer: Answer) -> dict[str, Any]:
    shapes = answer.public()
    return {key: shapes[key] for key in ("abstained", "support", "citations", "notes") if key in shapes}


def _words(parts: Iterator[str | Answer], metadata: dict[str, Any]) -> Generator[str, None, None]:
    for part in parts:
        if isinstance(part, Answer):
            metadata.update(_facts(part))
        else:
            yield part


async def _awords(parts: AsyncIterator[str | Answer], metadata: dict[str, Any]) -> AsyncGenerator[str, None]:
    async for part in parts:
        if isinstance(part, Answer):
            metadata.update(_facts(part))
        else:
            yield part
