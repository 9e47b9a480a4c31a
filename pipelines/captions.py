"""Descriptions of pictures by a multimodal LLM, made while indexing: what no text search finds becomes words.

A description becomes nodes of kind `caption` that stand where the picture stands and name the model that made them
(`made_by` in their metadata), so that nothing takes them for words of the source. What was described once is kept in
the data folder by picture, prompt and model: indexing again, or after a killed run, pays nothing twice.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.schema import TextNode
from pydantic import Field

from sensorium import prompts as library
from sensorium.errors import ConfigError, ModelError, SensoriumError
from sensorium.models.llm import ChatModel, ChatModels, LlmOption, Reply, chat_models, counter
from sensorium.nodes import CONTEXT_KEYS, Evidence, content_digest, made_by
from sensorium.pipelines._captions.budget import OUTPUT_TOKENS, Budget, Spent
from sensorium.pipelines._captions.kept import Kept, KeptDescriptions
from sensorium.pipelines._captions.made import caption_nodes, words_of
from sensorium.pipelines._ingest.messages import Splitter
from sensorium.pipelines._multimodal.pictures import Prepared, Role, fitted
from sensorium.pipelines._multimodal.sources import neutral
from sensorium.pipelines.evidence import PictureBytes

PROMPT = "describe"
PictureKind = Literal["figure", "table", "page", "slide", "frame", "scene"]
SMALLEST = 32
"""Pixels of the shorter side below which a picture (a rule, a bullet, an icon) is not worth a request."""
_MESSAGE_TOKENS = 8
_ROLES: dict[str, Role] = {"page": "page", "slide": "slide", "frame": "photo", "scene": "photo"}


@dataclass(frozen=True)
class Described:
    """What became of a picture.

    Attributes:
        nodes: Its description; empty when there is none.
        fault: Why there is none, for the warnings of the source.
        again: Whether another run may do better: the provider failed, or the budget was used up.
    """

    nodes: Sequence[TextNode] = ()
    fault: str = ""
    again: bool = False


@dataclass(frozen=True)
class Ask:
    """A picture as it would be asked about.

    Attributes:
        picture: As sent.
        text: The prompt.
        key: Of its description among those that are kept.
        expected: What the request would take, as far as that is known before.
    """

    picture: Prepared
    text: str
    key: str
    expected: Spent


class Captions:
    """Describes figures, charts (as data tables), photographs and scenes with a multimodal LLM.

    Args:
        prompts: Supplied by the pipeline: prompts that replace ours (describe.md).
        kept: Supplied by the pipeline: descriptions from before.
        llm: The model, {provider: model} or {provider: {option: value}}; a list names others to fall back on.
        kinds: Of which kinds of nodes the pictures are described: figure, table, page, slide, frame, scene.
        max_pixels: Most pixels of a picture that is sent, in millions.
        max_requests: Most requests of one run; pictures beyond are described by a later run.
        max_tokens: Most tokens of one run, in both directions.
        max_cost: Most cost of one run; needs the model's price: {input, output} per million tokens.
        concurrency: Requests at a time.
    """

    def __init__(
        self, prompts: library.Overrides, kept: KeptDescriptions, llm: LlmOption,
        kinds: tuple[PictureKind, ...] = ("figure", "frame", "scene"),
        max_pixels: Annotated[float, Field(gt=0, le=20)] = 1.0,
        max_requests: Annotated[int, Field(ge=0)] | None = None,
        max_tokens: Annotated[int, Field(ge=0)] | None = None,
        max_cost: Annotated[float, Field(ge=0)] | None = None,
        concurrency: Annotated[int, Field(ge=1, le=64)] = 4,
    ) -> None:  # fmt: skip
        self.models: ChatModels = chat_models(llm)
        if max_cost is not None and self.models.first.price is None:
            raise ConfigError(
                "index.captions.max_cost needs the model's price.",
                "Give it: llm: {openai: {model: NAME, price: {input: 0.25, output: 2}}}, per million tokens.",
            )
        self.kinds, self.concurrency = frozenset(kinds), concurrency
        self._megapixels = max_pixels
        self._prompt = library.prompt(PROMPT, prompts)
        self._kept = kept
        self.budget = Budget(max_requests, max_tokens, max_cost)
        self.found = 0
        """Descriptions taken from those that were kept."""
        self._unkept = ""
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}

    def check(self) -> None:
        """Find out before anything is indexed what would make every request fail.

        Raises:
            ConfigError: no key, an unknown model, or a model that takes no pictures.
        """
        for model in self.models.models:
            _ = model.llm
            if not model.vision:
                raise ConfigError(f"{model.name} takes no pictures, so it cannot describe any.", "Name another model.")

    def summary(self) -> str:
        """What was described in this run and what it took, for the report; empty for nothing."""
        spent = self.budget.spent
        if not spent.requests and not self.found:
            return ""
        before = f", {self.found:,} descriptions from before" if self.found else ""
        return f"pictures described by {self._names()}: {spent.words()}{before}{self._unkept}"

    def wants(self, node: TextNode) -> bool:
        """Whether a node's picture is to be described."""
        return node.metadata.get("kind") in self.kinds and not made_by(node)

    def ask(self, node: TextNode, picture: PictureBytes) -> Ask | None:
        """The request for a node's picture, without making it; None for one too small to show anything.

        Raises:
            SensoriumError, OSError, ValueError: the picture cannot be had.
        """
        kind = str(node.metadata["kind"])
        made = fitted(picture(node), "photo" if _is_file(node) else _ROLES.get(kind, "crop"), self._megapixels)
        if min(made.size) < SMALLEST:
            return None
        text = self._prompt.fill(kind=kind, context=_context(node))
        key = content_digest(self._names(), text, made.digest)
        return Ask(made, text, key, self._expected(text, made))

    def known(self, ask: Ask) -> bool:
        """Whether its description is there from before."""
        return self._kept.get(ask.key) is not None

    def describe(self, node: TextNode, picture: PictureBytes, split: Splitter) -> Described:
        """Describe a node's picture.

        Args:
            node: One that is wanted (`wants`).
            picture: Gives its picture.
            split: The splitter of the index.
        """
        try:
            ask = self.ask(node, picture)
        except (SensoriumError, OSError, ValueError) as fault:
            return Described(fault=_located(node, f"no picture to describe: {fault}"))
        if ask is None:
            return Described()
        with self._only_one(ask.key):
            known = self._kept.get(ask.key)
            kept = self._asked(node, ask) if known is None else known
            self.found += known is not None
        if isinstance(kept, Described):
            return kept
        if not kept.text:
            return Described(fault=_located(node, f"not described: {kept.why}"))
        return Described(caption_nodes(node, kept.text, kept.model, split))

    def _asked(self, node: TextNode, ask: Ask) -> Kept | Described:
        if reason := self.budget.reserve(ask.expected):
            return Described(fault=_located(node, f"not described: the budget is used up ({reason})"), again=True)
        spent = Spent()
        try:
            reply = self.models.chat(lambda model, shrinks: _messages(model, ask))
            spent = _spent(reply, ask.expected)
        except SensoriumError as fault:
            return Described(fault=_located(node, f"not described: {fault}"), again=True)
        finally:
            self.budget.settle(ask.expected, spent)
        return self._keep(ask.key, reply)

    def _keep(self, key: str, reply: Reply) -> Kept:
        text = "" if reply.refused else words_of(reply.text)
        why = f"{reply.model} declined" if reply.refused else f"{reply.model} could make nothing out"
        kept = Kept(text, reply.model, "" if text else why)
        try:
            self._kept.put(key, kept)
        except OSError as fault:  # it is there for this run; the report says that it will be paid again
            self._unkept = f"; descriptions cannot be kept: {fault}"
        return kept

    def _only_one(self, key: str) -> threading.Lock:
        """Held while a picture is asked about, so that the same picture elsewhere waits and finds its description."""
        with self._lock:
            return self._asking.setdefault(key, threading.Lock())

    def _names(self) -> str:
        return ",".join(model.name for model in self.models.models)

    def _expected(self, text: str, picture: Prepared) -> Spent:
        model = self.models.first
        tokens = counter(model.model)(text) + model.picture_tokens(picture.size) + _MESSAGE_TOKENS
        return Spent(1, tokens, OUTPUT_TOKENS, _cost(model, tokens, OUTPUT_TOKENS))


