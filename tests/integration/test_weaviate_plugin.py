"""The test command gets its server itself, and says so where it cannot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.testing.weaviate import WeaviateServer

pytestmark = pytest.mark.integration

CONFTEST = 'pytest_plugins = ["sensorium.testing.weaviate"]\n'
TEST = """
def test_it(weaviate_server, collection_name):
    with weaviate_server.client() as client:
        client.collections.create(collection_name)
        print("server:", weaviate_server.url, weaviate_server.embedded)


def test_something_else():
    pass
"""
LEAVES = """
from sensorium.testing.weaviate import RUN


def test_it(weaviate_server):
    with weaviate_server.client() as client:
        client.collections.create(RUN + "Left")
"""


def run(folder: Path, test: str = TEST, **environment: str) -> tuple[int, str]:
    """Pytest in a folder of its own: exit code and output."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(test)
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "WEAVIATE_URL", "WEAVIATE_GRPC", "WEAVIATE_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-p", "no:cacheprovider", "-s", str(folder)],
        env={**kept, **environment}, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment without a cached server, without Go and without a network."""
    away = "http://127.0.0.1:9"
    empty = tmp_path / "empty"
    empty.mkdir()
    return {"XDG_CACHE_HOME": str(empty), "PATH": str(empty), "https_proxy": away, "HTTPS_PROXY": away}


def test_without_a_server_the_last_lines_say_so(tmp_path: Path, nowhere: dict[str, str]) -> None:
    code, output = run(tmp_path, **nowhere)
    assert code == 0
    assert "1 passed, 1 skipped" in output
    last = output.strip().splitlines()[-4:]
    assert any("Weaviate tests were SKIPPED" in line for line in last)
    assert any("Install Go" in line for line in last)


def test_in_ci_a_missing_server_is_a_failure(tmp_path: Path, nowhere: dict[str, str]) -> None:
    code, output = run(tmp_path, CI="true", **nowhere)
    assert code == 1
    assert "In CI a Weaviate server is a must" in output


def test_a_given_server_comes_first(weaviate_server: WeaviateServer, tmp_path: Path, nowhere: dict[str, str]) -> None:
    given = {
        "WEAVIATE_URL": weaviate_server.url,
        "WEAVIATE_GRPC": f"{weaviate_server.grpc_host}:{weaviate_server.grpc_port}",
        "WEAVIATE_API_KEY": weaviate_server.api_key,
    }
    code, output = run(tmp_path, **nowhere, **given)
    assert code == 0
    assert f"server: {weaviate_server.url} None" in output


def test_collections_that_are_left_behind_are_an_error(weaviate_server: WeaviateServer, tmp_path: Path) -> None:
    given = {
        "WEAVIATE_URL": weaviate_server.url,
        "WEAVIATE_GRPC": f"{weaviate_server.grpc_host}:{weaviate_server.grpc_port}",
        "WEAVIATE_API_KEY": weaviate_server.api_key,
    }
    code, output = run(tmp_path, LEAVES, **given)
    assert code == 1
    assert "left collections behind" in output
