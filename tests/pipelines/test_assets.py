"""Asset store: content-addressed, whole or not there, swept with care."""

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from sensorium.errors import EvidenceError, StoreError
from sensorium.pipelines.assets import AssetStore


@pytest.fixture(params=["local", "memory"])
def assets(request: pytest.FixtureRequest, tmp_path: Path) -> AssetStore:
    return AssetStore(str(tmp_path / "assets") if request.param == "local" else f"memory://{tmp_path.name}/assets")


def test_content_comes_back_under_its_digest(assets: AssetStore) -> None:
    name = assets.put(b"picture", ".png")
    assert name == hashlib.sha256(b"picture").hexdigest() + ".png"
    assert assets.put(b"picture", ".png") == name
    assert assets.read(name) == b"picture"
    assert assets.path(name).endswith(f"/{name[:2]}/{name}")
    assert list(assets.names()) == [name]


def test_what_is_missing_or_damaged_is_an_error(assets: AssetStore, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="cannot be read"):
        assets.read("0" * 64 + ".png")
    for name in ("../secret", "0" * 64 + ".png/..", "0" * 63):
        with pytest.raises(ValueError, match="no name of an asset"):
            assets.read(name)
    local = AssetStore(str(tmp_path / "other"))
    name = local.put(b"picture", ".png")
    Path(local.path(name)).write_bytes(b"pict")
    with pytest.raises(EvidenceError, match="damaged"):
        local.read(name)


def test_sweep_takes_only_what_is_old_and_unused(assets: AssetStore) -> None:
    used, unused = assets.put(b"used", ".png"), assets.put(b"unused", ".png")
    assert assets.sweep({used}) == 0
    time.sleep(0.01)
    assert assets.sweep({used}, older_than_s=0) == 1
    assert list(assets.names()) == [used]
    assert unused not in list(assets.names())


def test_an_asset_that_is_put_again_counts_as_new(tmp_path: Path) -> None:
    assets = AssetStore(str(tmp_path))
    name = assets.put(b"picture", ".png")
    os.utime(assets.path(name), (0, 0))
    assets.put(b"picture", ".png")
    assert assets.sweep(set()) == 0
    os.utime(assets.path(name), (0, 0))
    assert assets.sweep(set()) == 1


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    assets = AssetStore(str(tmp_path))
    data = os.urandom(200_000)
    threads = [threading.Thread(target=assets.put, args=(data, ".jpg")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (name,) = assets.names()
    assert assets.read(name) == data
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        AssetStore(str(tmp_path / "file")).put(b"x", ".png")


def test_relative_addresses_are_settled_when_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assets = AssetStore("data/assets")
    monkeypatch.chdir("/")
    assert (tmp_path / "data/assets" / assets.put(b"x", ".png")[:2]).is_dir()
