"""The README's Python and YAML run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.loaders.base import Tools, local_file
from sensorium.pipelines.spec import load_spec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", snippets("yaml"))
def test_yaml_is_valid(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert "default" in load_spec(path).pipelines


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run([sys.executable, ROOT / "examples" / "make_documents.py", tmp_path / "documents"], check=True)
    monkeypatch.chdir(tmp_path)
    (use,) = (text for text in snippets("python") if "sensorium.open" in text)
    exec(compile(use, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "20,115" in printed
    assert "Marta Lindqvist" in printed


def test_loader_example_works(tmp_path: Path) -> None:
    (example,) = (text for text in snippets("python") if "SubtitleLoader" in text)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    path = tmp_path / "talk.srt"
    path.write_text(
        "1\n00:00:01,500 --> 00:00:03,000\nGood morning\n\n2\n00:01:00,000 --> 00:01:02,250\nand welcome.\n"
    )
    nodes = list(names["SubtitleLoader"]().load(local_file(path), Tools()))  # type: ignore[operator]
    assert [(n.text, n.metadata["start_s"], n.metadata["end_s"]) for n in nodes] == [
        ("Good morning", 1.5, 3.0),
        ("and welcome.", 60.0, 62.25),
    ]
