"""Chat LLMs over the wire: retries, fallbacks, circuits, faults, streams, cancellation, usage, and keys kept secret."""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms import MockLLM

from sensorium.errors import ConfigError, MissingExtraError, ModelError
from sensorium.models._llm import models as model_module
from sensorium.models._llm import runs
from sensorium.models._llm.facts import counter, picture_tokens, takes_pictures
from sensorium.models._llm.providers import PROVIDERS
from sensorium.models.llm import ChatModel, ChatModels, Reply, chat_models
from sensorium.testing.llm_server import KEY, ChatServer, Drop, Fail, Raw, Say

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        running.always("fine")
        yield running


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "FIRST_WAIT", 0.01)
    for provider in PROVIDERS.values():
        if provider.key_variable:
            monkeypatch.delenv(provider.key_variable, raising=False)


def words(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
    return [ChatMessage(role="user", content="x" * (1000 >> shrinks))]


def with_picture(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
    picture = [ImageBlock(image=PNG, image_mimetype="image/png")] if model.vision else []
    return [ChatMessage(role="user", blocks=[TextBlock(text="look"), *picture])]


def test_a_reply_tells_its_usage_and_cost(server: ChatServer) -> None:
    reply = chat_models(server.llm(price={"input": 2.0, "output": 10.0})).chat(words)
    assert (reply.text, reply.model, reply.finish, reply.attempts) == ("fine", "openai/gpt-5-mini", "stop", 1)
    assert (reply.usage.input, reply.usage.output) == (250, 2)
    assert reply.cost == pytest.approx((250 * 2 + 2 * 10) / 1e6)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("fault", [Fail(429), Fail(500), Fail(503), Drop()], ids=str)
def test_passing_faults_are_tried_again(server: ChatServer, fault: Any) -> None:
    server.script(fault, fault, "at last")
    reply = chat_models(server.llm()).chat(words)
    assert (reply.text, reply.attempts, len(server.requests)) == ("at last", 3, 3)


def test_the_provider_says_how_long_to_wait(server: ChatServer) -> None:
    server.script(Fail(429, retry_after=0.3), "now")
    started = time.perf_counter()
    assert chat_models(server.llm()).chat(words).text == "now"
    assert 0.3 <= time.perf_counter() - started < 2


@pytest.mark.parametrize(("status", "said"), [(401, "key"), (403, "key"), (404, "model or address"), (400, "scripted")])
def test_lasting_faults_are_not_tried_again(server: ChatServer, status: int, said: str) -> None:
    server.always(Fail(status))
    with pytest.raises(ModelError, match=f"HTTP {status}.*{said}"):
        chat_models(server.llm()).chat(words)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        Say(""),
        Raw(b""),
        Raw(b'{"id": "x", "choi'),
        Raw(b'{"error": "none of your business"}'),
        Raw(b"<html><body>Bad Gateway</body></html>", "text/html"),
        Raw(b"[]"),
    ],
    ids=["empty", "no body", "half a JSON", "other JSON", "HTML", "a list"],
)
def test_nonsense_is_a_clear_error_and_goes_to_the_next_model(server: ChatServer, reply: Any) -> None:
    server.always(reply)
    with pytest.raises(ModelError, match="makes no sense"):
        chat_models(server.llm()).chat(words)
    asked = len(server.requests)
    with ChatServer() as other:
        other.always("from the other")
        answer = chat_models([server.llm(), other.llm(model="gpt-4o-mini")]).chat(words)
    assert (answer.text, answer.model) == ("from the other", "openai/gpt-4o-mini")
    assert "asked openai/gpt-4o-mini instead" in answer.notes[0]
    assert len(server.requests) == asked + 1


def test_a_slow_model_times_out(server: ChatServer) -> None:
    server.always(Say("late", wait_s=1.0))
    with pytest.raises(ModelError, match="did not answer in time"):
        chat_models(server.llm(timeout=0.1, max_retries=0)).chat(words)


