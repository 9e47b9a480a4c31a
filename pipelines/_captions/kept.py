"""Descriptions that were paid for, one small file each, so that none is paid twice: not after a killed run either."""

import json
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kept:
    """What a model said about a picture.

    Attributes:
        text: Its words; empty when it described nothing.
        model: "provider/model" that said it.
        why: Why there are no words: it declined, or could make nothing out.
    """

    text: str
    model: str
    why: str = ""


class KeptDescriptions:
    """Descriptions by key, in `<folder>/<key[:2]>/<key>.json`. Safe for several threads and processes.

    Args:
        folder: Made when it is first written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Kept | None:
        """What is kept under a key; a file that is damaged counts as missing."""
        try:
            return Kept(**json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, kept: Kept) -> None:
        """Keep a description.

        Raises:
            OSError: it cannot be written.
        """
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            temporary.write_text(json.dumps(asdict(kept), ensure_ascii=False), encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
