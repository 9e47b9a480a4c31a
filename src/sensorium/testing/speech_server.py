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
import threading
import wave
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


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


class SpeechServer:
    """The server; use it as a context manager.

    Attributes:
        requests: Everything that was asked, in order.
    """

    def __init__(self) -> None:
        self.requests: list[SpeechRequest] = []
        self._script: deque[Answer] = deque()
        self._default: Answer = heard("Nothing in particular.", 0.0, 1.0)
        self._lock = threading.Lock()
        self._http = _Http(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def base(self) -> str:
        """What goes into `base_url`."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def script(self, *answers: Answer) -> None:
        """What is answered to the next requests, one each; bytes are sent as they are."""
        self._script.extend(answers)

    def always(self, answer: Answer) -> None:
        """What is answered when the script has ended."""
        self._default = answer

    def take(self, request: SpeechRequest) -> Answer:
        """Record a request and decide on its answer."""
        with self._lock:
            self.requests.append(request)
            return self._script.popleft() if self._script else self._default

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: SpeechServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        fields, wav = _form(headers["content-type"], body)
        self._answer(self.server.owner.take(SpeechRequest(fields, headers, wav)))

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