def test_a_provider_that_is_down_is_left_out_for_a_while(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.always(Fail(503))
    models = chat_models(server.llm(max_retries=0))
    for _ in range(model_module.FAILURES_TO_OPEN):
        with pytest.raises(ModelError, match="503"):
            models.chat(words)
    asked = len(server.requests)
    with pytest.raises(ModelError, match="left out for"):
        models.chat(words)
    assert len(server.requests) == asked
    monkeypatch.setattr(models.first, "_closed_until", 0.0)
    server.always("up again")
    assert models.chat(words).text == "up again"


def test_a_prompt_that_is_too_long_is_made_shorter(server: ChatServer) -> None:
    too_long = Fail(400, "This model's maximum context length is 100 tokens", "context_length_exceeded")
    server.script(too_long, too_long, "ok")
    assert chat_models(server.llm()).chat(words).text == "ok"
    assert [len(request.text) for request in server.requests] == [1000, 500, 250]


def test_a_model_that_takes_no_pictures_gets_none_from_then_on(server: ChatServer) -> None:
    server.script(Fail(400, "Invalid content type. image_url is not supported by this model"))
    models = chat_models(server.llm())
    reply = models.chat(with_picture)
    assert "takes no pictures" in reply.notes[0]
    models.chat(with_picture)
    assert [len(request.pictures) for request in server.requests] == [1, 0, 0]


def test_requests_that_are_on_their_way_with_pictures_go_without_them_too(server: ChatServer) -> None:
    server.script(*[Fail(400, "Invalid content type. image_url is not supported by this model")] * 3)
    models, in_step = chat_models(server.llm()), threading.Barrier(3, timeout=10.0)

    def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        in_step.wait()
        return with_picture(model, shrinks)

    with ThreadPoolExecutor(3) as pool:
        replies = [run.result() for run in [pool.submit(models.chat, compose) for _ in range(3)]]
    assert [reply.text for reply in replies] == ["fine"] * 3
    assert all("takes no pictures" in reply.notes[0] for reply in replies)
    assert [len(request.pictures) for request in server.requests] == [1, 1, 1, 0, 0, 0]


def test_a_refusal_is_no_error(server: ChatServer) -> None:
    server.script(Say(refusal="I cannot help with that."), Say("half", finish="content_filter"))
    models = chat_models(server.llm())
    first, second = models.chat(words), models.chat(words)
    assert (first.refused, first.text) == (True, "I cannot help with that.")
    assert second.refused


def test_a_reply_that_is_cut_is_marked(server: ChatServer) -> None:
    server.script(Say("and so", finish="length"))
    assert "limit of output tokens" in chat_models(server.llm()).chat(words).partial


def streamed(models: ChatModels) -> tuple[list[str], Reply]:
    *pieces, reply = models.stream(words)
    assert isinstance(reply, Reply)
    return [piece for piece in pieces if isinstance(piece, str)], reply


def test_a_stream_comes_in_pieces_with_usage(server: ChatServer) -> None:
    server.script(Say("one two three", wait_s=0.05))
    pieces, reply = streamed(chat_models(server.llm()))
    assert pieces == ["one", " two", " three"]
    assert (reply.text, reply.partial, reply.finish) == ("one two three", "", "stop")
    assert (reply.usage.input, reply.usage.output) == (250, 4)
    assert reply.first_token_s is not None
    assert 0.05 <= reply.first_token_s <= reply.seconds


@pytest.mark.parametrize("cut", [2, 3])
def test_a_stream_that_breaks_is_a_marked_part(server: ChatServer, cut: int) -> None:
    server.script(Say("one two three", cut_after=cut))
    pieces, reply = streamed(chat_models(server.llm()))
    assert "".join(pieces) == reply.text == "one two three"[: len("".join(pieces))]
    assert len(pieces) == cut
    assert reply.partial
    assert len(server.requests) == 1


def test_a_stream_that_breaks_before_its_first_word_is_tried_again(server: ChatServer) -> None:
    server.script(Say("lost", cut_after=0), Fail(503), "found")
    pieces, reply = streamed(chat_models(server.llm()))
    assert (pieces, reply.attempts) == (["found"], 3)


async def test_async_is_the_same(server: ChatServer) -> None:
    models = chat_models(server.llm())
    server.script(Fail(429), "whole")
    assert (await models.achat(words)).text == "whole"
    server.script(Fail(429), Say("in pieces"), Say("a b c", cut_after=2))
    assert [p async for p in models.astream(words)][:-1] == ["in", " pieces"]
    *_, reply = [p async for p in models.astream(words)]
    assert isinstance(reply, Reply)
    assert reply.text == "a b"
    assert reply.partial


async def test_leaving_a_stream_closes_the_request(server: ChatServer) -> None:
    server.always(Say("word " * 500, every_s=0.01))
    stream = chat_models(server.llm()).astream(words)
    async for _ in stream:
        break
    await stream.aclose()
    assert await asyncio.to_thread(server.wait_closed)


async def test_cancelling_closes_the_request(server: ChatServer) -> None:
    server.always(Say("word " * 500, every_s=0.01))

    async def listen() -> None:
        async for _ in chat_models(server.llm()).astream(words):
            pass

    task = asyncio.create_task(listen())
    while not server.requests:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.wait_closed)


