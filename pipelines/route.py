"""Routing: which pipeline answers a question. The first router that decides wins; else the pipeline itself answers."""

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from sensorium.errors import SensoriumError
from sensorium.models.llm import ChatModels, LlmOption, Reply, chat_models
from sensorium.pipelines._multimodal.protocol import without_thoughts
from sensorium.pipelines._multimodal.sources import neutral
from sensorium.pipelines.expand import saying
from sensorium.prompts import Overrides, prompt

LOG = logging.getLogger("sensorium.query")
_NUMBER = re.compile(
    r"(?:(?:answer|choice|number)\s*[:=]?\s*)?[\[(]?(\d{1,3})[\])]?(?:[.):\s].*)?", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True)
class Asked:
    """What routers look at: the words, and whether a picture or a recording came with them."""

    text: str
    image: bool = False
    audio: bool = False


@dataclass(frozen=True)
class Routed:
    """Where a question goes: a pipeline's name ("" when no router decided), why, and what a reader should know."""

    pipeline: str = ""
    trace: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Router(ABC):
    """Decides for some questions."""

    name: ClassVar[str]

    @staticmethod
    @abstractmethod
    def named(options: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
        """The pipelines that its options name, each with its place in them, to be checked with the configuration."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Free what a model holds in this process."""

    @abstractmethod
    def route(self, asked: Asked) -> Routed:
        """Decide; without a pipeline in the result the next router is asked.

        Raises:
            ModelError: it could not be asked.
        """

    async def aroute(self, asked: Asked) -> Routed:
        """`route`, without blocking the event loop."""
        return self.route(asked)


def _patterns(words: dict[str, str]) -> dict[str, str]:
    for pattern in words:
        try:
            re.compile(pattern)
        except re.error as fault:
            raise ValueError(f"{pattern!r} is no regular expression: {fault}") from None
    return words


class Rules(Router):
    """Decides by what the question has: a recording, a picture, words.

    Args:
        image: The pipeline for questions with a picture.
        audio: The pipeline for questions with a recording.
        words: Pipelines by regular expression, looked for in the question in this order, small and capital letters
            alike: {"invoice|amount due": invoices}.
    """

    name = "rules"

    def __init__(
        self, image: str | None = None, audio: str | None = None,
        words: Annotated[dict[str, str], AfterValidator(_patterns)] = {},  # noqa: B006 - shown in the schema, not changed
    ) -> None:  # fmt: skip
        self._image, self._audio = image or "", audio or ""
        self._words = [(re.compile(pattern, re.IGNORECASE), name) for pattern, name in words.items()]

    @staticmethod
    def named(options: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
        """See `Router.named`."""
        media = [((key,), str(options[key])) for key in ("image", "audio") if options[key]]
        return media + [(("words", pattern), name) for pattern, name in options["words"].items()]

    def route(self, asked: Asked) -> Routed:
        """See `Router.route`."""
        if asked.audio and self._audio:
            return Routed(self._audio, {"router": self.name, "why": "audio"})
        if asked.image and self._image:
            return Routed(self._image, {"router": self.name, "why": "image"})
        for pattern, name in self._words:
            if pattern.search(asked.text):
                return Routed(name, {"router": self.name, "why": pattern.pattern})
        return Routed()


class Choose(Router):
    """An LLM chooses by the pipelines' descriptions.

    Args:
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        pipelines: Descriptions by name: {tables: "figures and prices in tables", talks: "what was said in meetings"}.
        prompts: Supplied by the pipeline.
    """

    name = "choose"

    def __init__(
        self, llm: LlmOption, pipelines: Annotated[dict[str, str], Field(min_length=1)], prompts: Overrides = None
    ) -> None:
        self.models: ChatModels = chat_models(llm)
        self._pipelines, self._prompt = dict(pipelines), prompt("route", prompts)

    @staticmethod
    def named(options: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
        """See `Router.named`."""
        return [(("pipelines", name), name) for name in options["pipelines"]]

    def route(self, asked: Asked) -> Routed:
        """See `Router.route`."""
        return self._read(self.models.chat(saying(self._text(asked))))

    async def aroute(self, asked: Asked) -> Routed:
        """`route`, without blocking the event loop; cancelling closes the request."""
        return self._read(await self.models.achat(saying(self._text(asked))))

    def close(self) -> None:
        """See `Router.close`."""
        self.models.close()

    def _text(self, asked: Asked) -> str:
        listed = "\n".join(f"{at}. {what}" for at, what in enumerate(self._pipelines.values(), 1))
        return self._prompt.fill(pipelines=listed, question=neutral(asked.text))

    def _read(self, reply: Reply) -> Routed:
        name = choice_in(reply.text, list(self._pipelines))
        trace = {"router": self.name, "why": reply.text.strip()[:80], "llm": reply.public()}
        if name is None:
            why = f"{reply.model} named none of the pipelines: {reply.text.strip()[:80]!r}"
            return Routed("", {**trace, "problem": why}, (why,))
        return Routed(name, trace, reply.notes)


class Route:
    """The routers of a pipeline.

    Args:
        routers: In order.
        where: Path of the list in the configuration, for warnings.
    """

    def __init__(self, routers: Sequence[Router], where: str = "route") -> None:
        self.routers, self._where = tuple(routers), where

    def run(self, asked: Asked) -> Routed:
        """Decide; a router that fails is left out, with a warning that says which and why."""
        decision = _Decision(self._where)
        for at, router in enumerate(self.routers):
            try:
                if decision.take(at, router, router.route(asked)):
                    break
            except SensoriumError as fault:
                decision.failed(at, router, fault)
        return decision.made()

    async def arun(self, asked: Asked) -> Routed:
        """`run`, without blocking the event loop; cancelling closes requests."""
        decision = _Decision(self._where)
        for at, router in enumerate(self.routers):
            try:
                if decision.take(at, router, await router.aroute(asked)):
                    break
            except SensoriumError as fault:
                decision.failed(at, router, fault)
        return decision.made()


class _Decision:
    """What has been decided so far."""

    def __init__(self, where: str) -> None:
        self._where, self._started = where, time.perf_counter()
        self._pipeline = ""
        self._steps: list[Mapping[str, Any]] = []
        self._notes: list[str] = []

    def take(self, at: int, router: Router, routed: Routed) -> bool:
        """Note what a router said; True when it decided."""
        self._steps += [routed.trace] if routed.trace else []
        if not routed.pipeline and routed.notes:
            self._warn(at, router, routed.notes[0])
        elif routed.pipeline:
            self._pipeline = routed.pipeline
            self._notes += routed.notes
        return bool(routed.pipeline)

    def failed(self, at: int, router: Router, fault: SensoriumError) -> None:
        self._steps.append({"router": router.name, "problem": str(fault)})
        self._warn(at, router, str(fault))

    def _warn(self, at: int, router: Router, why: str) -> None:
        self._notes.append(f"{self._where}[{at}].{router.name} was left out: {why}")
        LOG.warning(self._notes[-1])

    def made(self) -> Routed:
        seconds = time.perf_counter() - self._started
        trace = {"pipeline": self._pipeline or None, "seconds": seconds, "steps": list(self._steps)}
        return Routed(self._pipeline, {"route": trace}, tuple(self._notes))


def choice_in(reply: str, names: Sequence[str]) -> str | None:
    """The name that a reply chooses by its number or by itself; "" for none of them, None for nonsense."""
    text = without_thoughts(reply).strip().strip("*`\"'. ")
    if number := _NUMBER.fullmatch(text):
        at = int(number[1])
        return "" if at == 0 else names[at - 1] if at <= len(names) else None
    return next((name for name in names if name.casefold() == text.casefold()), None)
