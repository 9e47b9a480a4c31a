"""The local LLM without weights: heads of GGUF files made here, and what is refused before anything is loaded."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage

from sensorium.errors import ConfigError
from sensorium.models._llm.gguf import needed_bytes, read_head, trained_window
from sensorium.models.llm import ChatModel, chat_models
from sensorium.pipelines.spec import load_spec

HEAD: dict[str, Any] = {
    "general.architecture": "llama", "llama.context_length": 2048, "llama.block_count": 30,
    "llama.embedding_length": 576, "llama.attention.head_count": 9, "llama.attention.head_count_kv": 3,
    "tokenizer.ggml.tokens": ["<a>", "<b>"], "tokenizer.ggml.scores": [0.5] * 5000, "general.flag": True,
}  # fmt: skip


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value[0], str):
        return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    return struct.pack("<IIQ", 9, 6, len(value)) + struct.pack(f"<{len(value)}f", *value)


def gguf(path: Path, **more: Any) -> Path:
    head = {**HEAD, **{key.replace("__", "."): value for key, value in more.items()}}
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(head)) + b"".join(text(k) + entry(v) for k, v in head.items())
    path.write_bytes(data)
    return path


def hello(model: ChatModel, shrinks: int) -> Sequence[ChatMessage]:
    return [ChatMessage(role="user", content="Hello")]


def test_a_head_is_read_without_the_weights(tmp_path: Path) -> None:
    head = read_head(gguf(tmp_path / "m.gguf"))
    assert (trained_window(head), head["general.flag"], head["tokenizer.ggml.tokens"]) == (2048, True, None)
    size = (tmp_path / "m.gguf").stat().st_size
    # 30 layers, 3 heads of 64 for keys and as many for values, 2 bytes each.
    assert needed_bytes(tmp_path / "m.gguf", head, 1000) == size + 30 * 3 * (64 + 64) * 2 * 1000


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "There is no model file"), (b"PK\x03\x04", "is no GGUF file"), (b"", "is no GGUF file")],
)
def test_what_is_no_model_is_a_fault_of_the_configuration(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "m.gguf"
    if content is not None:
        file.write_bytes(content)
    synthesize = {"multimodal": {"llm": {"local": str(file)}}}
    with pytest.raises(ConfigError) as caught:
        load_spec({"pipelines": {"default": {"synthesize": synthesize}}})
    (fault,) = caught.value.faults
    assert said in str(fault)
    assert "multimodal.llm" in fault.path  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"GGUF\x03\0\0", b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60)])
def test_a_damaged_head_is_said_before_the_weights_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read"):
        chat_models({"local": str(tmp_path / "m.gguf")}).chat(hello)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"context_window": 4096}, "was trained for 2048 tokens, not for 4096"),
        ({"context_window": 1024, "mmproj": "no/such.gguf"}, "There is no model file no/such.gguf"),
        ({"context_windw": 1024}, "Did you mean 'context_window'"),
        ({"context_window": 1024, "max_tokens": 0}, "cannot be made"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    models = chat_models({"local": {"model": str(gguf(tmp_path / "m.gguf")), **options}})
    with pytest.raises(ConfigError, match=said):
        models.chat(hello)


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    big = gguf(tmp_path / "m.gguf", llama__context_length=2**31, llama__block_count=10_000)
    with pytest.raises(ConfigError, match=r"needs [\d.]+ GB of memory; [\d.]+ GB are free.*lower its context_window"):
        chat_models({"local": {"model": str(big), "context_window": 2**30}}).chat(hello)


def test_only_a_model_with_a_projector_sees(tmp_path: Path) -> None:
    file = str(gguf(tmp_path / "m.gguf"))
    assert not chat_models({"local": file}).first.vision
    assert chat_models({"local": {"model": file, "mmproj": file}}).first.vision
    assert chat_models({"local": file}).first.name == "local/m.gguf"


def test_the_file_has_to_be_named() -> None:
    with pytest.raises(ConfigError, match=r"\{local: MODEL.gguf\}"):
        chat_models("local").chat(hello)
