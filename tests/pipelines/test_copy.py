"""Moving an index to another store: nothing lost, nothing embedded again, resumed after an interruption."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import BaseNode
from typer.testing import CliRunner

from sensorium.apps.cli import app
from sensorium.errors import ConfigError, StoreError
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.copy import Copier, copy
from sensorium.stores.base import Space, Store, Vector, Vectors
from sensorium.stores.sqlite import SqliteStore
from sensorium.testing.stores.case import node, plain, publish, random_vectors, stored

TEXT = Space("text", 8, "fake-1")
PARTS = Space("sentences", 8, "fake-1/units", multi=True, searchable=False)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[SqliteStore]:
    """Three sources with nodes, a skipped one, one that failed after it had been stored, and two loose nodes."""
    store = SqliteStore(data=tmp_path / "old", spaces=[TEXT, PARTS])
    for number, doc in enumerate(("a", "b", "c")):
        nodes = [node(f"{doc} number {i}", i, doc=doc) for i in range(700 if doc == "b" else 5)]
        parts = [random_vectors(3, i) for i in range(len(nodes))]
        vectors: Vectors = {"text": random_vectors(len(nodes), number), "sentences": parts}
        with store.stage(doc) as stage:
            stage.add(nodes, vectors)
            stage.publish(stored(doc, {"text": len(nodes)}))
    store.record(stored("skipped", {}).changed(status="skipped", reason="no loader", live_sha256=""))
    store.record(stored("c", {"text": 5}).changed(status="failed", reason="damaged", sha256="c" * 64))
    store.add([plain("x1", doc="loose"), plain("x2", doc="loose")], vectors={"text": random_vectors(2, 9)})
    yield store
    store.close()


def target(folder: Path, spaces: Sequence[Space] = (TEXT, PARTS)) -> SqliteStore:
    return SqliteStore(data=folder, spaces=spaces)


def content(store: Store) -> dict[str, tuple[dict[str, Any], dict[str, Vector]]]:
    return {node.node_id: (node.to_dict(), vectors) for node, vectors in store.iter_nodes()}


def assert_same(one: Store, other: Store) -> None:
    first, second = content(one), content(other)
    assert {key: values[0] for key, values in first.items()} == {key: values[0] for key, values in second.items()}
    for key, (_, vectors) in first.items():
        assert vectors.keys() == second[key][1].keys()
        for space, vector in vectors.items():
            np.testing.assert_allclose(second[key][1][space], vector, atol=0.01)
    assert list(one.sources()) == list(other.sources())


def test_everything_arrives(origin: SqliteStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    new = target(tmp_path / "new")
    report = Copier(origin, new, lambda done, total: seen.append((done, total))).run()
    assert (report.copied, report.unchanged, report.nodes, report.loose, report.others) == (4, 0, 712, 2, 0)
    assert_same(origin, new)
    assert seen[-1] == (712, 712)
    again = Copier(origin, new).run()
    assert (again.copied, again.unchanged, again.nodes) == (0, 4, 2)  # loose nodes have no row that tells
    new.close()


def test_an_interrupted_copy_goes_on(origin: SqliteStore, tmp_path: Path) -> None:
    new = target(tmp_path / "new")

    def interrupt(done: int, total: int) -> None:
        if done > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Copier(origin, new, interrupt).run()
    assert {record.doc_id for record in new.sources()} == {"a"}  # half of b was not published
    assert new.count() == 5
    report = Copier(origin, new).run()
    assert (report.copied, report.unchanged) == (3, 1)
    assert_same(origin, new)
    new.close()


def test_changed_sources_are_copied_again_and_others_stay(origin: SqliteStore, tmp_path: Path) -> None:
    new = target(tmp_path / "new")
    publish(new, "mine", [node("only here", doc="mine")])
    Copier(origin, new).run()
    publish(origin, "a", [node("a is short now", doc="a")], sha256="d" * 64, live_sha256="d" * 64)
    report = Copier(origin, new).run()
    assert (report.copied, report.unchanged, report.others) == (1, 3, 1)
    assert [n.get_content() for n in new.get_nodes() if n.ref_doc_id == "a"] == ["a is short now"]
    assert "only here" in {n.get_content() for n in new.get_nodes()}
    new.close()


def test_other_spaces_are_refused(origin: SqliteStore, tmp_path: Path) -> None:
    new = target(tmp_path / "new", [TEXT])
    with pytest.raises(StoreError, match="sentences"):
        Copier(origin, new)
    new.close()


def test_lost_nodes_are_noticed(origin: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: SqliteStore, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        return [node.node_id for node in nodes]

    new = target(tmp_path / "new")
    monkeypatch.setattr(SqliteStore, "add", forget)
    with pytest.raises(StoreError, match="holds 710 nodes, but should hold 712"):
        Copier(origin, new).run()
    new.close()


def test_the_command_brings_the_pictures_along(origin: SqliteStore, tmp_path: Path) -> None:
    name = AssetStore(str(tmp_path / "old" / "assets")).put(b"a picture", ".png")
    config = tmp_path / "new.yaml"
    config.write_text("data: moved\n", encoding="utf-8")
    command = ["copy", "--from", "sqlite", "--data", str(tmp_path / "old"), "--to", str(config), "--json"]
    made = CliRunner().invoke(app, command)
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert (report["nodes"], report["assets"]) == ({"copied": 712, "without_source": 2}, 1)
    moved = target(tmp_path / "moved")
    assert_same(origin, moved)
    moved.close()
    assert AssetStore(str(tmp_path / "moved" / "assets")).read(name) == b"a picture"


@pytest.mark.parametrize(("to", "words"), [("sqlite", "same store"), ("{sqlite", "no store"), ("oracle", "oracle")])
def test_impossible_targets(origin: SqliteStore, tmp_path: Path, to: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        copy("sqlite", to, data=tmp_path / "old")


def test_nothing_to_copy(tmp_path: Path) -> None:
    """A wrong folder is named, and stays as it is."""
    command = ["copy", "--from", "sqlite", "--data", str(tmp_path / "typo"), "--to", str(tmp_path / "new.yaml")]
    (tmp_path / "new.yaml").write_text(f"data: {tmp_path / 'new'}\n", encoding="utf-8")
    made = CliRunner().invoke(app, command)
    assert made.exit_code != 0
    assert "nothing to copy" in made.output
    assert str(tmp_path / "typo") in made.output.replace("\n", "")
    assert not (tmp_path / "typo").exists()
    SqliteStore(data=tmp_path / "typo", spaces=[TEXT]).close()
    with pytest.raises(StoreError, match="nothing to copy"):
        copy("sqlite", str(tmp_path / "new.yaml"), data=tmp_path / "typo")
    assert not (tmp_path / "new").exists()
