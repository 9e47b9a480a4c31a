"""What a model's reply holds, whatever the provider calls it: text, usage, why it ended, whether it refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatResponse


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them; None where it does not tell."""

    input: int | None = None
    output: int | None = None


@dataclass(frozen=True)
class Reply:
    """What a model replied.

    Attributes:
        text: Its words.
        model: "provider/model" that answered.
        usage: Tokens as counted by the provider.
        cost: In the currency of the given prices; None without prices or usage.
        finish: The provider's reason for ending ("stop", "length", ...); empty when it gave none.
        partial: Why the text is not whole; empty when it is.
        refused: Whether the model, or its provider's filter, declined to answer.
        attempts: Requests made, over all models.
        first_token_s: Seconds from the last request to the first token, for streams.
        seconds: Wall time over all attempts.
        notes: What happened on the way: fallbacks, left-out pictures.
    """

    text: str
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    finish: str = ""
    partial: str = ""
    refused: bool = False
    attempts: int = 1
    first_token_s: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def public(self) -> dict[str, Any]:
        """For an answer's trace."""
        return {
            "model": self.model, "tokens": {"input": self.usage.input, "output": self.usage.output},
            "cost": self.cost, "finish": self.finish or None, "partial": self.partial or None,
            "refused": self.refused, "attempts": self.attempts, "first_token_s": self.first_token_s,
            "seconds": self.seconds, "notes": list(self.notes),
        }  # fmt: skip


_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count", "prompt_eval_count", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count", "eval_count", "outputTokens")
_USAGE = ("usage", "usage_metadata")
_FINISH = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_REFUSALS = frozenset("content_filter refusal safety prohibited_content blocklist guardrail_intervened".split())
_CUT = frozenset({"length", "max_tokens"})


def usage_of(response: ChatResponse) -> Usage:
    """Token counts of a reply or of the last piece of a stream."""
    raw, told = response.raw, response.message.additional_kwargs
    places = [response.additional_kwargs, *(_get(raw, name) for name in _USAGE), raw, told]
    return Usage(_first_number(places, _INPUT), _first_number(places, _OUTPUT))


def finish_of(response: ChatResponse) -> str:
    """Why the model ended; empty when it does not tell."""
    raw = response.raw
    owners = [raw, _first(_get(raw, "choices")), _first(_get(raw, "candidates")), _get(raw, "message"),
              _get(raw, "delta"), response.message.additional_kwargs, response.additional_kwargs]  # fmt: skip
    for owner in owners:
        for name in _FINISH:
            value = _get(owner, name)
            if value:
                return str(getattr(value, "name", value)).lower()
    return ""


def refusal_of(response: ChatResponse) -> str | None:
    """The words with which a model declined; empty when a filter did; None when neither."""
    message = _get(_first(_get(response.raw, "choices")), "message") or _get(
        _first(_get(response.raw, "choices")), "delta"
    )
    words = _get(message, "refusal")
    if isinstance(words, str) and words:
        return words
    return "" if finish_of(response) in _REFUSALS else None


def was_cut(finish: str) -> bool:
    """Whether a reply ended because it grew too long."""
    return finish in _CUT


def text_of(response: ChatResponse) -> str:
    """The words of a reply, without what the model thought."""
    from llama_index.core.base.llms.types import TextBlock

    return "".join(block.text for block in response.message.blocks if isinstance(block, TextBlock) and block.text)


def _get(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list | tuple) and values else None


def _first_number(owners: list[Any], names: tuple[str, ...]) -> int | None:
    for owner in owners:
        for name in names:
            value = _get(owner, name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
