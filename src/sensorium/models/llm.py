"""Chat LLMs: LlamaIndex's by provider name, with one way of retrying, falling back, counting and failing.

`{openai: gpt-5-mini}` needs the package `llama-index-llms-openai`, and nothing else here knows of it: a provider is
the module `llama_index.llms.NAME`. Options are those of the provider's class and, of our own, `max_retries`,
`price: {input, output}` per million tokens, `vision: true|false` and `context_window`.
"""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from typing import Annotated, Any

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms import LLM
from pydantic import AfterValidator, WithJsonSchema

from sensorium.errors import ConfigError, MissingExtraError
from sensorium.models._integrations import MODEL
from sensorium.models._llm.facts import counter
from sensorium.models._llm.models import ChatModel, check_own, from_llm, from_options
from sensorium.models._llm.providers import check_file, llm_provider_names, provider, require
from sensorium.models._llm.quiet import quiet
from sensorium.models._llm.replies import Reply, Usage
from sensorium.models._llm.runs import Attempt, Compose, Run, Streamed

__all__ = [
    "ChatModel", "ChatModels", "Compose", "LlmOption", "Reply", "Usage", "chat_models", "counter",
    "llm_provider_names",
]  # fmt: skip


class ChatModels:
    """Chat LLMs in order of preference: the first that answers is taken.

    Args:
        models: At least one.
    """

    def __init__(self, models: Sequence[ChatModel]) -> None:
        if not models:
            raise ConfigError("No LLM is given.", "Name one: llm: {openai: gpt-5-mini}.")
        self.models = tuple(models)
        quiet()

    @property
    def first(self) -> ChatModel:
        """The preferred one."""
        return self.models[0]

    def close(self) -> None:
        """Free what the models hold in this process; they can still be asked."""
        for model in self.models:
            model.close()

    def chat(self, compose: Compose) -> Reply:
        """Ask, and wait for the whole reply.

        Args:
            compose: Makes the messages for a model.

        Raises:
            ModelError: no model answered.
            ConfigError: the only model cannot be made.
        """
        run = Run(self.models, compose)
        while True:
            attempt = run.next()
            try:
                return run.reply(attempt.llm.chat(attempt.messages))
            except Exception as error:  # noqa: BLE001 - each integration raises its own; classified in `failures`
                time.sleep(run.failed(error))

    async def achat(self, compose: Compose) -> Reply:
        """`chat`, without blocking the event loop; cancelling closes the request."""
        run = Run(self.models, compose)
        while True:
            attempt = await asyncio.to_thread(run.next)
            try:
                return run.reply(await attempt.llm.achat(attempt.messages))
            except Exception as error:  # noqa: BLE001 - see `chat`
                await asyncio.sleep(run.failed(error))

    def stream(self, compose: Compose) -> Generator[str | Reply, None, None]:
        """The words as they come, then the `Reply`; closing the iterator closes the request.

        A stream that breaks after its first words ends with a `Reply` that is marked partial.

        Raises:
            ModelError: no model answered.
        """
        run = Run(self.models, compose)
        while True:
            attempt = run.next()
            got = Streamed(run.sent)
            try:
                for response in attempt.llm.stream_chat(attempt.messages):
                    if piece := got.add(response):
                        yield piece
                yield run.streamed(got)
                return
            except GeneratorExit:
                _let_go()
                raise
            except Exception as error:  # noqa: BLE001 - see `chat`
                if got.text:
                    yield run.streamed(got, error)
                    return
                time.sleep(run.failed(error))

    async def astream(self, compose: Compose) -> AsyncGenerator[str | Reply, None]:
        """`stream`, without blocking the event loop; cancelling or closing it closes the request."""
        run = Run(self.models, compose)
        while True:
            attempt = await asyncio.to_thread(run.next)
            got = Streamed(run.sent)
            try:
                async with aclosing(_read(attempt)) as responses:
                    async for response in responses:
                        if piece := got.add(response):
                            yield piece
                yield run.streamed(got)
                return
            except Exception as error:  # noqa: BLE001 - see `chat`
                if got.text:
                    yield run.streamed(got, error)
                    return
                await asyncio.sleep(run.failed(error))


async def _read(attempt: Attempt) -> AsyncGenerator[ChatResponse, None]:
    """The pieces of a stream. A task of its own reads it, since only a cancelled read closes a connection at once."""
    pieces: asyncio.Queue[ChatResponse | BaseException | None] = asyncio.Queue()

    async def pump() -> None:
        try:
            async for response in await attempt.llm.astream_chat(attempt.messages):
                pieces.put_nowait(response)
            pieces.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - handed on to the reader
            pieces.put_nowait(error)

    reading = asyncio.create_task(pump())
    try:
        while (piece := await pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        reading.cancel()
        await asyncio.wait({reading})


def _let_go() -> None:
    """Close the connection of a synchronous stream that nobody reads any more.

    The clients' streams refer to themselves in a circle, and close only when the collector comes by.
    """
    gc.collect()


def chat_models(given: Any) -> ChatModels:
    """The LLMs that an option names.

    Args:
        given: A provider's name, `{provider: model}`, `{provider: {option: value}}`, a LlamaIndex LLM, or a list of
            these, of which the later ones are fallbacks.

    Raises:
        ConfigError: an unknown provider or a wrong option.
    """
    return ChatModels([from_llm(one) if isinstance(one, LLM) else from_options(*_parts(one)) for one in _listed(given)])


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _parts(one: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(one, str):
        return one, {}
    if isinstance(one, Mapping) and len(one) == 1:
        name, options = next(iter(one.items()))
        if isinstance(options, str):
            return str(name), {MODEL: options}
        if options is None or isinstance(options, Mapping):
            return str(name), dict(options or {})
    raise ConfigError("An LLM is written as {provider: model} or {provider: {option: value}}.")


def _checked(given: Any) -> Any:
    """Check an option's names and packages, without making a model."""
    if not _listed(given):
        raise ValueError("no LLM is given")
    for one in _listed(given):
        if isinstance(one, LLM):
            continue
        try:
            name, options = _parts(one)
            known = provider(name)
            require(known)
            check_file(known, options)
            check_own(name, options)
        except (ConfigError, MissingExtraError) as fault:
            raise ValueError(str(fault)) from None
    return given


def _schema() -> dict[str, Any]:
    names = llm_provider_names()
    form = {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "null"}]}
    one = {
        "anyOf": [
            {"type": "string", "examples": names},
            {"type": "object", "minProperties": 1, "maxProperties": 1, "properties": dict.fromkeys(names, form)},
        ]
    }
    return {"anyOf": [*one["anyOf"], {"type": "array", "minItems": 1, "items": one}]}


LlmOption = Annotated[Any, AfterValidator(_checked), WithJsonSchema(_schema())]
"""An option that names one chat LLM or several; checked with the rest of the configuration."""
