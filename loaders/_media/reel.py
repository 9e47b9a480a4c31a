"""The scenes of a whole recording, in parts that are kept: a killed run goes on after the last finished one."""

import base64
import json
import math
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sensorium.loaders._media.frames import Damage, Film
from sensorium.loaders._media.moments import moments
from sensorium.loaders._media.scenes import Scene, SceneFinder
from sensorium.loaders._media.screen_text import Shown
from sensorium.loaders.base import Advance, Parts, content_digest
from sensorium.ocr_types import OcrEngine

PART_S = 180.0
"""Seconds of a recording that make a part, at least: a part ends with a scene."""

_VERSION = 3  # raise it when the same pictures give other scenes


@dataclass(frozen=True, slots=True)
class Frames:
    """Which pictures are taken.

    Attributes:
        mode: Scenes, key pictures, or one every so many seconds.
        every_s: These seconds.
        max_scene_s: Longer scenes are cut.
        picture_px: Longer side of the pictures that are kept.
    """

    mode: Literal["scenes", "keyframes", "every"] = "scenes"
    every_s: float | None = None
    max_scene_s: float = 60.0
    picture_px: int = 1280


class Reel:
    """Finds the scenes of a recording.

    Args:
        film: Which.
        sha256: Digest of its file.
        frames: Which pictures are taken.
        ocr: Reads the text on the screen; None: nobody does.
        parts: Where finished parts are kept; None: nowhere.
    """

    def __init__(self, film: Film, sha256: str, frames: Frames, ocr: OcrEngine | None, parts: Parts | None) -> None:
        self._film, self._frames, self._ocr, self._parts = film, frames, ocr, parts
        settings = json.dumps([asdict(frames), film.video.index, _revision(ocr), _VERSION])
        self._key = f"{sha256}/scenes/{content_digest(settings)[:16]}"
        self._finder: SceneFinder | None = None

    def scenes(self, damage: Damage) -> Iterator[Scene | Advance]:
        """All scenes, and at least after every minute how far it is.

        Args:
            damage: Is told about pictures that cannot be decoded.

        Raises:
            LoadError: the file cannot be opened.
        """
        start: float | None = 0.0
        index = 0
        while start is not None:
            kept = self._parts.get(f"{self._key}/{index}") if self._parts is not None else None
            if kept is None:
                start = yield from self._part(index, start, damage)
            else:
                scenes, start, found = _unpacked(kept)
                damage.spans += found.spans
                damage.lost_from = found.lost_from if damage.lost_from is None else damage.lost_from
                yield from scenes
                if scenes:
                    yield Advance(scenes[-1].end_s, self._film.media.duration_s)
            index += 1

    def _part(self, index: int, start_s: float, damage: Damage) -> Generator[Scene | Advance, None, float | None]:
        """Find the scenes of a part; gives where the next one starts, None after the last."""
        part, found = list[Scene](), Damage()
        following: float | None = None
        with closing(self._found(found, start_s)) as items:
            for item in items:
                yield item
                if isinstance(item, Scene):
                    part.append(item)
                    if item.end_s - start_s >= PART_S and item.end_s < self._film.end_s - self._film.frame_s:
                        following = item.end_s
                        break
        found = found.between(start_s, math.inf if following is None else following)
        damage.spans += found.spans
        damage.lost_from = found.lost_from
        if self._parts is not None:
            self._parts.put(f"{self._key}/{index}", _packed(part, following, found))
        return following

    def _found(self, damage: Damage, start_s: float) -> Generator[Scene | Advance, None, None]:
        frames = self._frames
        if frames.mode != "scenes":
            return moments(self._film, self._ocr, frames.every_s, frames.picture_px, damage, start_s)
        if self._finder is None:
            self._finder = SceneFinder(self._film, self._ocr, frames.max_scene_s, frames.picture_px)
        return self._finder.scenes(damage, start_s)


def _revision(ocr: OcrEngine | None) -> str:
    """What tells engines apart, so that parts read by another one are not taken."""
    facts = getattr(ocr, "facts", None)
    return "" if ocr is None else str(getattr(facts, "revision", type(ocr).__name__))


def _packed(scenes: list[Scene], following: float | None, damage: Damage) -> bytes:
    items = [asdict(s) | {"picture": base64.b64encode(s.picture).decode()} for s in scenes]
    return json.dumps({"scenes": items, "next": following, "damage": asdict(damage)}).encode()


def _unpacked(data: bytes) -> tuple[list[Scene], float | None, Damage]:
    kept: dict[str, Any] = json.loads(data)
    damage = Damage([(start, end) for start, end in kept["damage"]["spans"]], kept["damage"]["lost_from"])
    return [_scene(item) for item in kept["scenes"]], kept["next"], damage


def _scene(item: dict[str, Any]) -> Scene:
    texts = tuple(Shown(**(text | {"box": tuple(text["box"])})) for text in item["texts"])
    return Scene(**(item | {"picture": base64.b64decode(item["picture"]), "texts": texts}))