def revision(options: Mapping[str, Any], prompts: library.Overrides) -> str:
    """Changes with whatever changes descriptions: models, prompt, kinds, pixels; not with budgets and secrets.

    Args:
        options: Those of `Captions`.
        prompts: Prompts that replace ours.
    """
    names = ",".join(model.name for model in chat_models(options["llm"]).models)
    text = library.prompt(PROMPT, prompts).text
    return content_digest(names, text, str(options["max_pixels"]), *sorted(options["kinds"]))[:16]


def _messages(model: ChatModel, ask: Ask) -> list[ChatMessage]:
    if not model.vision:  # the provider has just said so
        raise ModelError(f"{model.name} takes no pictures.", "Name another model under index.captions.llm.")
    picture = ImageBlock(image=ask.picture.data, image_mimetype=ask.picture.media_type)
    return [ChatMessage(role="user", blocks=[TextBlock(text=ask.text), picture])]


def _context(node: TextNode) -> str:
    # The title of a picture file is its name, which says little, and would make each copy cost a request of its own.
    keys = [key for key in CONTEXT_KEYS if key != "title" or not _is_file(node)]
    known = [f"{key.capitalize()}: {node.metadata[key]}" for key in keys if node.metadata.get(key)]
    return neutral("\n".join(known)).replace("<", "‹") or "(nothing)"


def _is_file(node: TextNode) -> bool:
    """Whether a picture is a file of its own."""
    return str(node.metadata.get("media_type", "")).startswith("image/")


def _spent(reply: Reply, expected: Spent) -> Spent:
    """What a reply took; where the provider tells nothing, what was expected."""
    used = (reply.usage.input or expected.input, reply.usage.output or expected.output)
    return Spent(1, *used, expected.cost if reply.cost is None else reply.cost)


def _cost(model: ChatModel, given: int, made: int) -> float | None:
    return None if model.price is None else (given * model.price[0] + made * model.price[1]) / 1e6


def _located(node: TextNode, reason: str) -> str:
    """A fault as loaders word theirs: "page 3, figure: ..."."""
    place = Evidence.of(node)
    parts = [f"{name} {value}" for name, value in (("page", place.page), ("slide", place.slide)) if value]
    if place.start_s is not None:
        parts.append(f"{place.start_s:.0f} s")
    return f"{', '.join([*parts, place.kind])}: {' '.join(reason.split())}"


def kept_in(data_folder: Path) -> KeptDescriptions:
    """Where descriptions are kept."""
    return KeptDescriptions(data_folder / "captions")
