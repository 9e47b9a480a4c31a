"""The other providers' packages, where they are installed, against their wire formats on this machine."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from PIL import Image

from sensorium.errors import MissingExtraError
from sensorium.models._llm import runs
from sensorium.models._llm.providers import provider, require
from sensorium.models.llm import ChatModel, Reply, chat_models

pytestmark = pytest.mark.integration
TEXT, IN, OUT = "fine words", 11, 3
OPENAI_USAGE = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}


def jpeg() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()


def events(*values: Any, named: bool = False) -> bytes:
    lines = [(f"event: {v['type']}\n" if named else "") + f"data: {json.dumps(v)}\n\n" for v in values]
    return "".join(lines).encode()


def openai(body: dict[str, Any]) -> tuple[bytes, str]:
    made: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 0, "model": "m"}
    if not body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return json.dumps({**made, "choices": [choice], "usage": OPENAI_USAGE}).encode(), "application/json"
    made["object"] = "chat.completion.chunk"
    pieces: list[dict[str, Any]]
    pieces = [{"index": 0, "delta": {"content": piece}, "finish_reason": None} for piece in ("fine", " words")]
    pieces.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    told = events(*({**made, "choices": [p]} for p in pieces), {**made, "choices": [], "usage": OPENAI_USAGE})
    return told + b"data: [DONE]\n\n", "text/event-stream"


def anthropic(body: dict[str, Any]) -> tuple[bytes, str]:
    message: dict[str, Any] = {"id": "m", "type": "message", "role": "assistant", "model": "claude"}
    message["stop_sequence"] = None
    usage = {"input_tokens": IN, "output_tokens": OUT}
    if not body.get("stream"):
        content = [{"type": "text", "text": TEXT}]
        whole = {**message, "content": content, "stop_reason": "end_turn", "usage": usage}
        return json.dumps(whole).encode(), "application/json"
    start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": IN, "output_tokens": 1}}
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
        for piece in ("fine", " words")
    ]
    told = events(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *pieces,
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": OUT},
        },
        {"type": "message_stop"},
        named=True,
    )
    return told, "text/event-stream"


def gemini(body: dict[str, Any], stream: bool) -> tuple[bytes, str]:
    parts = {"role": "model", "parts": [{"text": TEXT}]}
    usage = {"promptTokenCount": IN, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT}
    whole = {"candidates": [{"content": parts, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}
    return (events(whole), "text/event-stream") if stream else (json.dumps(whole).encode(), "application/json")


def ollama(body: dict[str, Any]) -> tuple[bytes, str]:
    made: dict[str, Any] = {"model": "m", "created_at": "2024-01-01T00:00:00Z", "done": True, "done_reason": "stop"}
    made |= {"prompt_eval_count": IN, "eval_count": OUT}
    whole = {**made, "message": {"role": "assistant", "content": TEXT}}
    return json.dumps(whole).encode() + b"\n", "application/x-ndjson"


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self.busy = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        if self.server.busy:
            self.server.busy -= 1
            return self.send(503, json.dumps({"error": {"message": "busy", "code": 503}}).encode(), "application/json")
        if "/messages" in self.path:
            return self.send(200, *anthropic(body))
        if "enerateContent" in self.path:
            return self.send(200, *gemini(body, "stream" in self.path))
        return self.send(200, *(ollama(body) if "/api/chat" in self.path else openai(body)))

    def send(self, status: int, data: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(runs, "FIRST_WAIT", 0.01)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()


def look(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
    blocks = [
        TextBlock(text="[1] first\n"),
        ImageBlock(image=JPEG, image_mimetype="image/jpeg"),
        TextBlock(text="What?"),
    ]
    return [ChatMessage(role="system", content="Rules."), ChatMessage(role="user", blocks=blocks)]


PROVIDERS: dict[str, dict[str, Any]] = {
    "openai_like": {"model": "qwen2.5-vl", "api_base": "{base}/v1"},
    "azure_openai": {
        "model": "gpt-4o",
        "engine": "deployed",
        "azure_endpoint": "{base}",
        "api_key": "az-123456789",
        "api_version": "2024-10-21",
    },
    "anthropic": {"model": "claude-sonnet-4-5", "base_url": "{base}", "api_key": "ant-123456789"},
    "google_genai": {"model": "gemini-2.5-flash", "api_key": "AIza-1234567", "http_options": {"base_url": "{base}"}},
    "ollama": {"model": "qwen2.5vl", "base_url": "{base}"},
    "openai_multi_modal": {"model": "gpt-4o", "api_base": "{base}/v1", "api_key": "sk-123456789"},
}


def filled(value: Any, base: str) -> Any:
    if isinstance(value, dict):
        return {key: filled(inner, base) for key, inner in value.items()}
    return value.replace("{base}", base) if isinstance(value, str) else value


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_takes_pictures_streams_counts_and_is_tried_again(name: str, server: Server) -> None:
    known = provider(name)
    try:
        require(known)
    except MissingExtraError:
        pytest.skip(f"{known.package} is not installed")
    models = chat_models({name: filled(PROVIDERS[name], server.base)})
    server.busy = 1
    whole = models.chat(look)
    assert (whole.text, whole.usage.input, whole.usage.output, whole.attempts) == (TEXT, IN, OUT, 2)
    sent = json.dumps(server.seen[-1]).replace("-", "+").replace("_", "/")  # Google's base64 is the one for addresses
    assert sent.count(base64.b64encode(JPEG).decode()) == 1
    assert sent.index("[1] first") < sent.index("What?")
    assert sent.count("What?") == 1
    assert "Rules." in sent

    async def listen() -> tuple[Reply, list[str | Reply]]:
        return await models.achat(look), [part async for part in models.astream(look)]

    awhole, aparts = asyncio.run(listen())
    for parts in ([*models.stream(look)], aparts):
        *pieces, last = parts
        assert isinstance(last, Reply)
        assert "".join(map(str, pieces)) == last.text == TEXT
        assert (last.usage.input, last.usage.output, last.partial) == (IN, OUT, "")
    assert awhole.text == TEXT
