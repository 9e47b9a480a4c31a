"""A chat LLM in this process: a GGUF file run by llama.cpp, through the package xllamacpp."""

import asyncio
import base64
import queue
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms import CustomLLM
from pydantic import Field, PrivateAttr

from sensorium.errors import ConfigError
from sensorium.models._llm.gguf import free_bytes, needed_bytes, read_head, trained_window


class LocalReplyError(Exception):
    """llama.cpp refused a request.

    Args:
        message: Its words.
        status_code: As its HTTP server would give it.
    """

    def __init__(self, message: str, status_code: int = 500) -> None:
        super().__init__(message)
        self.status_code = status_code


class LocalLLM(CustomLLM):
    """A model from a GGUF file.

    Args:
        model: The file, relative to the working folder.
        mmproj: The projector's GGUF file, for a model that takes pictures; without it none are sent.
        context_window: Tokens of prompt and reply together; memory grows with it.
        max_tokens: Most tokens of a reply.
        temperature: 0 always takes the likeliest token.
        threads: 0: as llama.cpp decides. On a busy machine fewer threads are faster.
        gpu_layers: Layers on a GPU, where xllamacpp was built for one; -1: all that fit.
    """

    model: str
    mmproj: str | None = None
    context_window: int = Field(default=4096, ge=512)
    max_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    threads: int = Field(default=0, ge=0)
    gpu_layers: int = -1
    _running: "_Running | None" = PrivateAttr(default=None)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._check()

    @classmethod
    def class_name(cls) -> str:
        """For LlamaIndex's serialisers."""
        return "sensorium_local_llm"

    @property
    def metadata(self) -> LLMMetadata:
        """See LlamaIndex."""
        return LLMMetadata(
            context_window=self.context_window, num_output=min(self.max_tokens, self.context_window // 2),
            is_chat_model=True, model_name=Path(self.model).name,
        )  # fmt: skip

    def close(self) -> None:
        """Free the weights, unless another LLM of the same file and options uses them. The next request loads again."""
        running, self._running = self._running, None
        if running is not None:
            _release(running)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See LlamaIndex."""
        said = _Said()
        for response in self.stream_chat(messages, **kwargs):
            said.add(response)
        return said.response()

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """See LlamaIndex. Closing the iterator ends the generation with its next token."""
        pieces: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def read() -> Generator[ChatResponse, None, None]:
            stop = self._start(messages, kwargs, pieces.put)
            text = ""
            try:
                while (piece := pieces.get()) is not None:
                    response = _response(piece, text)
                    text = response.message.content or ""
                    yield response
            finally:
                stop.set()

        return read()

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See LlamaIndex; cancelling ends the generation."""
        said = _Said()
        async for response in await self.astream_chat(messages, **kwargs):
            said.add(response)
        return said.response()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """See LlamaIndex; closing the iterator ends the generation with its next token."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Any] = asyncio.Queue()

        def put(piece: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        async def read() -> AsyncGenerator[ChatResponse, None]:
            stop = await asyncio.to_thread(self._start, messages, kwargs, put)
            text = ""
            try:
                while (piece := await pieces.get()) is not None:
                    response = _response(piece, text)
                    text = response.message.content or ""
                    yield response
            finally:
                stop.set()

        return read()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """See LlamaIndex."""
        reply = self.chat([ChatMessage(role=MessageRole.USER, content=prompt)], **kwargs)
        return CompletionResponse(text=reply.message.content or "", raw=reply.raw)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """See LlamaIndex."""
        parts = self.stream_chat([ChatMessage(role=MessageRole.USER, content=prompt)], **kwargs)
        return (CompletionResponse(text=p.message.content or "", delta=p.delta, raw=p.raw) for p in parts)

    def _check(self) -> None:
        """Raise ConfigError when it cannot run: before gigabytes are read, and before the system kills the process."""
        file = Path(self.model).expanduser()
        head = read_head(file)
        trained = trained_window(head)
        if trained and self.context_window > trained:
            raise ConfigError(f"{file.name} was trained for {trained} tokens, not for {self.context_window}.",
                              "Lower its context_window.")  # fmt: skip
        needed = needed_bytes(file, head, self.context_window)
        if self.mmproj is not None:
            projector = Path(self.mmproj).expanduser()
            read_head(projector)
            needed += projector.stat().st_size
        free = free_bytes()
        if free is not None and needed > free:
            raise ConfigError(
                f"{file.name} with a window of {self.context_window} tokens needs {needed / 1e9:.1f} GB of memory; "
                f"{free / 1e9:.1f} GB are free.", "Take a smaller model or quantisation, or lower its context_window.",
            )  # fmt: skip

    def _start(
        self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any], put: Callable[[Any], None]
    ) -> threading.Event:
        """Generate in a thread; pieces, an exception, and at last None are put. The event ends it."""
        with _starting:
            if self._running is None:
                self._running = _acquire(self)
        server, stop = self._running.server, threading.Event()
        body = {
            "messages": [_message(message) for message in messages], "stream": True,
            "stream_options": {"include_usage": True}, "max_tokens": self.max_tokens, "temperature": self.temperature,
            **kwargs,
        }  # fmt: skip

        def hear(piece: Any) -> bool:
            put(piece)
            return stop.is_set()

        def generate() -> None:
            try:
                server.handle_chat_completions(body, hear)
            except RuntimeError as error:  # what the request asks for is not possible
                put(LocalReplyError(str(error), 400))
            except Exception as error:  # noqa: BLE001 - handed on to the reader
                put(error)
            finally:
                put(None)

        threading.Thread(target=generate, name="local-llm", daemon=True).start()
        return stop


@dataclass
class _Said:
    """A stream put together."""

    text: str = ""
    raw: dict[str, Any] = field(default_factory=dict)

    def add(self, response: ChatResponse) -> None:
        self.text += response.delta or ""
        piece = response.raw if isinstance(response.raw, dict) else {}
        self.raw |= {key: value for key, value in piece.items() if value}

    def response(self) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=self.text), raw=self.raw)


def _response(piece: Any, before: str) -> ChatResponse:
    if isinstance(piece, BaseException):
        raise piece
    if "error" in piece:
        raise LocalReplyError(str(piece["error"].get("message", "")), int(piece["error"].get("code", 500)))
    choices = piece.get("choices") or [{}]
    delta = (choices[0].get("delta") or {}).get("content") or ""
    message = ChatMessage(role=MessageRole.ASSISTANT, content=before + delta)
    return ChatResponse(message=message, delta=delta, raw=piece)


def _message(message: ChatMessage) -> dict[str, Any]:
    parts = [_part(block) for block in message.blocks]
    if all(part["type"] == "text" for part in parts):
        return {"role": message.role.value, "content": "".join(part["text"] for part in parts)}
    return {"role": message.role.value, "content": parts}


def _part(block: Any) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    if isinstance(block, ImageBlock):
        data = base64.b64encode(block.resolve_image().read()).decode()
        return {"type": "image_url", "image_url": {"url": f"data:{block.image_mimetype};base64,{data}"}}
    if isinstance(block, AudioBlock):
        data = base64.b64encode(block.resolve_audio().read()).decode()
        return {"type": "input_audio", "input_audio": {"data": data, "format": block.format}}
    raise LocalReplyError(f"A local model takes no block of type {block.block_type!r}.", 400)


@dataclass
class _Running:
    """A loaded model and how many LLMs use it."""

    key: tuple[Any, ...]
    server: Any
    users: int = 0


_LOADED: dict[tuple[Any, ...], _Running] = {}
_LOCK = threading.Lock()
_starting = threading.Lock()


def _acquire(llm: LocalLLM) -> _Running:
    """The loaded model of these options; one for all that ask for the same."""
    file = Path(llm.model).expanduser().absolute()
    key = (str(file), llm.mmproj, llm.context_window, llm.threads, llm.gpu_layers)
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = _Running(key, _load(llm, file))
        _LOADED[key].users += 1
        return _LOADED[key]


def _release(running: _Running) -> None:
    with _LOCK:
        running.users -= 1
        if running.users == 0:
            _LOADED.pop(running.key, None)
            running.server = None  # frees the weights


def _load(llm: LocalLLM, file: Path) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    if llm.mmproj is not None:
        params.mmproj.path = str(Path(llm.mmproj).expanduser().absolute())
    params.n_ctx, params.n_parallel, params.n_gpu_layers = llm.context_window, 1, llm.gpu_layers
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = llm.threads or threads.n_threads
        threads.poll = 0  # waiting threads would take the cores of other work
    params.warmup, params.ui, params.verbosity = False, False, -1
    # Its HTTP server listens on loopback, too; nobody gets to know this key.
    params.api_keys, params.port, params.hostnames = [secrets.token_hex(32)], 0, ["127.0.0.1"]
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ConfigError(
            f"llama.cpp cannot load {file.name}: {error}",
            "The file (or its mmproj) may be damaged, of a model that this version does not know, or too large.",
        ) from None
