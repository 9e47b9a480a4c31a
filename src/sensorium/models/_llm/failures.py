"""What went wrong with a request to a model, found out without importing any provider's package."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sensorium.models.adapters import redacted

Kind = Literal["busy", "lost", "key", "model", "too long", "no pictures", "no sound", "malformed", "refused", "other"]
_PASSING = frozenset({"busy", "lost"})

_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|too (long|many tokens|large)|maximum.{0,30}tokens"
    r"|exceed.{0,40}(token|context)",
    re.IGNORECASE,
)
_NO_PICTURES = re.compile(
    r"image.{0,60}(not|un)[ -]?(support|allow|accept)|(not|n't|un)[ -]?(support|accept|process|take)\w*.{0,60}"
    r"(image|vision|multi-?modal)|image_url.{0,40}(invalid|not|unknown|unexpected)|mmproj|not a (vision|multimodal)",
    re.IGNORECASE | re.DOTALL,
)
_NO_SOUND = re.compile(
    r"audio.{0,60}(not|un)[ -]?(support|allow|accept)|(not|n't|un)[ -]?(support|accept|process|take)\w*.{0,60}audio"
    r"|input_audio.{0,60}(invalid|not|unknown|unexpected|one of)|(invalid|unknown|unexpected).{0,40}input_audio",
    re.IGNORECASE | re.DOTALL,
)
_LOST = frozenset(
    "APIConnectionError APITimeoutError TransportError ConnectionError TimeoutError ConnectTimeoutError "
    "ReadTimeoutError EndpointConnectionError ClientConnectionError ServerTimeoutError".split()
)
_INLINE = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+|[A-Za-z0-9+/=]{200,}")
_LONGEST = 400


@dataclass(frozen=True)
class Failure:
    """Why a request failed.

    Attributes:
        kind: "busy": 429, 5xx or overloaded; "lost": no connection, or a time-out.
        words: For a person, without keys and pictures.
        status: HTTP status, where there was an answer.
        retry_after: Seconds that the provider asks to wait.
    """

    kind: Kind
    words: str
    status: int | None = None
    retry_after: float | None = None

    @property
    def passing(self) -> bool:
        """Whether the same request may work a little later."""
        return self.kind in _PASSING


class MalformedReplyError(Exception):
    """A model answered something that is no answer."""


def failure(error: BaseException, options: Mapping[str, Any], media: Collection[str] = ()) -> Failure:
    """Classify an exception of any provider's client.

    Args:
        error: What was raised.
        options: The model's options; values that are keys do not show in the words.
        media: What was sent beside words: "image", "audio".
    """
    words = shown(error, options)
    status = next(filter(None, map(_status, _chain(error))), None)
    kind = _kind(error, status, words, media)
    return Failure(kind, words, status, _retry_after(error))


def shown(error: BaseException, options: Mapping[str, Any]) -> str:
    """An error in words: no keys, no pictures, not too long, on one line."""
    words = " ".join(_INLINE.sub("…", redacted(error, options)).split())
    return words if len(words) <= _LONGEST else words[:_LONGEST] + "…"


def _kind(error: BaseException, status: int | None, words: str, media: Collection[str]) -> Kind:
    if isinstance(error, MalformedReplyError):
        return "malformed"
    if status in (401, 403):
        return "key"
    if status == 404:
        return "model"
    if status in (400, 413, 422, 500):
        if "audio" in media and _NO_SOUND.search(words):
            return "no sound"
        if "image" in media and _NO_PICTURES.search(words):
            return "no pictures"
        if _TOO_LONG.search(words):
            return "too long"
    if status in (408, 409, 425, 429) or (status is not None and status >= 500):
        return "busy"
    if status is None and any(name in _LOST for e in _chain(error) for name in _names(e)):
        return "lost"
    return "malformed" if _is_parse_error(error) else "other"


def _is_parse_error(error: BaseException) -> bool:
    """Clients break on replies that are no JSON, or JSON of another shape."""
    kinds = (ValueError, TypeError, AttributeError, KeyError, IndexError)
    return isinstance(error, kinds) or any("ValidationError" in name for name in _names(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(6):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _names(error: BaseException) -> Iterator[str]:
    return (kind.__name__ for kind in type(error).__mro__)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        response = response.get("ResponseMetadata", {})
        return response.get("HTTPStatusCode") if isinstance(response.get("HTTPStatusCode"), int) else None
    for owner in (error, response):
        for name in ("status_code", "code"):
            value = getattr(owner, name, None)
            if isinstance(value, int) and 400 <= value <= 599:
                return value
    return None


def _retry_after(error: BaseException) -> float | None:
    for each in _chain(error):
        headers = getattr(getattr(each, "response", None), "headers", None)
        if headers is None or not hasattr(headers, "get"):
            continue
        if (exact := _number(headers.get("retry-after-ms"))) is not None:
            return exact / 1000
        text = headers.get("retry-after")
        if text:
            return _number(text) if _number(text) is not None else _until(text)
    return None


def _number(text: Any) -> float | None:
    try:
        return max(0.0, float(text))
    except (TypeError, ValueError):
        return None


def _until(date: str) -> float | None:
    """Seconds until an HTTP date."""
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
