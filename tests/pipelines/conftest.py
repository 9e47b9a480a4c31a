"""Fixtures of the pipelines: a place to index into, and a loader that misbehaves on request."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pipelines.home import Home, Shared

from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
from sensorium.pipelines._ingest import run
from sensorium.pipelines._ingest.host import ForkHost
from sensorium.registry import Entry


@pytest.fixture(scope="session")
def fork_host() -> Iterator[ForkHost]:
    """One process to fork workers from, for all tests: to start one takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        host = ForkHost()
    yield host
    host.close()


@pytest.fixture
def shared_host(fork_host: ForkHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Index with workers of the tests' common host."""
    monkeypatch.setattr(run, "launcher", lambda setup, preload: Shared(fork_host, setup))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    for store in made.stores:
        store.close()


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let plain texts be read by `FaultyLoader`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setitem(LOADERS._entries, "faulty", Entry("faulty", "faulty_loaders:FaultyLoader"))
    monkeypatch.setitem(BY_MEDIA_TYPE, "text/plain", "faulty")
