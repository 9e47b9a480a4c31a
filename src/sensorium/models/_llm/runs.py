"""The decisions of a request, without waiting or input and output: which model, retry or not, how long to wait."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llama_index.core.base.llms.types import ChatMessage, ChatResponse

from sensorium.errors import ConfigError, MissingExtraError, ModelError
from sensorium.models._llm.failures import Failure, MalformedReplyError, failure
from sensorium.models._llm.models import ChatModel, media_in
from sensorium.models._llm.replies import Reply, Usage, finish_of, refusal_of, text_of, usage_of, was_cut

if TYPE_CHECKING:
    from llama_index.core.llms import LLM

FIRST_WAIT, LONGEST_WAIT, LONGEST_RETRY_AFTER = 0.5, 20.0, 60.0
MOST_SHRINKS = 4
ENDS_WITHOUT_REASON = "the connection ended before the model had finished"

Compose = Callable[[ChatModel, int], Sequence[ChatMessage]]
"""Makes the messages for a model; the number says how often the prompt was too long already."""


@dataclass
class Attempt:
    """One request to make."""

    model: ChatModel
    messages: Sequence[ChatMessage]

    @property
    def llm(self) -> "LLM":
        """The LlamaIndex LLM to ask."""
        return self.model.llm


@dataclass
class Run:
    """One question put to the first model that answers it.

    Usage: `attempt = run.next()`, make the request; when it fails, wait `run.failed(error)` seconds and go on with
    `run.next()`; when it works, `run.reply(...)`.

    Args:
        models: In order of preference.
        compose: Makes the messages.
    """

    models: Sequence[ChatModel]
    compose: Compose
    _at: int = 0
    _tries: int = 0
    _shrinks: int = 0
    _requests: int = 0
    _started: float = field(default_factory=time.perf_counter)
    _sent: float = 0.0
    _current: Attempt | None = None
    _notes: list[str] = field(default_factory=list)
    _failures: list[tuple[ChatModel, Failure]] = field(default_factory=list)
    _lacking: set[tuple[str, str]] = field(default_factory=set)

    def next(self) -> Attempt:
        """The next request to make.

        Raises:
            ModelError: no model is left.
            ConfigError: the only model cannot be made.
        """
        while self._at < len(self.models):
            model = self.models[self._at]
            wait = model.down_for()
            if wait > 0 and self._tries == 0:
                words = f"left out for {wait:.0f} s after several failures in a row"
                self._skip(model, Failure("lost", words))
                continue
            try:
                _ = model.llm
            except (ConfigError, MissingExtraError) as fault:
                if len(self.models) == 1:
                    raise
                self._skip(model, Failure("key", str(fault)))
                continue
            messages = self.compose(model, self._shrinks)
            self._requests += 1
            self._sent = time.perf_counter()
            self._current = Attempt(model, messages)
            return self._current
        raise self._error()

    def failed(self, error: BaseException) -> float:
        """Note what went wrong with the current request.

        Returns:
            Seconds to wait before the next one.
        """
        attempt = self._running()
        model = attempt.model
        options = {**model.options, "made": {k: str(v) for k, v in vars(model.llm).items() if isinstance(v, str)}}
        fault = failure(error, options, media_in(attempt.messages))
        if self._goes_without(model, fault):
            return 0.0
        if fault.kind == "too long" and self._shrinks < MOST_SHRINKS:
            self._shrinks += 1
            return 0.0
        if fault.passing and self._tries < model.retries and (fault.retry_after or 0) <= LONGEST_RETRY_AFTER:
            self._tries += 1
            return fault.retry_after if fault.retry_after is not None else _back_off(self._tries)
        if fault.passing:
            model.failed()
        self._skip(model, fault)
        return 0.0

    def _goes_without(self, model: ChatModel, fault: Failure) -> bool:
        """Whether to send the words alone to a model that takes no pictures or no sound: once for each.

        Another run may have found that out meanwhile; what was on its way was still sent with them.
        """
        lacking = (model.name, fault.kind)
        if fault.kind not in ("no pictures", "no sound") or lacking in self._lacking:
            return False
        self._lacking.add(lacking)
        if fault.kind == "no pictures":
            model.vision = False
            self._notes.append(f"{model.name} takes no pictures; their texts were sent alone")
        else:
            model.hearing = False
            self._notes.append(f"{model.name} takes no sound; its transcript was sent alone")
        return True

    def reply(self, response: ChatResponse) -> Reply:
        """The reply to the current request, sent in one piece.

        Raises:
            MalformedReplyError: it holds neither words nor a refusal; to be given to `failed`.
        """
        return self._replied(text_of(response), usage_of(response), finish_of(response), refusal_of(response))

    def streamed(self, stream: "Streamed", broken: BaseException | None = None) -> Reply:
        """The reply to the current request, sent as a stream.

        Args:
            stream: What arrived.
            broken: What ended it early.

        Raises:
            MalformedReplyError: nothing arrived.
        """
        partial = ""
        if broken is not None:
            partial = failure(broken, self._running().model.options).words
        elif stream.tells_why and not stream.finish:
            partial = ENDS_WITHOUT_REASON
        return self._replied(stream.text, stream.usage, stream.finish, stream.refusal, partial, stream.first_s)

    def _replied(
        self, text: str, usage: Usage, finish: str, refusal: str | None, partial: str = "",
        first_token_s: float | None = None,
    ) -> Reply:  # fmt: skip
        model = self._running().model
        if not text.strip() and refusal is None:
            ended = f" (it ended with {finish!r})" if finish else ""
            raise MalformedReplyError(f"the reply is empty{ended}")
        model.worked()
        if was_cut(finish):
            partial = "the reply reached the model's limit of output tokens"
        return Reply(
            text or refusal or "", model.name, usage, model.cost(usage), finish, partial, refusal is not None,
            self._requests, first_token_s, time.perf_counter() - self._started, tuple(self._notes),
        )  # fmt: skip

    @property
    def sent(self) -> float:
        """When the current request was sent, as `time.perf_counter` tells it."""
        return self._sent

    def _running(self) -> Attempt:
        assert self._current is not None, "next() comes first"
        return self._current

    def _skip(self, model: ChatModel, fault: Failure) -> None:
        self._failures.append((model, fault))
        if self._at + 1 < len(self.models):
            self._notes.append(f"{model.name} failed ({fault.words}); asked {self.models[self._at + 1].name} instead")
        self._at, self._tries, self._shrinks = self._at + 1, 0, 0

    def _error(self) -> ModelError:
        what = "; ".join(f"{model.name}: {_described(fault)}" for model, fault in self._failures)
        last = self._failures[-1][1]
        return ModelError(f"No model answered. {what}", _HINTS.get(last.kind, ""))


@dataclass
class Streamed:
    """What has arrived of a stream.

    Attributes:
        text: The words so far.
        first_s: Seconds to the first of them.
        tells_why: Whether this kind of stream says why it ends, so that one without a reason was cut.
    """

    sent: float
    tells_why: bool = False
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    finish: str = ""
    refusal: str | None = None
    first_s: float | None = None

    def add(self, response: ChatResponse) -> str:
        """Take in a piece; returns its new words."""
        whole = text_of(response)
        # Some integrations give no delta, others a delta and no running text.
        piece = response.delta or (whole[len(self.text) :] if whole.startswith(self.text) else "")
        if piece and self.first_s is None:
            self.first_s = time.perf_counter() - self.sent
        self.text += piece
        usage = usage_of(response)
        self.usage = Usage(usage.input or self.usage.input, usage.output or self.usage.output)
        self.finish = finish_of(response) or self.finish
        refusal = refusal_of(response)
        if refusal is not None:
            self.refusal = (self.refusal or "") + refusal
        self.tells_why = self.tells_why or getattr(response.raw, "object", "") == "chat.completion.chunk"
        return piece


def _back_off(tries: int) -> float:
    """Exponential, with jitter so that many clients do not come back at once."""
    wait: float = min(FIRST_WAIT * 2.0 ** (tries - 1), LONGEST_WAIT)
    return wait * random.uniform(0.75, 1.25)


def _described(fault: Failure) -> str:
    status = f"HTTP {fault.status}, " if fault.status else ""
    return f"{status}{_WHAT[fault.kind]}: {fault.words}" if fault.kind in _WHAT else status + fault.words


_WHAT = {
    "busy": "the provider is busy or broken", "lost": "it cannot be reached or did not answer in time",
    "key": "the key is missing or refused", "model": "the model or address is unknown",
    "too long": "the prompt is too long", "malformed": "the reply makes no sense",
}  # fmt: skip
_HINTS = {
    "busy": "Try again later, or name a second LLM to fall back on: llm: [FIRST, SECOND].",
    "lost": "Check the address and that the server runs; a longer `timeout` helps with slow models.",
    "key": "Check the key and what it may be used for.",
    "model": "Check the model's name and the address (api_base or base_url).",
    "too long": "Lower text_tokens or max_images, or give the model's context_window.",
    "malformed": "Check that the address is that of a chat API, and that the model is a chat model.",
}
