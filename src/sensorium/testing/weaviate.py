"""A real Weaviate for tests, as a pytest plugin: `pytest_plugins = ["sensorium.testing.weaviate"]`.

The server is the one at `WEAVIATE_URL` (with `WEAVIATE_GRPC` as host:port, and `WEAVIATE_API_KEY`), else one of our
own that is fetched if need be and lives as long as the test run. Where there is none, tests that use it are skipped,
and the last lines of the summary say so; in CI (`CI=true`) they fail. They are marked `integration`.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from sensorium.errors import StoreError

if TYPE_CHECKING:  # imported where they are used: most test runs need no Weaviate
    from weaviate import WeaviateClient

    from sensorium.stores._weaviate.server import EmbeddedServer

RUN = f"Test{uuid4().hex[:8]}"
_numbers = count(1)
_missing = pytest.StashKey[str]()


@dataclass(frozen=True)
class WeaviateServer:
    """The server of a test run.

    Attributes:
        url: Address of REST.
        grpc_host: Host of gRPC.
        grpc_port: Its port.
        api_key: Key, empty for a server that wants none.
        embedded: The server behind it, when it is our own.
    """

    url: str
    grpc_host: str
    grpc_port: int
    api_key: str = field(repr=False)
    embedded: "EmbeddedServer | None" = None

    def client(self) -> "WeaviateClient":
        """A new connected client; the caller closes it."""
        from weaviate import WeaviateClient
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout
        from weaviate.connect import ConnectionParams

        http = urlsplit(self.url)
        secure = http.scheme == "https"
        client = WeaviateClient(
            ConnectionParams.from_params(
                http_host=http.hostname or "localhost",
                http_port=http.port or (443 if secure else 80),
                http_secure=secure,
                grpc_host=self.grpc_host,
                grpc_port=self.grpc_port,
                grpc_secure=secure,
            ),
            auth_client_secret=Auth.api_key(self.api_key) if self.api_key else None,
            additional_config=AdditionalConfig(timeout=Timeout(init=30, query=60, insert=300)),
            skip_init_checks=True,  # one of them asks a package index for a newer client
        )
        client.connect()
        return client


@pytest.fixture(scope="session")
def weaviate_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WeaviateServer]:
    """The one server of this run; fails at the end when tests have left collections behind."""
    url = os.environ.get("WEAVIATE_URL")
    if url:
        server = _given(url)
        yield server
        _no_leftovers(server)
        return
    from sensorium.stores._weaviate.binary import ensure_binary
    from sensorium.stores._weaviate.server import start

    folder = tmp_path_factory.mktemp("weaviate")
    try:
        ensure_binary()
    except StoreError as fault:
        _give_up(request.config, str(fault))
    with start(folder) as embedded:
        server = WeaviateServer(embedded.url, "127.0.0.1", embedded.grpc_port, embedded.api_key, embedded)
        yield server
        _no_leftovers(server)
    shutil.rmtree(folder)


@pytest.fixture
def collection_name(weaviate_server: WeaviateServer) -> Iterator[str]:
    """A name for this test's collections; all whose names begin with it are removed afterwards."""
    name = f"{RUN}N{next(_numbers):05d}"
    yield name
    with weaviate_server.client() as client:
        for found in client.collections.list_all():
            if found.startswith(name):
                client.collections.delete(found)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the server, so that `-m "not integration"` leaves them out."""
    for item in items:
        if "weaviate_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in the last lines that the Weaviate tests did not run."""
    reason = config.stash.get(_missing, "")
    if reason:
        terminalreporter.section("Weaviate tests were SKIPPED", sep="-", yellow=True)
        terminalreporter.line(reason)


def _given(url: str) -> WeaviateServer:
    parts = urlsplit(url)
    host, _, port = os.environ.get("WEAVIATE_GRPC", f"{parts.hostname}:50051").rpartition(":")
    return WeaviateServer(url, host, int(port), os.environ.get("WEAVIATE_API_KEY", ""))


def _give_up(config: pytest.Config, reason: str) -> None:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"In CI a Weaviate server is a must. {reason}", pytrace=False)
    config.stash[_missing] = reason
    pytest.skip("no Weaviate server")


def _no_leftovers(server: WeaviateServer) -> None:
    with server.client() as client:
        left = sorted(name for name in client.collections.list_all() if server.embedded or name.startswith(RUN))
        for name in left:
            client.collections.delete(name)
    assert not left, f"tests left collections behind: {', '.join(left)}"
