"""Pictures kept at indexing: files named by their content, in a folder or at any address that fsspec knows."""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Any

from sensorium.errors import EvidenceError, StoreError

_NAME = re.compile(r"[0-9a-f]{64}(\.[a-z0-9]{1,8})?")
_DAY_S = 86_400.0


class AssetStore:
    """Content-addressed files: `<sha256><suffix>`, in folders by the digest's first two digits.

    Any number of processes may put the same content; a reader never sees half a file.

    Args:
        address: A local folder, or a URL of fsspec ("s3://bucket/kb", "memory://kb"); made when first written to.
    """

    def __init__(self, address: str) -> None:
        address = address.removeprefix("file://").rstrip("/") or "/"
        self._local = "://" not in address
        self.address = os.path.abspath(address) if self._local else address

    def put(self, data: bytes, suffix: str) -> str:
        """Store bytes; nothing happens when they are there already.

        Args:
            data: The content.
            suffix: ".png", ".jpg", ...

        Returns:
            The asset's name.

        Raises:
            StoreError: it cannot be written.
        """
        name = hashlib.sha256(data).hexdigest() + suffix
        path = self.path(name)
        try:
            if self._local:
                _write_local(Path(path), data)
            else:
                self._write_remote(path, data)
        except OSError as fault:
            raise StoreError(f"The picture {path} cannot be written: {fault.strerror or fault}.") from fault
        return name

    def path(self, name: str) -> str:
        """Path or URL of an asset.

        Raises:
            ValueError: this is no asset's name.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an asset (<sha256>.<suffix>)")
        return f"{self.address}/{name[:2]}/{name}"

    def read(self, name: str) -> bytes:
        """The content of an asset.

        Raises:
            EvidenceError: it is not there, or is not what its name says.
        """
        path = self.path(name)
        try:
            data = Path(path).read_bytes() if self._local else bytes(self._filesystem().cat_file(path))
        except OSError as fault:
            raise EvidenceError(f"The picture {path} cannot be read: {fault.strerror or fault}.") from fault
        if hashlib.sha256(data).hexdigest() != name[:64]:
            raise EvidenceError(f"The picture {path} is damaged.", "Index its source again.")
        return data

    def names(self) -> Iterator[str]:
        """Names of all assets."""
        yield from (name for name, _ in self._entries())

    def sweep(self, keep: AbstractSet[str], older_than_s: float = _DAY_S) -> int:
        """Delete assets that no node names any more.

        Args:
            keep: Names that are in use.
            older_than_s: Younger ones stay: another process may be about to store their nodes.

        Returns:
            How many were deleted.
        """
        old = time.time() - older_than_s
        gone = [name for name, written in self._entries() if name not in keep and written < old]
        for name in gone:
            with suppress(FileNotFoundError):  # another process sweeps, too
                if self._local:
                    os.unlink(self.path(name))
                else:
                    self._filesystem().rm_file(self.path(name))
        return len(gone)

    def _filesystem(self) -> Any:
        import fsspec

        return fsspec.core.url_to_fs(self.address)[0]

    def _write_remote(self, path: str, data: bytes) -> None:
        files = self._filesystem()
        if not files.exists(path):
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            files.pipe_file(path, data)  # object stores show a file when it is whole

    def _entries(self) -> Iterator[tuple[str, float]]:
        """Name and time of writing of every asset."""
        if self._local:
            for path in Path(self.address).glob("??/*"):
                if _NAME.fullmatch(path.name):
                    with suppress(FileNotFoundError):
                        yield path.name, path.stat().st_mtime
            return
        files = self._filesystem()
        if not files.exists(self.address):
            return
        for path in files.find(self.address):
            name = str(path).rpartition("/")[2]
            if _NAME.fullmatch(name):
                yield name, files.modified(path).timestamp()


def _write_local(path: Path, data: bytes) -> None:
    if path.exists():
        # It is in use again: `sweep` of another process must not take it for forgotten.
        os.utime(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
