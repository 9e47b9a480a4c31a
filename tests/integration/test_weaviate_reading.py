"""Whatever only reads makes nothing: a mistyped collection or tenant, or a wrong folder, is named and left alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.weaviate_case import open_store, publish
from typer.testing import CliRunner

import sensorium
from sensorium.apps.cli import app
from sensorium.errors import MissingIndexError
from sensorium.stores.base import Space
from sensorium.testing.weaviate import WeaviateServer

READING = [["search", "x"], ["ask", "x"], ["status"], ["show", "x"], ["delete", "x"]]


def configured(server: WeaviateServer, folder: Path, collection: str, **options: Any) -> Path:
    """A configuration file of a store on the server of the run."""
    where = {"url": server.url, "grpc": f"{server.grpc_host}:{server.grpc_port}", "api_key": "${READING_KEY}"}
    file = folder / "config.yaml"
    store = {"weaviate": {**where, "collection": collection, **options}}
    file.write_text(json.dumps({"store": store, "data": str(folder / "data")}), encoding="utf-8")
    return file


@pytest.mark.parametrize("arguments", READING)
def test_a_mistyped_collection_is_not_made(
    weaviate_server: WeaviateServer, collection_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("READING_KEY", weaviate_server.api_key)
    file = configured(weaviate_server, tmp_path, collection_name)
    done = CliRunner().invoke(app, [*arguments, "--config", str(file)])
    assert done.exit_code == 2, done.output
    assert f"no index {collection_name}" in done.output
    assert "sensorium index FOLDER --config" in done.output
    with weaviate_server.client() as client:
        assert not [name for name in client.collections.list_all() if name.startswith(collection_name)]


def test_a_mistyped_tenant_is_not_made(
    weaviate_server: WeaviateServer, collection_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READING_KEY", weaviate_server.api_key)
    one = open_store(weaviate_server, collection_name, tenant="one")
    publish(one, "a", 1)
    typo = configured(weaviate_server, tmp_path, collection_name, tenant="on")
    with sensorium.open(typo, create=False) as kb, pytest.raises(MissingIndexError, match="no tenant 'on'"):
        kb.status()
    copied = CliRunner().invoke(app, ["copy", "--from", str(typo), "--to", "sqlite", "--data", str(tmp_path / "new")])
    assert copied.exit_code != 0
    assert "no tenant 'on'" in copied.output
    assert "Check --from" in copied.output
    assert list(one.client.collections.get(collection_name).tenants.get()) == ["one"]
    assert not (tmp_path / "new").exists()

    right = configured(weaviate_server, tmp_path, collection_name, tenant="one")
    with sensorium.open(right, create=False) as kb:
        assert kb.status()["nodes"] == {"text": 60}
    one.close()


def test_an_emptied_index_is_not_made_anew(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Reading with other spaces must not drop it: somebody may be about to publish the first source."""
    store = open_store(weaviate_server, collection_name)
    with pytest.raises(MissingIndexError, match="other spaces"):
        open_store(weaviate_server, collection_name, spaces=[Space("text", 4, "other")], create=False)
    publish(store, "a", 1)
    assert store.count() == 60
    store.close()


@pytest.mark.parametrize("arguments", READING)
def test_no_server_is_started_for_nothing(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("store: {weaviate: embedded}\n", encoding="utf-8")
    done = CliRunner().invoke(app, [*arguments, "--config", str(file)])
    assert done.exit_code == 2, done.output
    assert "There is no index in" in done.output
    assert list(tmp_path.iterdir()) == [file]
