"""Shared fixtures: where the real corpus is, and no model requests to the outside."""

import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest_plugins = ["sensorium.testing.weaviate"]

ROOT = Path(__file__).parents[1]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The real corpus; tests that need it are skipped by name where it is missing."""
    folder = Path(os.environ.get("SENSORIUM_CORPUS", ROOT.parent / "shared" / "corpus"))
    if not (folder / "questions.jsonl").is_file():
        pytest.skip(f"the corpus is not at {folder} (set SENSORIUM_CORPUS)")
    return folder


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail any test that connects to another machine: model requests to the outside are forbidden."""
    connect = socket.socket.connect
    weaviate = urlsplit(os.environ.get("WEAVIATE_URL", "")).hostname
    given = {entry[4][0] for entry in socket.getaddrinfo(weaviate, None)} if weaviate else set()

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in {"localhost", "::1", "0.0.0.0", *given} and not str(host).startswith("127."):
            raise AssertionError(f"a test tried to reach {host}; tests may only use this machine")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
