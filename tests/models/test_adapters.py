import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.openai import OpenAIEmbedding

from sensorium.errors import ConfigError, MissingExtraError, ModelError
from sensorium.models.adapters import PROVIDERS, dimension, embed, revision, text_embedder
from sensorium.models.text import MiniLM

KEY = "sk-loopback-0123456789"


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible embeddings endpoint on this machine; a text's vector is (length, 1, 0, ...)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.broken = False

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.broken:
            return self.answer(401, {"error": {"message": f"bad key {KEY}", "type": "auth", "code": "401"}})
        size = body.get("dimensions", 6)
        data = [
            {"object": "embedding", "index": at, "embedding": [float(len(text)), 1.0] + [0.0] * (size - 2)}
            for at, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return self.answer(200, {"object": "list", "data": data, "model": body["model"], "usage": usage})

    def answer(self, status: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        if provider.key_variable:
            monkeypatch.delenv(provider.key_variable, raising=False)


def package(folder: Path, name: str, code: str) -> None:
    """Install a LlamaIndex integration of our own in a folder."""
    module = folder / "llama_index" / "embeddings" / name
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(f"from llama_index.embeddings.{name}.base import *\n")
    (module / "base.py").write_text(code)


HASHING = """
from llama_index.core.base.embeddings.base import BaseEmbedding

class {name}(BaseEmbedding):
    def __init__(self, model_id: str = "none", scale: float = 1.0, **kwargs):
        {body}
        super().__init__(model_name=model_id, **kwargs)
    def _get_text_embedding(self, text):
        return [float(len(text)), 1.0, 2.0]
    def _get_query_embedding(self, query):
        return self._get_text_embedding(query)
    async def _aget_query_embedding(self, query):
        return self._get_text_embedding(query)
"""


@pytest.fixture
def integrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("llama_index.embeddings."):
            del sys.modules[name]


def test_bundled_names() -> None:
    made = text_embedder(("minilm", {}), threads=2)
    assert isinstance(made, MiniLM)
    assert made.threads == 2
    assert dimension(made) == 384
    assert revision(made).startswith("minilm-8199be6f699a-")
    assert revision(text_embedder(("multilingual-e5-small", None))) != revision(made)


def test_an_option_that_a_bundled_model_does_not_have() -> None:
    with pytest.raises(ConfigError, match=r"minilm.*treads"):
        text_embedder(("minilm", {"treads": 2}))


@pytest.mark.parametrize("given", ["text-embedding-3-large", {"model": "text-embedding-3-large"}])
def test_openai_over_http(server: Server, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_BASE", server.base)
    made = text_embedder(("openai", given))
    assert isinstance(made, OpenAIEmbedding)
    assert embed(made, ["four", "fiftyfive"]).tolist() == [[4, 1, 0, 0, 0, 0], [9, 1, 0, 0, 0, 0]]
    assert made.get_query_embedding("abc")[0] == 3
    assert {request["model"] for request in server.requests} == {"text-embedding-3-large"}
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert dimension(made) == 6
    assert revision(made) == "OpenAIEmbedding/text-embedding-3-large"


def test_openai_with_options(server: Server) -> None:
    options = {"model": "any-name", "dimensions": 4, "api_key": KEY, "api_base": server.base}
    made = text_embedder(("openai", options))
    assert dimension(made) == 4
    assert server.requests == []  # known without asking
    assert embed(made, ["four"]).tolist() == [[4, 1, 0, 0]]
    assert server.requests[0]["dimensions"] == 4
    assert revision(made) == "OpenAIEmbedding/any-name/dimensions=4"


def test_a_missing_key_names_its_variable() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        text_embedder(("openai", "text-embedding-3-small"))


def test_a_refused_key_is_not_repeated(server: Server) -> None:
    server.broken = True
    made = text_embedder(("openai", {"model": "m", "api_key": KEY, "api_base": server.base, "max_retries": 0}))
    with pytest.raises(ModelError, match=r"AuthenticationError.*bad key \*\*\*") as caught:
        embed(made, ["text"])
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_misspelt_option_is_found() -> None:
    with pytest.raises(ConfigError, match=r"api_bse.*api_base"):
        text_embedder(("openai", {"model": "m", "api_key": KEY, "api_bse": "http://127.0.0.1"}))


def test_a_refused_option_does_not_show_the_key() -> None:
    options = {"model": "m", "api_key": KEY, "timeout": "soon", "default_headers": {"Authorization": "Bearer abcdef"}}
    with pytest.raises(ConfigError, match="timeout") as caught:
        text_embedder(("openai", options))
    assert KEY not in str(caught.value)
    assert "abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("huggingface", "llama-index-embeddings-huggingface"),
        ("openai_like", "llama-index-embeddings-openai-like"),
        ("gemini", "llama-index-embeddings-google-genai"),
        ("text_embeddings_inference", "llama-index-embeddings-text-embeddings-inference"),
        ("bedrock", "llama-index-embeddings-bedrock"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str, install: str) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    with pytest.raises(MissingExtraError, match=f"pip install '{install}'"):
        text_embedder((name, "some-model"))


@pytest.mark.parametrize(("name", "near"), [("minilmm", "minilm"), ("opena", "openai"), ("olama", "ollama")])
def test_an_unknown_name_gets_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}.*nearest.*\b{near}\b"):
        text_embedder((name, None))


@pytest.mark.parametrize("name", ["../evil", "os.path", "a b", ""])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(ConfigError, match="Unknown text embedder"):
        text_embedder((name, None))


def test_any_installed_integration_by_convention(integrations: Path) -> None:
    package(integrations, "homemade", HASHING.format(name="HomemadeEmbedding", body="pass"))
    made = text_embedder(("homemade", "tiny"))
    assert isinstance(made, BaseEmbedding)
    assert made.model_name == "tiny"
    assert dimension(made) == 3
    assert embed(made, ["ab"]).dtype == np.float32
    with pytest.raises(ConfigError, match=r"scal.*scale"):
        text_embedder(("homemade", {"scal": 2}))


def test_a_listed_integration_is_called_with_its_own_names(integrations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = HASHING.replace("model_id", "model").replace("scale: float = 1.0", "api_key: str = ''")
    package(integrations, "jinaai", code.format(name="JinaEmbedding", body="self.__dict__['seen'] = api_key"))
    with pytest.raises(ConfigError, match="JINAAI_API_KEY"):
        text_embedder(("jinaai", "v3"))
    monkeypatch.setenv("JINAAI_API_KEY", KEY)
    assert text_embedder(("jina", "v3")).model_name == "v3"


def test_an_integration_whose_own_dependency_is_missing(integrations: Path) -> None:
    package(integrations, "lacking", "import no_such_client_library\n")
    with pytest.raises(MissingExtraError, match=r"no_such_client_library.*llama-index-embeddings-lacking"):
        text_embedder(("lacking", "m"))


def test_what_an_integration_raises_becomes_one_error(integrations: Path) -> None:
    package(integrations, "picky", HASHING.format(name="PickyEmbedding", body="raise ValueError('no such region')"))
    with pytest.raises(ConfigError, match=r"'picky' cannot be made: ValueError: no such region"):
        text_embedder(("picky", "m"))


def test_an_embedder_that_returns_nonsense(integrations: Path) -> None:
    code = HASHING.replace("return [float(len(text)), 1.0, 2.0]", "return [float('nan')]")
    package(integrations, "broken", code.format(name="BrokenEmbedding", body="pass"))
    with pytest.raises(ModelError, match="one finite vector"):
        dimension(text_embedder(("broken", "m")))
