"""Finished parts of long recordings, kept until their source is stored: a killed run goes on from there."""

import hashlib
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WEEK_S = 7 * 86_400.0


class PartStore:
    """Files `<sha256 of the source>/<digest of the key>`. Any number of processes may put and get.

    A part that cannot be written, or is damaged, is only work done twice: nothing of this fails a source.

    Args:
        folder: Where they are; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> bytes | None:
        """What was put under this key; None where there is nothing, or nothing whole."""
        try:
            raw = self._path(key).read_bytes()
        except OSError:
            return None
        head, data = raw[:32], raw[32:]
        return data if hashlib.sha256(data).digest() == head else None

    def put(self, key: str, data: bytes) -> None:
        """Keep a finished part: whole, or not at all.

        Args:
            key: "<sha256 of the source>/<what>/<settings>/<index>".
            data: Its result.

        Raises:
            ValueError: the key does not begin with a source's digest.
        """
        path = self._path(key)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        with suppress(OSError):  # a full disk, or a folder that another process has just removed
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(hashlib.sha256(data).digest() + data)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def drop(self, sha256: str) -> None:
        """Remove the parts of a source, once it is stored."""
        shutil.rmtree(self._home(sha256), ignore_errors=True)

    def sweep(self, older_than_s: float = _WEEK_S) -> int:
        """Remove the parts of sources that nobody has worked on for long.

        Args:
            older_than_s: Sources with a younger part stay whole.

        Returns:
            How many sources lost their parts.
        """
        old = time.time() - older_than_s
        gone = [home for home in self._homes() if _newest(home) < old]
        for home in gone:
            shutil.rmtree(home, ignore_errors=True)
        return len(gone)

    def _homes(self) -> list[Path]:
        try:
            return [home for home in self.folder.iterdir() if _DIGEST.fullmatch(home.name)]
        except OSError:
            return []

    def _home(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is no digest of a source")
        return self.folder / sha256

    def _path(self, key: str) -> Path:
        sha256, _, rest = key.partition("/")
        return self._home(sha256) / hashlib.sha256(rest.encode()).hexdigest()


def _newest(home: Path) -> float:
    with suppress(OSError):
        return max((path.stat().st_mtime for path in home.iterdir()), default=0.0)
    return time.time()  # it is being removed by another process
