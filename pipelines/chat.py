"""Questions that follow on from each other: each is made to stand alone before it is searched for."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.vector_stores.types import MetadataFilters

from sensorium.errors import SensoriumError
from sensorium.models.llm import ChatModels, Compose, Reply
from sensorium.pipelines._multimodal.protocol import without_thoughts
from sensorium.pipelines.expand import LOG, saying
from sensorium.pipelines.multimodal import Multimodal
from sensorium.pipelines.query import QueryPipeline
from sensorium.pipelines.query_steps import LONGEST_QUESTION, Rewrite
from sensorium.pipelines.results import Answer
from sensorium.prompts import Overrides, prompt

MEMORY_TOKENS = 2000


class Chat:
    """A conversation with a pipeline.

    With an LLM (`synthesize: multimodal`, or `expand: [{rewrite: {llm: ...}}]`), a follow-up is rewritten into a
    question that stands alone, and that one is searched for and answered. Without one, or when it cannot be asked,
    questions are taken as they stand.

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
        self._models = _models(pipeline)

    def ask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """Answer the next question.

        Raises:
            ModelError: no model answered. The conversation is left as it was.
        """
        alone = self._alone(question)
        return self._remembered(question, alone, self.pipeline.ask(alone.question, filters, top_k))

    async def aask(self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None) -> Answer:
        """`ask`, without blocking the event loop."""
        alone = await self._aalone(question)
        return self._remembered(question, alone, await self.pipeline.aask(alone.question, filters, top_k))

    async def astream(
        self, question: str, filters: MetadataFilters | None = None, top_k: int | None = None
    ) -> AsyncGenerator[str | Answer, None]:
        """The next answer's words as they come, then the `Answer`."""
        alone = await self._aalone(question)
        async with aclosing(self.pipeline.astream(alone.question, filters, top_k)) as parts:
            async for part in parts:
                yield self._remembered(question, alone, part) if isinstance(part, Answer) else part

    def reset(self) -> None:
        """Forget the conversation."""
        self.memory.reset()

    def _alone(self, question: str) -> "_Alone":
        if self._models is None or not (history := self._history()):
            return _Alone(question)
        try:
            return _rewritten(self._models.chat(self._rewriting(history, question)), question)
        except SensoriumError as fault:
            return _as_asked(question, fault)

    async def _aalone(self, question: str) -> "_Alone":
        history = await asyncio.to_thread(self._history)
        if self._models is None or not history:
            return _Alone(question)
        try:
            return _rewritten(await self._models.achat(self._rewriting(history, question)), question)
        except SensoriumError as fault:
            return _as_asked(question, fault)

    def _history(self) -> list[ChatMessage]:
        return self.memory.get()

    def _rewriting(self, history: Sequence[ChatMessage], question: str) -> Compose:
        said = "\n".join(f"{_SPEAKERS.get(message.role, 'Other')}: {message.content}" for message in history)
        return saying(self._prompt.fill(history=said, question=question))

    def _remembered(self, question: str, alone: "_Alone", answer: Answer) -> Answer:
        self.memory.put(ChatMessage(role=MessageRole.USER, content=alone.question))
        self.memory.put(ChatMessage(role=MessageRole.ASSISTANT, content=answer.text))
        trace = {**answer.trace, "searched_for": alone.question, "rewrite": alone.trace or None}
        return replace(answer, question=question, trace=trace, notes=(*alone.notes, *answer.notes))


@dataclass(frozen=True)
class _Alone:
    """A question that stands alone, what it took to make it, and what a reader should know."""

    question: str
    trace: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _models(pipeline: QueryPipeline) -> ChatModels | None:
    """Who rewrites: the model of the step `rewrite`, else the one that answers."""
    steps = pipeline.retriever.expansion.steps if pipeline.retriever.expansion else ()
    own = next((step.models for step in steps if isinstance(step, Rewrite)), None)
    made = pipeline.synthesizer
    return own or (made.models if isinstance(made, Multimodal) else None)


def _rewritten(reply: Reply, asked: str) -> _Alone:
    return _Alone(_question(reply.text, asked), {"llm": reply.public(), "seconds": reply.seconds}, reply.notes)


def _as_asked(question: str, fault: SensoriumError) -> _Alone:
    note = f"rewrite was left out: {fault}"
    LOG.warning(note)
    return _Alone(question, {"problem": str(fault)}, (note,))


_SPEAKERS = {MessageRole.USER: "Question", MessageRole.ASSISTANT: "Answer"}


def _question(reply: str, asked: str) -> str:
    """The rewritten question; the one asked when the reply is no single short line."""
    lines = [line.strip().strip('"“”') for line in without_thoughts(reply).strip().splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 and 0 < len(lines[0]) <= LONGEST_QUESTION else asked
