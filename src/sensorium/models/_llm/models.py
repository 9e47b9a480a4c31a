"""One chat LLM with what we know and measure of it."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sensorium.errors import ConfigError, MissingExtraError
from sensorium.models._integrations import MODEL
from sensorium.models._llm.facts import Size, picture_tokens, sound_tokens, takes_pictures, takes_sound
from sensorium.models._llm.providers import OWN_OPTIONS, Provider, create, provider
from sensorium.models._llm.replies import Usage
from sensorium.once import once

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import ChatMessage, MessageRole
    from llama_index.core.llms import LLM

RETRIES = 3
FAILURES_TO_OPEN = 3
OPEN_SECONDS = 30.0
DEFAULT_WINDOW = 32_768
DEFAULT_OUTPUT = 1024
_NO_SYSTEM = re.compile(r"o1-(mini|preview)")


@dataclass
class ChatModel:
    """A chat LLM.

    Attributes:
        provider: Name of the integration, "custom" for one given as an object.
        model: Name of the model.
        make: Makes the LlamaIndex LLM, when it is first used.
        options: As configured; used to keep keys out of messages.
        retries: Requests beyond the first, when a failure may pass.
        vision: Whether pictures are sent; set to False when the provider refuses them.
        hearing: Whether sound is sent; likewise.
        price: Per million input and output tokens.
        window: Tokens of prompt and reply together; None: as LlamaIndex says.
    """

    provider: str
    model: str
    make: Callable[[], "LLM"]
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    retries: int = RETRIES
    vision: bool = True
    hearing: bool = False
    price: tuple[float, float] | None = None
    window: int | None = None
    _failures: int = field(default=0, repr=False)
    _closed_until: float = field(default=0.0, repr=False)

    @property
    def name(self) -> str:
        """Provider and model, "openai/gpt-5-mini", for traces and messages."""
        return f"{self.provider}/{self.model}" if self.model else self.provider

    @once
    def llm(self) -> "LLM":
        """The LlamaIndex LLM.

        Raises:
            ConfigError: it cannot be made: no key, an unknown model, a wrong option.
        """
        return self.make()

    def close(self) -> None:
        """Free what the LLM holds in this process, such as a local model's weights; the next request makes it anew."""
        if (close := getattr(self.__dict__.get("llm"), "close", None)) is not None:
            close()

    def room(self) -> int:
        """Tokens that a prompt may have, with space left for the reply."""
        window, reply = DEFAULT_WINDOW, DEFAULT_OUTPUT
        # Without a key or package there is still a prompt to show; asking the model tells what is wrong with it.
        with suppress(ConfigError, MissingExtraError):
            metadata = self.llm.metadata
            window = metadata.context_window if metadata.context_window > 0 else window
            reply = metadata.num_output if metadata.num_output > 0 else reply
        window = self.window or window
        return max(window - min(reply, window // 2), 256)

    def system_role(self) -> "MessageRole":
        """The role of the rules: some models know no system message."""
        from llama_index.core.base.llms.types import MessageRole

        role = MessageRole.SYSTEM
        with suppress(ConfigError, MissingExtraError):
            role = self.llm.metadata.system_role
        # LlamaIndex says USER of every reasoning model of OpenAI; all but the first ones take a system message.
        return MessageRole.SYSTEM if role == MessageRole.USER and not _NO_SYSTEM.match(self.model) else role

    def picture_tokens(self, size: Size) -> int:
        """What a picture of this width and height costs, in tokens."""
        return picture_tokens(self.provider, self.model, size)

    def sound_tokens(self, seconds: float) -> int:
        """What sound of this length costs, in tokens."""
        return sound_tokens(self.provider, self.model, seconds)

    def cost(self, usage: Usage) -> float | None:
        """What a reply cost; None without prices or counts."""
        if self.price is None or usage.input is None or usage.output is None:
            return None
        return (usage.input * self.price[0] + usage.output * self.price[1]) / 1e6

    def down_for(self) -> float:
        """Seconds until it is tried again; 0 when it is up."""
        return max(0.0, self._closed_until - time.monotonic())

    def failed(self) -> None:
        """Note a request that failed after all its retries; several in a row leave the model out for a while."""
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._closed_until = time.monotonic() + OPEN_SECONDS

    def worked(self) -> None:
        """Note a request that worked."""
        self._failures, self._closed_until = 0, 0.0


def from_llm(llm: "LLM") -> ChatModel:
    """A LlamaIndex LLM that was made elsewhere."""
    where = type(llm).__module__.split(".")
    name = where[2] if where[:2] == ["llama_index", "llms"] and len(where) > 2 else "custom"
    model = llm.metadata.model_name
    model = type(llm).__name__ if model == "unknown" else model
    sees, hears = takes_pictures(name, model), takes_sound(name, model)
    return ChatModel(name, model, lambda: llm, vars(llm), vision=sees, hearing=hears)


def from_options(name: str, options: Mapping[str, Any]) -> ChatModel:
    """The LLM that YAML names; it is made when it is first used.

    Raises:
        ConfigError: an unknown provider, or a wrong value of one of our own options.
    """
    known = provider(name)
    model = str(options.get(MODEL, ""))
    if known.file:
        model = model.replace("\\", "/").rpartition("/")[2]
    check_own(name, options)
    price = options.get("price")
    vision = options.get("vision")
    return ChatModel(
        known.name, model, _maker(known, options), {**options, "_": _environment_key(known)},
        retries=int(options.get("max_retries", RETRIES)),
        vision=_sees(known, model, options) if vision is None else vision,
        hearing=bool(options.get("sound", takes_sound(known.name, model))),
        price=(float(price["input"]), float(price["output"])) if price else None,
        window=options.get("context_window"),
    )  # fmt: skip


def _sees(known: Provider, model: str, options: Mapping[str, Any]) -> bool:
    return bool(options.get(known.eyes)) if known.eyes else takes_pictures(known.name, model)


def check_own(name: str, options: Mapping[str, Any]) -> None:
    """Check the options that are ours.

    Raises:
        ConfigError: one has a value that makes no sense.
    """
    price = options.get("price")
    if price is not None and not (
        isinstance(price, Mapping) and set(price) == {"input", "output"} and all(map(_amount, price.values()))
    ):
        raise ConfigError(f"{name}.price must be {{input: NUMBER, output: NUMBER}}, per million tokens.")
    checks: dict[str, tuple[Callable[[Any], bool], str]] = {
        "max_retries": (lambda v: _whole(v) and 0 <= v <= 20, "a whole number from 0 to 20"),
        "vision": (lambda v: isinstance(v, bool), "true or false"),
        "sound": (lambda v: isinstance(v, bool), "true or false"),
        "context_window": (lambda v: _whole(v) and v >= 512, "a whole number of at least 512"),
    }
    for option, (holds, expected) in checks.items():
        if options.get(option) is not None and not holds(options[option]):
            raise ConfigError(f"{name}.{option} must be {expected}.")


def _amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _maker(known: Provider, options: Mapping[str, Any]) -> Callable[[], "LLM"]:
    return lambda: create(known, options)


def _environment_key(known: Provider) -> Mapping[str, str]:
    """The key that is taken from the environment, so that it is kept out of messages too."""
    import os

    value = os.environ.get(known.key_variable, "") if known.key_variable else ""
    return {"api_key": value}


def media_in(messages: Sequence["ChatMessage"]) -> frozenset[str]:
    """What messages carry beside words: "image", "audio"."""
    return frozenset(block.block_type for message in messages for block in message.blocks) & {"image", "audio"}


__all__ = ["OWN_OPTIONS", "ChatModel", "from_llm", "from_options", "media_in"]
