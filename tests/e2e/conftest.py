"""What the tests on the real corpus share: the command line, and one index of all of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

READ = ("pdf", "pptx", "images")


def sensorium(*words: str, code: int = 0) -> str:
    """Run the command line as a user would; its stdout."""
    command = [sys.executable, "-m", "sensorium.apps.cli", *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == code, f"{run.returncode}\n{run.stderr[-2000:]}"
    assert "Traceback" not in run.stderr
    return run.stdout


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


@pytest.fixture(scope="session")
def staged(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for name in (*READ, "audio", "video"):
        (folder / name).symlink_to(corpus / name)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def report(staged: Path, data: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(sensorium("index", str(staged), "--data", data, "--json"))
    return result
