"""Query steps: what else is searched for beside the question, found out by an LLM before the search.

A step is one class: it composes a prompt and reads variants out of the reply. Asking (at once for all steps, with
retries and fallbacks), counting, and going on without a step that fails are done here, so LlamaIndex's transforms
(`HyDEQueryTransform`, the queries of `QueryFusionRetriever`) are not used: they ask past all that, one after the
other, and only without an event loop.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from pydantic import Field

from sensorium.errors import SensoriumError
from sensorium.models.llm import ChatModel, ChatModels, Compose, LlmOption, Reply, chat_models

LOG = logging.getLogger("sensorium.query")
StepWeight = Annotated[float, Field(gt=0, le=2)]


@dataclass(frozen=True)
class Variant:
    """Something else to search for.

    Attributes:
        text: What is searched for.
        step: Name of the step that made it.
        weight: Its say in the fusion; the question's own is 1.
        by: Whether every leg searches for it, or only those that compare vectors.
    """

    text: str
    step: str
    weight: float = 0.5
    by: Literal["all", "vector"] = "all"


@dataclass(frozen=True)
class Expanded:
    """What the steps brought: variants, their times and usage, and what a reader should know."""

    variants: tuple[Variant, ...] = ()
    trace: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class QueryStep(ABC):
    """One step.

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
    """

    name: ClassVar[str]

    def __init__(self, llm: LlmOption) -> None:
        self.models: ChatModels = chat_models(llm)

    def close(self) -> None:
        """Free what the model holds in this process."""
        self.models.close()

    @abstractmethod
    def prompt(self, question: str) -> str | None:
        """What the model is asked; None when the step has nothing to do for this question."""

    @abstractmethod
    def variants(self, reply: str, question: str) -> list[Variant]:
        """What a reply brings; none when it makes no sense."""


class Expansion:
    """The steps of a pipeline.

    Args:
        steps: All of them look at the question itself, and are asked at once.
        where: Path of the list in the configuration, for warnings.
    """

    def __init__(self, steps: Sequence[QueryStep], where: str = "expand") -> None:
        self.steps, self._where = tuple(steps), where

    def run(self, question: str) -> Expanded:
        """Ask every step. One that fails is left out, with a warning that says which and why."""
        started = time.perf_counter()
        asked = self._asked(question)
        if len(asked) < 2:
            return self._joined([self._ask(at, prompt, question) for at, prompt in asked], started)
        with ThreadPoolExecutor(len(asked), "step") as pool:
            made = [pool.submit(self._ask, at, prompt, question) for at, prompt in asked]
            return self._joined([one.result() for one in made], started)

    async def arun(self, question: str) -> Expanded:
        """`run`, without blocking the event loop; cancelling closes the requests."""
        started = time.perf_counter()
        made = await asyncio.gather(*(self._aask(at, prompt, question) for at, prompt in self._asked(question)))
        return self._joined(made, started)

    def _asked(self, question: str) -> list[tuple[int, str]]:
        prompts = [(at, step.prompt(question)) for at, step in enumerate(self.steps)]
        return [(at, prompt) for at, prompt in prompts if prompt is not None]

    def _ask(self, at: int, prompt: str, question: str) -> Expanded:
        try:
            reply: Reply | SensoriumError = self.steps[at].models.chat(saying(prompt))
        except SensoriumError as fault:
            reply = fault
        return self._read(at, reply, question)

    async def _aask(self, at: int, prompt: str, question: str) -> Expanded:
        try:
            reply: Reply | SensoriumError = await self.steps[at].models.achat(saying(prompt))
        except SensoriumError as fault:
            reply = fault
        return self._read(at, reply, question)

    def _read(self, at: int, reply: Reply | SensoriumError, question: str) -> Expanded:
        step = self.steps[at]
        where = f"{self._where}[{at}].{step.name}"
        if isinstance(reply, SensoriumError):
            return _without(where, step.name, str(reply), {})
        found = tuple(step.variants(reply.text, question))
        if not found:
            return _without(where, step.name, f"{reply.model} replied nothing to search for", reply.public())
        trace = {"step": step.name, "searched_for": [variant.text for variant in found], "llm": reply.public()}
        return Expanded(found, trace, reply.notes)

    def _joined(self, parts: Sequence[Expanded], started: float) -> Expanded:
        trace = {"expand": [dict(part.trace) for part in parts], "expand_s": time.perf_counter() - started}
        variants = tuple(variant for part in parts for variant in part.variants)
        return Expanded(variants, trace if parts else {}, tuple(note for part in parts for note in part.notes))


def _without(where: str, name: str, why: str, reply: Mapping[str, Any]) -> Expanded:
    """The step brought nothing: the question is searched for as it stands."""
    note = f"{where} was left out: {why}"
    LOG.warning(note)
    return Expanded((), {"step": name, "searched_for": [], "llm": dict(reply) or None, "problem": why}, (note,))


def saying(text: str) -> Compose:
    """A request of one message."""

    def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        return [ChatMessage(role=MessageRole.USER, content=text)]

    return compose
