"""Questions that follow on from each other: each is made to stand alone before it is searched for."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.vector_stores.types import MetadataFilters

from sensorium.models.llm import ChatModel, ChatModels, Compose
from sensorium.pipelines.multimodal import Multimodal
from sensorium.pipelines.query import QueryPipeline
from sensorium.pipelines.results import Answer
from sensorium.prompts import Overrides, prompt

MEMORY_TOKENS = 2000
_LONGEST_QUESTION = 1000


class Chat:
    """A conversation with a pipeline.

    With an LLM (`synthesize: multimodal`), a follow-up is rewritten into a question that stands alone, and that one
    is searched for and answered. Without, questions are taken as they stand.

    Args:
        pipeline: Answers.
        memory: LlamaIndex's memory of the conversation; one of `MEMORY_TOKENS` by default.
        prompts: Prompts that replace ours.
    """

    def __init__(
        self, pipeline: QueryPipeline, memory: ChatMemoryBuffer | None = None, prompts: Overrides = None
    ) -> None:
        self.pipeline = pipeline
        self.memory = memory or ChatMemoryBuffer.from_defaults(token_limit=MEMORY_TOKENS)
        self._prompt = prompt("rewrite", prompts)
        made = pipeline.synthesizer
        self._models: ChatModels | None = made.models if isinstance(made, Multimodal) else None

    def ask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """Answer the next question.

        Raises:
            ModelError: no model answered. The conversation is left as it was.
        """
        alone = question
        if self._models is not None and (history := self._history()):
            alone = _question(self._models.chat(self._rewriting(history, question)).text, question)
        return self._remembered(question, alone, self.pipeline.ask(alone, filters, top_k))

    async def aask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """`ask`, without blocking the event loop."""
        alone = await self._aalone(question)
        return self._remembered(question, alone, await self.pipeline.aask(alone, filters, top_k))

    async def astream(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None
    ) -> AsyncGenerator[str | Answer, None]:
        """The next answer's words as they come, then the `Answer`."""
        alone = await self._aalone(question)
        async with aclosing(self.pipeline.astream(alone, filters, top_k)) as parts:
            async for part in parts:
                yield self._remembered(question, alone, part) if isinstance(part, Answer) else part

    def reset(self) -> None:
        """Forget the conversation."""
        self.memory.reset()

    async def _aalone(self, question: str) -> str:
        history = await asyncio.to_thread(self._history)
        if self._models is None or not history:
            return question
        return _question((await self._models.achat(self._rewriting(history, question))).text, question)

    def _history(self) -> list[ChatMessage]:
        return self.memory.get()

    def _rewriting(self, history: Sequence[ChatMessage], question: str) -> Compose:
        said = "\n".join(f"{_SPEAKERS.get(message.role, 'Other')}: {message.content}" for message in history)
        text = self._prompt.fill(history=said, question=question)

        def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
            return [ChatMessage(role=MessageRole.USER, content=text)]

        return compose

    def _remembered(self, question: str, alone: str, answer: Answer) -> Answer:
        self.memory.put(ChatMessage(role=MessageRole.USER, content=alone))
        self.memory.put(ChatMessage(role=MessageRole.ASSISTANT, content=answer.text))
        return replace(answer, question=question, trace={**answer.trace, "searched_for": alone})


_SPEAKERS = {MessageRole.USER: "Question", MessageRole.ASSISTANT: "Answer"}


def _question(reply: str, asked: str) -> str:
    """The rewritten question; the one asked when the reply is no single short line."""
    lines = [line.strip().strip('"“”') for line in reply.strip().splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 and 0 < len(lines[0]) <= _LONGEST_QUESTION else asked
