"""Speech recognition over HTTP: OpenAI's transcription API, and any endpoint that speaks it."""

import io
import os
import time
import wave
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from sensorium.errors import ConfigError, LoadError, ModelError
from sensorium.languages import language_code
from sensorium.models._speech.sentences import segments, texted
from sensorium.nodes import content_digest
from sensorium.speech_types import SAMPLE_RATE, Segment, Sound, Word, loudness_db, pause

OPENAI = "https://api.openai.com/v1"
_KEY = "OPENAI_API_KEY"
_GATE_DB = -60.0
_WAIT_S = 30.0  # longest pause between tries
_PIECE_S = 30.0  # of models that tell no times
# Whisper's own limits for what it made up; endpoints that tell these figures get the same treatment as a local model.
_NO_SPEECH, _SILENT_LOGPROB, _LOGPROB, _REPEATED = 0.6, -0.7, -1.0, 2.4


class OpenAISpeech:
    """OpenAI's transcription API, or a server with the same; see `sensorium.speech_types.SpeechEngine`.

    The sound is sent to the server in parts of a few minutes, as WAV. Models that tell no times ("gpt-4o-transcribe")
    get pieces of half a minute, whose times stand for the words in them.

    Args:
        model: "whisper-1", which gives the time of each word; or what the server calls its model.
        base_url: Address of the API, for servers other than OpenAI's ("http://localhost:8000/v1").
        api_key: Key; null: the environment variable OPENAI_API_KEY. Servers other than OpenAI's may need none.
        language: Code of the language ("de"); null: found out by the server.
        prompt: Words that may come up, such as names, to help with their spelling.
        timeout: Seconds to wait for an answer.
        retries: How often a request is repeated that the server or the network refused.
    """

    def __init__(
        self,
        model: str = "whisper-1",
        base_url: str = OPENAI,
        api_key: str | None = None,
        language: str | None = None,
        prompt: str = "",
        timeout: Annotated[float, Field(gt=0)] = 300.0,
        retries: Annotated[int, Field(ge=0, le=20)] = 4,
    ) -> None:
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.language = language
        self.prompt = prompt
        self.timeout = timeout
        self.retries = retries
        self._given_key = api_key
        self._timed = True

    @property
    def revision(self) -> str:
        """Model and settings; see `SpeechEngine.revision`."""
        told = content_digest(self.base_url, self.language or "", self.prompt)[:8]
        return f"openai-{self.model}-{told}-1"

    def transcribe(self, sound: Sound) -> list[Segment]:
        """See `SpeechEngine.transcribe`.

        Raises:
            ConfigError: there is no key.
            ModelError: the server refuses, or cannot be reached.
            LoadError: it cannot take this sound.
        """
        if loudness_db(sound) < _GATE_DB:
            return []
        if self._timed:
            answer = self._asked(sound, timed=True)
            if answer is not None:
                return list(_segments(answer, len(sound) / SAMPLE_RATE))
            self._timed = False
        return [segment for start, piece in _pieces(sound) for segment in self._untimed(start, piece)]

    def _untimed(self, start_s: float, piece: Sound) -> list[Segment]:
        if loudness_db(piece) < _GATE_DB:
            return []
        answer = self._asked(piece, timed=False) or {}
        text = " ".join(str(answer.get("text") or "").split())
        end = start_s + len(piece) / SAMPLE_RATE
        return [Segment(text, start_s, end, language=self.language or "")] if text else []

    def _asked(self, sound: Sound, timed: bool) -> dict[str, Any] | None:
        """The server's answer; None when its model gives no times."""
        fields: dict[str, Any] = {"model": self.model, "response_format": "verbose_json" if timed else "json"}
        if timed:
            fields["timestamp_granularities[]"] = ["word", "segment"]
        fields |= {k: v for k, v in (("language", self.language), ("prompt", self.prompt)) if v}
        for attempt in range(self.retries + 1):
            status, answer, after = self._post(_wav(sound), fields)
            if status == 200:
                return answer
            if status == 400 and timed and "response_format" in str(answer):
                return None
            if status not in (0, 408, 409, 425, 429) and status < 500:
                self._refused(status, answer)
            if attempt < self.retries:
                time.sleep(min(_WAIT_S, after if after is not None else 0.5 * 2**attempt))
        raise ModelError(
            f"The speech server {self.base_url} failed {self.retries + 1} times: {_said(status, answer)}",
            "Index again later: what was recognised so far is kept.",
        )

    def _post(self, wav: bytes, fields: dict[str, Any]) -> tuple[int, dict[str, Any], float | None]:
        import httpx

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            got = self._client.post(
                f"{self.base_url}/audio/transcriptions", headers=headers, data=fields,
                files={"file": ("sound.wav", wav, "audio/wav")},
            )  # fmt: skip
        except httpx.HTTPError as fault:
            return 0, {"error": f"{type(fault).__name__}: {fault}"}, None
        try:
            answer = got.json()
        except ValueError:
            answer = {"error": got.text[:200] or "an empty answer"}
            return (502 if got.status_code == 200 else got.status_code), answer, _after(got)
        if not isinstance(answer, dict):
            return 502, {"error": "an answer of another shape"}, None
        return got.status_code, answer, _after(got)

    @cached_property
    def _client(self) -> Any:
        import httpx

        return httpx.Client(timeout=self.timeout)

    @cached_property
    def _key(self) -> str:
        key = self._given_key or os.environ.get(_KEY, "")
        if not key and self.base_url == OPENAI:
            raise ConfigError("Speech recognition by OpenAI needs a key.", f"Set {_KEY}, or index.speech to whisper.")
        return key

    def _refused(self, status: int, answer: dict[str, Any]) -> None:
        said = _said(status, answer)
        if status in (400, 413, 415, 422):
            raise LoadError(f"the speech server refused this sound: {said}")
        hint = "Check index.speech: its key, model and base_url."
        raise ModelError(f"The speech server {self.base_url} refused: {said}", hint)


