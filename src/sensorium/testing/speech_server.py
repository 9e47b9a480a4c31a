"""A speech recogniser on this machine that hears what a script tells it to, over the wire format of OpenAI's API.

```python
with SpeechServer() as server:
    server.script(Refusal(429, retry_after=0.1), heard("Good day.", 0.5, 1.2))
    engine = OpenAISpeech(base_url=server.base)
    assert engine.transcribe(sound)[0].text == "Good day."
    assert server.requests[0].fields["model"] == "whisper-1"
```
"""

import io
import json
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler
from typing import Any

from sensorium.testing._loopback import Http, Loopback


@dataclass(frozen=True)
class Refusal:
    """An HTTP error."""

    status: int
    message: str = "scripted"
    retry_after: float | None = None


@dataclass(frozen=True)
class SpeechRequest:
    """A request as it came over the wire.

    Attributes:
        fields: Of the form; what comes several times is joined by commas.
        headers: Names in lower case.
        wav: The sound.
    """

    fields: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    wav: bytes = field(repr=False)

    @property
    def seconds(self) -> float:
        """Length of the sound."""
        with wave.open(io.BytesIO(self.wav)) as file:
            return float(file.getnframes() / file.getframerate())


Answer = Mapping[str, Any] | Refusal | bytes


def heard(text: str, start_s: float, end_s: float, words: bool = True) -> dict[str, Any]:
    """A verbose answer of one segment, its words evenly spread."""
    said = text.split()
    step = (end_s - start_s) / max(1, len(said))
    times = [
        {"word": word.strip(".,!?"), "start": start_s + i * step, "end": start_s + (i + 1) * step}
        for i, word in enumerate(said)
    ]
    segment = {"text": text, "start": start_s, "end": end_s, "avg_logprob": -0.2, "no_speech_prob": 0.01,
               "compression_ratio": 1.2}  # fmt: skip
    return {"text": text, "language": "english", "segments": [segment]} | ({"words": times} if words else {})


class SpeechServer(Loopback[SpeechRequest, Answer]):
    """The server; use it as a context manager. Answers that are bytes are sent as they are.

    Attributes:
        requests: Everything that was asked, in order.
    """

    def __init__(self) -> None:
        super().__init__(_Handler, heard("Nothing in particular.", 0.0, 1.0))


class _Handler(BaseHTTPRequestHandler):
    server: Http
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fields, wav = _form(headers["content-type"], body)
        self._answer(self.server.owner.next_answer(SpeechRequest(fields, headers, wav)))

    def _answer(self, answer: Answer) -> None:
        status, after = 200, None
        if isinstance(answer, Refusal):
            status, after = answer.status, answer.retry_after
            answer = {"error": {"message": answer.message}}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if after is not None:
            self.send_header("Retry-After", f"{after:g}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


def _form(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """Fields and the file of a multipart form."""
    message = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    wav = b""
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(data, bytes):
            continue
        if part.get_filename():
            wav = data
        else:
            fields[name] = f"{fields[name]},{data.decode()}" if name in fields else data.decode()
    return fields, wav
