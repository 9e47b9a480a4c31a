"""The wheel holds every module and data file, under one import name."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = {"loaders": "sensorium/loaders", "pipelines": "sensorium/pipelines", "prompts": "sensorium/prompts"}


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)  # an sdist, and a wheel from that sdist
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def expected() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "loaders", "pipelines", "prompts", "src/sensorium"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")  # fmt: skip
    names = set()
    for name in listed:
        path = ROOT / name
        if not name or path.is_symlink() or not path.is_file():
            continue
        first, _, rest = name.partition("/")
        names.add(f"{MAPPED[first]}/{rest}" if first in MAPPED else name.removeprefix("src/"))
    return names


def test_wheel_holds_every_file(wheel_names: set[str]) -> None:
    assert expected() - wheel_names == set()


def test_wheel_installs_one_import_name(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sensorium"}


def test_wheel_carries_models_and_licences(wheel_names: set[str]) -> None:
    assert "sensorium/models/data/PP-OCRv6_det_tiny.onnx" in wheel_names
    assert any(name.endswith("licenses/NOTICE") for name in wheel_names)
    assert "sensorium/py.typed" in wheel_names
