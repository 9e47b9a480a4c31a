r"""A chat model on this machine that says what a script tells it to, over the wire format of the OpenAI chat API.

```python
with ChatServer() as server:
    server.script(Fail(429, retry_after=0.1), "ANSWERABLE: yes\nIt is 42 [1].")
    kb = sensorium.open({"pipelines": {"default": {"synthesize": {"multimodal": {"llm": server.llm()}}}}})
    kb.ask("How many?")
    assert server.requests[0].pictures[0].size == (1024, 512)
```

Without a script it echoes its evidence: `echo`.
"""

import base64
import binascii
import io
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from sensorium.testing._loopback import Http, Loopback

KEY = "sk-loopback-0123456789abcdef"
_SOURCE = re.compile(r"^\[(\d+)\] ([^\n]*)\n<source>\n(.*?)\n</source>$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Say:
    """An answer.

    Attributes:
        text: Its words.
        finish: Why it ends: "stop", "length", "content_filter".
        refusal: Words of a refusal, in place of the text.
        wait_s: Seconds before the first token.
        every_s: Seconds between the pieces of a stream.
        cut_after: Break the connection after so many pieces of a stream.
        usage: Whether token counts are told.
    """

    text: str = ""
    finish: str = "stop"
    refusal: str | None = None
    wait_s: float = 0.0
    every_s: float = 0.0
    cut_after: int | None = None
    usage: bool = True


@dataclass(frozen=True)
class Fail:
    """An HTTP error; `body` replaces the usual JSON (an HTML page of a proxy, half a JSON)."""

    status: int
    message: str = "scripted"
    code: str | None = None
    retry_after: float | None = None
    body: str | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Raw:
    """A body as it is, with status 200: for nonsense, empty bodies and half a JSON."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True)
class Drop:
    """Close the connection without a word."""


@dataclass(frozen=True)
class SentPicture:
    """A picture as it came over the wire."""

    data: bytes = field(repr=False)
    media_type: str
    detail: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        from PIL import Image

        with Image.open(io.BytesIO(self.data)) as picture:
            return picture.size

    @property
    def format(self) -> str:
        """What the bytes are, whatever the type says: "PNG", "JPEG"."""
        from PIL import Image

        with Image.open(io.BytesIO(self.data)) as picture:
            return str(picture.format)


@dataclass(frozen=True)
class SentSound:
    """Sound as it came over the wire."""

    data: bytes = field(repr=False)
    format: str

    @property
    def seconds(self) -> float:
        """Length of a WAV file."""
        import wave

        with wave.open(io.BytesIO(self.data)) as sound:
            return float(sound.getnframes() / sound.getframerate())


@dataclass(frozen=True)
class ChatRequest:
    """A request as it came over the wire.

    Attributes:
        body: Its JSON.
        headers: Names in lower case.
        path: Of the URL.
    """

    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    path: str = ""

    @property
    def streams(self) -> bool:
        """Whether a stream is asked for."""
        return bool(self.body.get("stream"))

    def text_of(self, role: str) -> str:
        """All texts of the messages of a role."""
        messages = [m for m in self.body["messages"] if m["role"] == role]
        return "".join(part for m in messages for part in _parts(m["content"]) if isinstance(part, str))

    @property
    def system(self) -> str:
        """The rules."""
        return self.text_of("system") or self.text_of("developer")

    @property
    def parts(self) -> list[str | SentPicture | SentSound]:
        """Texts, pictures and sound of the user's messages, in order."""
        return [part for m in self.body["messages"] if m["role"] == "user" for part in _parts(m["content"])]

    @property
    def text(self) -> str:
        """The texts of the user's messages."""
        return self.text_of("user")

    @property
    def pictures(self) -> list[SentPicture]:
        """The pictures, in order."""
        return [part for part in self.parts if isinstance(part, SentPicture)]

    @property
    def sounds(self) -> list[SentSound]:
        """The clips of sound, in order."""
        return [part for part in self.parts if isinstance(part, SentSound)]

    @property
    def sources(self) -> dict[int, tuple[str, str]]:
        """Label and text of each numbered source."""
        return {int(n): (where, text) for n, where, text in _SOURCE.findall(self.text)}

    def snapshot(self) -> str:
        """The request as a person reads it: pictures as one line each."""
        lines = [f"model: {self.body.get('model')}", "--- system", self.system.strip(), "--- user"]
        for part in self.parts:
            lines.append(_line(part))
        return "\n".join(lines) + "\n"


def _line(part: str | SentPicture | SentSound) -> str:
    if isinstance(part, SentSound):
        return f"<audio/{part.format}, {part.seconds:.1f} s>"
    return part.rstrip("\n") if isinstance(part, str) else f"<{part.media_type}, {part.size[0]} x {part.size[1]}>"


Reply = str | Say | Fail | Raw | Drop
Script = Reply | Callable[[ChatRequest], Reply]


def echo(request: ChatRequest) -> str:
    """Say what every source says, with its number: what a model could have known."""
    lines = [f"{' '.join(text.split())} [{number}]" for number, (_, text) in request.sources.items()]
    return "\n".join(["ANSWERABLE: yes", *lines])


class ChatServer(Loopback[ChatRequest, Script]):
    """The server; use it as a context manager.

    Attributes:
        requests: Everything that was asked, in order.
        closed: Streams that the client closed before their end.
    """

    def __init__(self) -> None:
        super().__init__(_Handler, echo)
        self.closed = 0

    def llm(self, provider: str = "openai", model: str = "gpt-5-mini", **options: Any) -> dict[str, dict[str, Any]]:
        """The `llm:` option of a configuration that asks this server."""
        return {provider: {"model": model, "api_base": self.base, "api_key": KEY, **options}}

    def wait_closed(self, number: int = 1, seconds: float = 5.0) -> bool:
        """Wait until so many streams have been closed by the client."""
        until = time.monotonic() + seconds
        while self.closed < number and time.monotonic() < until:
            time.sleep(0.01)
        return self.closed >= number

    def take(self, request: ChatRequest) -> Reply:
        """Record a request and decide on its reply."""
        step = self.next_answer(request)
        return step(request) if callable(step) else step

    def note_closed(self) -> None:
        """The client closed a stream early."""
        with self._lock:
            self.closed += 1


class _Handler(BaseHTTPRequestHandler):
    server: Http
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = ChatRequest(body, {k.lower(): v for k, v in self.headers.items()}, self.path)
        reply = self.server.owner.take(request)
        if isinstance(reply, str):
            reply = Say(reply)
        try:
            self._send(request, reply)
        except (BrokenPipeError, ConnectionResetError):
            self.server.owner.note_closed()
            self.close_connection = True

    def _send(self, request: ChatRequest, reply: Say | Fail | Raw | Drop) -> None:
        if isinstance(reply, Drop):
            self.close_connection = True
            self.connection.close()
        elif isinstance(reply, Raw):
            self._whole(200, reply.body, reply.content_type)
        elif isinstance(reply, Fail):
            self._fail(reply)
        elif request.streams:
            time.sleep(reply.wait_s)
            self._stream(request, reply)
        else:
            time.sleep(reply.wait_s)
            self._whole(200, json.dumps(_completion(request, reply)).encode(), "application/json")

    def _fail(self, reply: Fail) -> None:
        error = {"error": {"message": reply.message, "type": "scripted", "code": reply.code}}
        body = json.dumps(error) if reply.body is None else reply.body
        headers = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
        self._whole(reply.status, body.encode(), reply.content_type, headers)

    def _whole(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, request: ChatRequest, reply: Say) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(_events(request, reply)):
            if reply.cut_after is not None and number >= reply.cut_after:
                self.close_connection = True
                self.connection.close()
                return
            self._chunk(f"data: {event}\n\n".encode())
            time.sleep(reply.every_s)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%X\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


def _parts(content: Any) -> Iterator[str | SentPicture | SentSound]:
    if isinstance(content, str):
        yield content
        return
    for part in content or ():
        if part["type"] == "text":
            yield part["text"]
        elif part["type"] == "image_url":
            yield _picture(part["image_url"])
        elif part["type"] == "input_audio":
            yield SentSound(base64.b64decode(part["input_audio"]["data"], validate=True), part["input_audio"]["format"])
        else:
            raise AssertionError(f"a part of type {part['type']!r} was sent")


def _picture(part: Mapping[str, Any]) -> SentPicture:
    found = re.fullmatch(r"data:([\w/+.-]+);base64,(.+)", part["url"], re.DOTALL)
    if found is None:
        raise AssertionError(f"a picture was sent as an address: {part['url'][:80]}")
    try:
        data = base64.b64decode(found[2], validate=True)
    except binascii.Error as fault:
        raise AssertionError(f"a picture is no base64: {fault}") from fault
    return SentPicture(data, found[1], part.get("detail"))


def _usage(request: ChatRequest, reply: Say) -> dict[str, int]:
    """Four characters a token, 100 tokens a picture: made up, but the same for the same request."""
    given = (len(request.system) + len(request.text)) // 4 + 100 * len(request.pictures)
    made = len(reply.text) // 4 + 1
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _completion(request: ChatRequest, reply: Say) -> dict[str, Any]:
    message = {"role": "assistant", "content": None if reply.refusal else reply.text, "refusal": reply.refusal}
    made = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": request.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish, "logprobs": None}],
    }  # fmt: skip
    return made | ({"usage": _usage(request, reply)} if reply.usage else {})


def _events(request: ChatRequest, reply: Say) -> Iterator[str]:
    for piece in re.findall(r"\s*\S+|\s+$", reply.text):
        yield _event(request, {"content": piece})
    if reply.refusal:
        yield _event(request, {"refusal": reply.refusal})
    yield _event(request, {}, reply.finish)
    if reply.usage and (request.body.get("stream_options") or {}).get("include_usage"):
        yield json.dumps(_chunk_of(request) | {"choices": [], "usage": _usage(request, reply)})
    yield "[DONE]"


def _event(request: ChatRequest, delta: Mapping[str, Any], finish: str | None = None) -> str:
    return json.dumps(_chunk_of(request) | {"choices": [{"index": 0, "delta": dict(delta), "finish_reason": finish}]})


def _chunk_of(request: ChatRequest) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": request.body["model"]}
