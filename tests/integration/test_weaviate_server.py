"""Weaviate Embedded as we start it: shut to strangers, shared by processes, never left behind."""

import http.client
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from weaviate.classes.config import Configure

from sensorium.errors import StoreError
from sensorium.stores._weaviate import guardian, server
from sensorium.stores._weaviate.binary import VERSION, binary_path, ensure_binary
from sensorium.stores._weaviate.server import EmbeddedServer, start
from sensorium.testing.weaviate import WeaviateServer

USER = """
import sys, time
from pathlib import Path
from sensorium.stores._weaviate.server import start
server = start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(weaviate_server: WeaviateServer, tmp_path: Path) -> Path:
    """A folder for a server of the test's own; only where there is a binary."""
    if weaviate_server.embedded is None:
        ensure_binary()
    return tmp_path / "server"


@pytest.fixture
def embedded(weaviate_server: WeaviateServer) -> EmbeddedServer:
    if weaviate_server.embedded is None:
        pytest.skip("the server at WEAVIATE_URL is not ours to examine")
    return weaviate_server.embedded


def status(port: int, path: str, key: str | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for_end(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while guardian.alive(folder):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.05)


@pytest.fixture
def other_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the server of `folder`, up and running."""
    process = subprocess.Popen([sys.executable, "-c", USER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_run_has_a_server_of_the_wanted_version(weaviate_server: WeaviateServer, collection_name: str) -> None:
    with weaviate_server.client() as client:
        assert client.is_ready()
        client.collections.create(collection_name, vector_config=Configure.Vectors.self_provided())
        assert client.collections.exists(collection_name)
        if weaviate_server.embedded:
            assert client.get_meta()["version"] == VERSION == weaviate_server.embedded.version


@pytest.mark.parametrize("key", [None, "wrong"])
def test_strangers_get_nothing(embedded: EmbeddedServer, key: str | None) -> None:
    assert status(embedded.http_port, "/v1/schema", key) == 401
    assert status(embedded.http_port, "/v1/schema", embedded.api_key) == 200
    assert status(embedded.http_port + 3, "/nodes/status", key) == 401  # the cluster API


def test_modules_and_profiling_are_off(embedded: EmbeddedServer, weaviate_server: WeaviateServer) -> None:
    with weaviate_server.client() as client:
        assert not client.get_meta().get("modules")
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", 6060), timeout=2):
        pass


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_only_the_two_ports_without_a_setting_are_open_to_the_network(embedded: EmbeddedServer) -> None:
    inodes = {
        os.readlink(fd)[8:-1]
        for fd in Path(f"/proc/{embedded.pid}/fd").iterdir()
        if fd.is_symlink() and os.readlink(fd).startswith("socket:")
    }
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1].split(":") for row in rows if row[3] == "0A" and row[9] in inodes]
    ports = {int(port, 16) - embedded.http_port: address for address, port in listening}
    assert sorted(ports) == [0, 1, 2, 3, 4, 5]
    assert {offset for offset, address in ports.items() if set(address) == {"0"}} == {1, 3}


def test_secrets_are_for_the_owner_only(embedded: EmbeddedServer) -> None:
    file = embedded.data / guardian.STATE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["api_key"] == embedded.api_key
    assert len(embedded.api_key) > 30
    assert embedded.api_key not in repr(embedded.state)


def test_the_environment_of_the_user_does_not_reach_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED", "true")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setattr(server, "_warned", False)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "sensorium.weaviate"), start(folder) as own:
        seconds = time.monotonic() - started
        assert status(own.http_port, "/v1/schema") == 401
        with pytest.raises(StoreError, match=r"1\.37\.0 was asked for"):
            start(folder, version="1.37.0")
        with start(folder) as joined:
            assert (joined.url, joined.api_key, joined.started_here) == (own.url, own.api_key, False)
        assert guardian.alive(folder)  # one of its two users has left
    assert not guardian.alive(folder)
    assert seconds <= 4 * (1 + os.getloadavg()[0])
    assert len(caplog.records) == 1
    assert str(own.grpc_port) in caplog.text
    assert str(own.http_port + 3) in caplog.text


def test_data_and_key_outlive_a_crash_and_a_taken_port(folder: Path) -> None:
    with start(folder) as first:
        with _target(first).client() as client:
            client.collections.create("Kept", vector_config=Configure.Vectors.self_provided())
        first.kill()
        assert not guardian.alive(folder)
        with socket.create_server(("127.0.0.1", first.grpc_port)), start(folder) as second:
            assert (second.api_key, second.started_here) == (first.api_key, True)
            assert second.grpc_port != first.grpc_port
            with _target(second).client() as client:
                assert client.collections.exists("Kept")


def test_a_killed_user_leaves_no_server_behind(folder: Path, other_process: subprocess.Popen[str]) -> None:
    joined = start(folder)
    assert not joined.started_here
    assert os.getpgid(joined.pid) != os.getpgid(other_process.pid)  # so that Ctrl-C does not reach it
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    time.sleep(0.3)
    assert status(joined.http_port, "/v1/meta", joined.api_key) == 200  # ours is still open
    joined.stop()
    wait_for_end(folder)


def test_the_last_user_killed_ends_the_server(folder: Path, other_process: subprocess.Popen[str]) -> None:
    assert guardian.alive(folder)
    other_process.send_signal(signal.SIGKILL)
    wait_for_end(folder)


def test_a_server_that_ends_at_once_is_an_error_with_its_words(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"ended with code \d+: .*RAFT"):
        start(folder, settings={"RAFT_BOOTSTRAP_EXPECT": "none"})
    assert not guardian.alive(folder)


def test_the_binary_comes_from_the_cache_first(tmp_path: Path) -> None:
    file = binary_path("1.38.11", tmp_path)
    assert file.name == "weaviate-v1.38.11-287467516990874745830edc656937706094f7415ec362b548f23c343acc3548"
    file.write_text("#!/bin/sh\n")
    assert ensure_binary("1.38.11", tmp_path) == (file, "the cache of weaviate-client")
    assert os.access(file, os.X_OK)


def test_go_builds_the_named_module_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\necho "$CGO_ENABLED $@" > "$GOBIN/weaviate-server"\nchmod +x "$GOBIN/weaviate-server"\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    file, origin = ensure_binary(VERSION, tmp_path / "cache")
    assert origin == f"go install github.com/weaviate/weaviate/cmd/weaviate-server@v{VERSION}"
    assert file.read_text().startswith("0 install -trimpath -ldflags -s -w -extldflags")
    assert [p.name for p in file.parent.iterdir() if not p.name.startswith(".")] == [file.name]


def test_no_binary_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # so that nothing leaves this machine
    with pytest.raises(StoreError, match=r"Go is not installed.*download.*refused.*Install Go"):
        ensure_binary(VERSION, tmp_path)


def _target(own: EmbeddedServer) -> WeaviateServer:
    return WeaviateServer(own.url, "127.0.0.1", own.grpc_port, own.api_key, own)