def _segments(answer: dict[str, Any], length_s: float) -> Iterator[Segment]:
    """Sentences of a verbose answer, with the times of their words where it has them."""
    language = language_code(str(answer.get("language") or ""))
    words = [_word(word, length_s) for word in answer.get("words") or () if isinstance(word, dict)]
    pieces = [piece for piece in answer.get("segments") or () if isinstance(piece, dict)]
    if not pieces and answer.get("text"):
        pieces = [{"text": answer["text"], "start": 0.0, "end": length_s}]
    for at, piece in enumerate(pieces):
        text = " ".join(str(piece.get("text") or "").split())
        if not text or _made_up(piece):
            continue
        start, end = _clip(piece.get("start"), length_s), _clip(piece.get("end"), length_s)
        # A word belongs to the segment in which it starts; one between two goes with the earlier.
        until = _clip(pieces[at + 1].get("start"), length_s) if at + 1 < len(pieces) else length_s + 1
        own = texted(text, [w for w in words if start - 0.01 <= w.start_s < until - 0.01])
        if own:
            yield from segments(own, language)
        else:
            yield Segment(text, start, max(start, end), language=language)


def _word(word: dict[str, Any], length_s: float) -> Word:
    start = _clip(word.get("start"), length_s)
    return Word(str(word.get("word") or "").strip(), start, max(start, _clip(word.get("end"), length_s)), 1.0)


def _clip(time_s: Any, length_s: float) -> float:
    return min(max(0.0, float(time_s)), length_s) if isinstance(time_s, int | float) else 0.0


def _made_up(piece: dict[str, Any]) -> bool:
    def told(key: str, default: float) -> float:
        value = piece.get(key)
        return float(value) if isinstance(value, int | float) else default

    logprob = told("avg_logprob", 0.0)
    silent = told("no_speech_prob", 0.0) > _NO_SPEECH and logprob < _SILENT_LOGPROB
    return silent or logprob < _LOGPROB or told("compression_ratio", 1.0) > _REPEATED


def _pieces(sound: Sound) -> Iterator[tuple[float, Sound]]:
    """Pieces of up to half a minute, cut at pauses, and where they start."""
    start = 0
    while len(sound) - start > _PIECE_S * SAMPLE_RATE:
        rest = sound[start : start + int(_PIECE_S * SAMPLE_RATE)]
        cut = round(pause(rest, _PIECE_S / 2, _PIECE_S) * SAMPLE_RATE)
        yield start / SAMPLE_RATE, rest[:cut]
        start += cut
    yield start / SAMPLE_RATE, sound[start:]


def _wav(sound: Sound) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def _after(response: Any) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def _said(status: int, answer: dict[str, Any]) -> str:
    error = answer.get("error", answer)
    words = error.get("message", error) if isinstance(error, dict) else error
    return f"{f'status {status}: ' if status else ''}{' '.join(str(words).split())[:300]}"