def test_leaving_a_synchronous_stream_closes_the_request(server: ChatServer) -> None:
    server.always(Say("word " * 500, every_s=0.01))
    stream = chat_models(server.llm()).stream(words)
    next(stream)
    stream.close()
    assert server.wait_closed()


def test_no_key_and_no_picture_reaches_logs_or_errors(server: ChatServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    big = PNG + bytes(range(256)) * 40

    def show(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        return [ChatMessage(role="user", blocks=[ImageBlock(image=big, image_mimetype="image/png")])]

    server.always(Fail(401, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(ModelError) as caught:
        chat_models(server.llm()).chat(show)
    shown = f"{caught.value} {caught.value.__cause__} {chat_models(server.llm())!r} {chat_models(server.llm()).first!r}"
    assert KEY not in shown
    assert "***" in shown
    sent = json.loads(json.dumps(server.requests[0].body))["messages"][0]["content"][0]["image_url"]["url"]
    assert len(sent) > 10_000, "the request itself holds the picture"
    assert any("Request options" in message for message in caplog.messages), "the client did log the request"
    assert KEY not in caplog.text
    assert sent[100:300] not in caplog.text


def test_a_missing_key_is_named() -> None:
    models = chat_models({"openai": "gpt-5-mini"})
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        models.chat(words)


def test_an_unknown_model_names_near_ones() -> None:
    with pytest.raises(ConfigError, match="gpt-5-mini"):
        chat_models({"openai": {"model": "gpt-5-mimi", "api_key": "none"}}).chat(words)


def test_a_model_that_cannot_be_made_is_passed_over(server: ChatServer) -> None:
    models = chat_models([{"openai": "gpt-5-mini"}, server.llm(model="gpt-4o")])
    reply = models.chat(words)
    assert reply.model == "openai/gpt-4o"
    assert "OPENAI_API_KEY" in reply.notes[0]


def test_an_unknown_provider_names_near_ones() -> None:
    with pytest.raises(ConfigError, match="anthropic"):
        chat_models({"antropic": "claude"})


def test_a_misspelt_option_is_named(server: ChatServer) -> None:
    with pytest.raises(ConfigError, match="'temperature'"):
        chat_models(server.llm(temprature=0.5)).chat(words)


def test_a_missing_package_names_its_extra() -> None:
    provider = next(p for p in PROVIDERS.values() if p.name == "bedrock_converse")
    try:
        __import__(provider.module)
    except ModuleNotFoundError:
        with pytest.raises(MissingExtraError, match=r"llama-index-llms-bedrock-converse.*sensorium\[bedrock\]"):
            chat_models({"bedrock": "anthropic.claude"}).first.llm  # noqa: B018
    else:
        pytest.skip("the package is installed")


def test_a_compatible_endpoint_needs_an_address() -> None:
    with pytest.raises(ConfigError, match=r"needs api_base.*http://localhost"):
        chat_models({"openai_like": "qwen2.5-vl"}).chat(words)


def test_any_llamaindex_llm_will_do() -> None:
    reply = chat_models(MockLLM()).chat(words)
    assert "x" * 1000 in reply.text
    assert (reply.model, reply.usage.input) == ("custom/MockLLM", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"price": {"input": 1}}, "price"), ({"price": 3}, "price"), ({"vision": "yes"}, "true or false"),
        ({"max_retries": -1}, "max_retries"), ({"context_window": 3}, "context_window"),
    ],
)  # fmt: skip
def test_our_own_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chat_models({"openai": {"model": "gpt-5-mini", **options}})


# Those marked are worked examples of the providers' documentation.
@pytest.mark.parametrize(
    ("provider", "model", "size", "tokens"),
    [
        ("openai", "gpt-5.4", (1024, 1024), 1229),  # documented
        ("openai", "gpt-5.4", (2048, 2048), 3000),  # documented: 1600 x 1600, 2500 patches x 1.2
        ("openai", "gpt-4o", (1024, 1024), 765),  # documented
        ("openai", "gpt-4o", (2048, 4096), 1105),  # documented
        ("openai", "gpt-5-mini", (1024, 1024), 1229),
        ("openai", "gpt-5-mini", (2048, 768), 1844),  # 1536 patches x 1.2, as measured
        ("openai", "gpt-5.5", (1920, 1080), 2448),
        ("openai", "gpt-5.6-sol", (4032, 3024), 14_364),
        ("openai", "gpt-4.1-mini", (1800, 2400), 4977),  # 1536 x 2048, 3072 patches x 1.62
        ("openai", "gpt-4.1-nano", (32, 33), 5),
        ("openai", "gpt-4o-mini", (1024, 1024), 2833 + 4 * 5667),
        ("openai", "gpt-5", (512, 512), 210),
        ("openai", "gpt-5.1", (513, 512), 350),
        ("azure_openai", "gpt-4o", (1024, 1024), 765),
        ("anthropic", "claude-sonnet-4-5", (1000, 1000), 1296),  # documented
        ("anthropic", "claude-sonnet-4-5", (1920, 1080), 1560),  # documented: 1456 x 819
        ("anthropic", "claude-opus-4-7", (1920, 1080), 2691),  # documented
        ("anthropic", "claude-opus-4-8", (3840, 2160), 4784),  # documented
        ("anthropic", "claude-sonnet-4-5", (1075, 1520), 33 * 47),  # documented: 924 x 1307
        ("anthropic", "claude-sonnet-4-20250514", (1075, 1520), 33 * 47),
        ("anthropic", "claude-sonnet-5", (1075, 1520), 2145),  # documented
        ("anthropic", "claude-3-7-sonnet-latest", (5000, 100), 56 * 2),
        ("bedrock_converse", "us.anthropic.claude-haiku-4-5-20251001-v1:0", (1000, 1000), 1296),
        ("google_genai", "gemini-2.5-flash", (960, 540), 6 * 258),  # documented
        ("google_genai", "gemini-2.5-flash", (384, 384), 258),  # documented
        ("google_genai", "gemini-3-pro-preview", (4000, 3000), 1120),  # documented
        ("openai_like", "qwen2.5-vl", (280, 56), 22),
    ],
)
def test_pictures_cost_what_the_provider_says(provider: str, model: str, size: tuple[int, int], tokens: int) -> None:
    assert picture_tokens(provider, model, size) == tokens


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [
        # What OpenAI's own tokenizer gives: o200k since GPT-4o, cl100k before.
        ("gpt-5-mini", "Die Schutzmauer am Kap Ebbe wurde beschädigt.", 12),
        ("gpt-4-turbo", "Die Schutzmauer am Kap Ebbe wurde beschädigt.", 14),
        ("gpt-4o", "hello world", 2),
        ("claude-sonnet-4-5", "hello world", 2),
        ("gpt-5", "<|endoftext|>", 7),
    ],
)
def test_texts_are_counted_as_the_model_reads_them(model: str, text: str, tokens: int) -> None:
    assert counter(model)(text) == tokens


