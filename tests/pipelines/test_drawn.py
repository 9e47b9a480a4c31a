"""Pictures kept in the data folder: drawn once, bounded, and never in the way."""

import os
from pathlib import Path

import pytest

from sensorium.loaders.base import Picture
from sensorium.nodes import Evidence
from sensorium.pipelines.drawn import Drawn

EVIDENCE = Evidence(source="a.pdf", sha256="ab" * 32, media_type="application/pdf", kind="table", page=2)


class Drawer:
    def __init__(self, size: int = 100, note: str = "") -> None:
        self.drawn, self._size, self._note = 0, size, note

    def __call__(self) -> Picture:
        self.drawn += 1
        return Picture(bytes([self.drawn]) * self._size, "image/png", self._note)


def test_a_picture_is_drawn_once_over_processes(tmp_path: Path) -> None:
    draw = Drawer()
    first = Drawn(tmp_path / "drawn").get(EVIDENCE, "picture", draw)
    again = Drawn(tmp_path / "drawn").get(EVIDENCE, "picture", draw)
    assert (draw.drawn, first) == (1, again)
    assert again.data == b"\x01" * 100


@pytest.mark.parametrize(
    "change", [{"page": 3}, {"bbox": (0.1, 0.1, 0.5, 0.5)}, {"sha256": "cd" * 32}, {"start_s": 1.0, "end_s": 2.0}]
)
def test_what_shows_something_else_is_drawn(tmp_path: Path, change: dict[str, object]) -> None:
    kept, draw = Drawn(tmp_path), Drawer()
    kept.get(EVIDENCE, "picture", draw)
    assert kept.get(EVIDENCE.model_copy(update=change), "picture", draw).data == b"\x02" * 100
    kept.get(EVIDENCE.model_copy(update={"kind": "text"}), "picture", draw)
    assert draw.drawn == 2, "the kind does not show"
    kept.get(EVIDENCE, "clip", draw)
    Drawn(tmp_path, "other options").get(EVIDENCE, "picture", draw)
    assert draw.drawn == 4


def test_one_that_could_be_better_is_not_kept(tmp_path: Path) -> None:
    kept, draw = Drawn(tmp_path), Drawer(note="a schematic drawing")
    kept.get(EVIDENCE, "picture", draw)
    assert kept.get(EVIDENCE, "picture", draw).note
    assert draw.drawn == 2


def test_the_folder_stays_within_its_bound_and_keeps_what_is_used(tmp_path: Path) -> None:
    kept = Drawn(tmp_path, most_bytes=1000)
    pages = [EVIDENCE.model_copy(update={"page": page}) for page in range(1, 31)]
    draw = Drawer(90)
    for at, page in enumerate(pages):
        kept.get(page, "picture", draw)
        for file in tmp_path.iterdir():  # clocks of file systems are coarse
            os.utime(file, (0, file.stat().st_mtime - 10))
        kept.get(pages[0], "picture", draw)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1000, at
    assert draw.drawn == len(pages), "the first one was in use all the time"


def test_a_disk_that_cannot_be_written_is_no_reason_to_go_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    draw = Drawer()
    kept = Drawn(tmp_path / "file" / "drawn")
    assert kept.get(EVIDENCE, "picture", draw).data
    assert kept.get(EVIDENCE, "picture", draw).data
    assert draw.drawn == 2


def test_half_a_file_is_drawn_again(tmp_path: Path) -> None:
    kept, draw = Drawn(tmp_path), Drawer()
    kept.get(EVIDENCE, "picture", draw)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"image/png")
    assert kept.get(EVIDENCE, "picture", draw).data == b"\x02" * 100
    kept.clear()
    assert list(tmp_path.iterdir()) == []
