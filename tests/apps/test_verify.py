"""`sensorium status --verify` and `--repair`."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import sensorium
from sensorium.apps.cli import app


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, data = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("data")
    (folder / "birds.md").write_text("# Birds\n\nThe survey counted 48 puffins.\n", encoding="utf-8")
    assert call("index", folder, "--data", data).exit_code == 0
    return data


def harm(data: Path, statement: str) -> None:
    connection = sqlite3.connect(data / "index.sqlite3")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_whole_index(data: Path) -> None:
    shown = call("status", "--verify", "--data", data)
    assert shown.exit_code == 0
    assert "Everything that is stored is found." in shown.stdout
    done = call("status", "--verify", "--data", data, "--json")
    outcome = json.loads(done.stdout)["verification"]
    assert (outcome["sound"], outcome["repaired"], outcome["found"], outcome["sources"]) == (True, False, [], 1)
    assert "verification" not in json.loads(call("status", "--data", data, "--json").stdout)


def test_damage_is_code_3_until_it_is_mended(data: Path) -> None:
    harm(data, "DELETE FROM texts")
    shown = call("status", "--verify", "--data", data)
    assert shown.exit_code == 3
    assert "found: keyword search" in shown.stdout
    assert "hint: Mend it: sensorium status --repair" in shown.stdout
    mended = call("status", "--repair", "--data", data)
    assert mended.exit_code == 0
    assert "mended: keyword search" in mended.stdout
    assert call("status", "--verify", "--data", data).exit_code == 0


def test_what_only_indexing_can_mend_stays(data: Path) -> None:
    harm(data, "DELETE FROM bodies")
    with sensorium.open(data=data) as kb:
        outcome = kb.verify(repair=True)
    assert not outcome.sound
    (finding,) = outcome.left
    assert finding.where == "birds.md"
    shown = call("status", "--data", data).stdout
    assert "failed: birds.md" in shown
    folder = finding.hint.removeprefix("Index it again: sensorium index ")
    assert call("index", folder, "--data", data).exit_code == 0
    assert call("status", "--verify", "--data", data).exit_code == 0