def test_counting_leaves_the_environment_and_llamaindex_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_index.core

    from sensorium.models._llm import facts

    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr(llama_index.core, "global_tokenizer", None)
    facts._tokenizer.cache_clear()
    assert counter("gpt-5")("hello") == 1
    assert llama_index.core.global_tokenizer is None
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("provider", "model", "sees"),
    [
        ("openai", "gpt-5-mini", True), ("openai", "gpt-4o", True), ("openai", "gpt-4-turbo", True),
        ("openai", "gpt-3.5-turbo", False), ("openai", "gpt-4", False), ("openai", "o3-mini", False),
        ("ollama", "llama3.2-vision", True), ("ollama", "qwen2.5vl:7b", True), ("ollama", "llama3.1", False),
        ("anthropic", "claude-sonnet-4-5", True), ("anthropic", "claude-2.1", False), ("openai_like", "any", True),
    ],
)  # fmt: skip
def test_models_that_take_pictures_are_known(provider: str, model: str, sees: bool) -> None:
    assert takes_pictures(provider, model) is sees


def test_one_set_of_models_serves_several_event_loops(server: ChatServer) -> None:
    models = chat_models(server.llm(max_retries=0))

    async def ask() -> list[Any]:
        return [await models.achat(words), *[p async for p in models.astream(words)]]

    for _ in range(3):
        whole, piece, _last = asyncio.run(ask())
        assert (whole.text, piece) == ("fine", "fine")
