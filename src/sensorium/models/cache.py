"""Embeddings kept on disk, so that a text is embedded once: `CachedEncoder` over an `EmbeddingCache`.

The cache may vanish at any time: a damaged, locked or read-only file costs time, never a result or an error.
"""

import hashlib
import logging
import sqlite3
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from sensorium.models.adapters import embed, revision
from sensorium.models.base import Matrix, PartEncoder, Span

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding

logger = logging.getLogger(__name__)

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL);
"""
_BUSY_SECONDS = 10.0
_VARIABLES = 500  # keys in one statement; SQLite's own limit is at least 999
_PRUNED = 4  # one part in this many goes when the cache is full


_Action = Callable[[sqlite3.Connection], None]


class _DamagedError(Exception):
    """An entry does not have the checksum it was written with."""


def _pack(matrix: Matrix) -> bytes:
    data = np.ascontiguousarray(matrix, "<f4").tobytes()
    return struct.pack("<2I", zlib.crc32(data), len(matrix)) + data


def _unpack(value: bytes) -> Matrix:
    checksum, rows = struct.unpack_from("<2I", value)
    data = value[8:]
    if zlib.crc32(data) != checksum:
        raise _DamagedError("an entry has changed")
    return np.frombuffer(data, "<f4").reshape(rows, -1)


class EmbeddingCache:
    """A SQLite file from keys to matrices of float32, bounded in size; several processes may share it.

    Args:
        path: The file; its folder is made when it is missing.
        limit_mb: When the file holds more, the entries that were added first are removed.
    """

    def __init__(self, path: Path | str, limit_mb: float = 256) -> None:
        self.path = Path(path)
        self.limit_mb = limit_mb
        self._connection: sqlite3.Connection | None = None
        self._usable = True
        self._lock = threading.RLock()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, Matrix]:
        """The entries that are there, by key."""
        found: dict[bytes, Matrix] = {}

        def read(connection: sqlite3.Connection) -> None:
            found.clear()
            for at in range(0, len(keys), _VARIABLES):
                some = keys[at : at + _VARIABLES]
                marks = ",".join("?" * len(some))
                rows = connection.execute(f"SELECT key, value FROM vectors WHERE key IN ({marks})", some)
                found.update((key, _unpack(value)) for key, value in rows)

        self._attempt(read)
        return found

    def put_many(self, entries: Mapping[bytes, Matrix]) -> None:
        """Add entries, each of shape (rows, d); a key that is there already keeps what it has."""
        packed = [(key, _pack(matrix)) for key, matrix in entries.items()]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR IGNORE INTO vectors (key, value) VALUES (?, ?)", packed)
                self._prune(connection)

        if packed:
            self._attempt(write)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prune(self, connection: sqlite3.Connection) -> None:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self.limit_mb * 1e6:
            (count,) = connection.execute("SELECT count(*) FROM vectors").fetchone()
            oldest = "SELECT id FROM vectors ORDER BY id LIMIT ?"
            connection.execute(f"DELETE FROM vectors WHERE id IN ({oldest})", (-(-count // _PRUNED),))

    def _attempt(self, action: _Action) -> None:
        """Run an action; a damaged file is thrown away and the action repeated once on an empty one."""
        with self._lock:
            for again in (True, False):
                if not self._usable:
                    return
                try:
                    return action(self._open())
                except sqlite3.OperationalError as error:  # locked, full, read-only: no fault of the file
                    return self._give_up(error)
                except (sqlite3.DatabaseError, _DamagedError) as error:
                    if not (again and self._discard(error)):
                        return self._give_up(error)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from error
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
            self._connection = connection
            connection.executescript(_SCHEMA)
        return self._connection

    def _discard(self, error: Exception) -> bool:
        logger.warning("The embedding cache %s is damaged (%s) and is begun anew.", self.path, error)
        self.close()
        try:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _give_up(self, error: Exception) -> None:
        logger.warning("The embedding cache %s is not used: %s", self.path, error)
        self.close()
        self._usable = False


class CachedEncoder:
    """An embedder that asks the cache first, and embeds equal texts of one call once.

    Args:
        embedder: Any LlamaIndex embedder; a `PartEncoder` also gives vectors of parts.
        cache: Where vectors are kept; None keeps none.
    """

    def __init__(self, embedder: "BaseEmbedding", cache: EmbeddingCache | None = None) -> None:
        self.embedder = embedder
        self.cache = cache
        self._revision = revision(embedder)

    def encode_nodes(
        self, texts: Sequence[str], parts: Sequence[Sequence[Span]] | None = None
    ) -> tuple[Matrix, list[Matrix] | None]:
        """Vectors of texts and, where asked for and possible, of spans in them.

        Args:
            texts: `n` texts.
            parts: For each text its spans, as (start, end) character offsets.

        Returns:
            Float32 (n, d), and for each text (m, d); None instead of a list when no parts were given or the
            embedder is no `PartEncoder`.

        Raises:
            ModelError: the embedder failed, or did not return one vector a text.
        """
        with_parts = parts is not None and isinstance(self.embedder, PartEncoder)
        spans = [tuple(some) for some in parts] if with_parts and parts is not None else [()] * len(texts)
        keys = [self._key(text, some) for text, some in zip(texts, spans, strict=True)]
        known = self.cache.get_many(list(dict.fromkeys(keys))) if self.cache else {}
        missing = {key: at for at, key in enumerate(keys) if key not in known}
        if missing:
            fresh = self._embed([texts[at] for at in missing.values()], [spans[at] for at in missing.values()])
            made = dict(zip(missing, fresh, strict=True))
            if self.cache:
                self.cache.put_many(made)
            known = {**known, **made}
        entries = [known[key] for key in keys]
        whole = np.stack([entry[0] for entry in entries]) if entries else np.zeros((0, 0), np.float32)
        return whole, [entry[1:] for entry in entries] if with_parts else None

    def _key(self, text: str, spans: Iterable[Span]) -> bytes:
        digest = hashlib.sha256(
            self._revision.encode() + b"\0" + hashlib.sha256(text.encode("utf-8", "replace")).digest()
        )
        for span in spans:
            digest.update(struct.pack("<2q", *span))
        return digest.digest()

    def _embed(self, texts: list[str], spans: list[tuple[Span, ...]]) -> list[Matrix]:
        """One matrix a text: its vector in the first row, those of its spans below."""
        if isinstance(self.embedder, PartEncoder):
            whole, parts = self.embedder.encode_parts(texts, spans)
            return [np.vstack([vector[None], below]) for vector, below in zip(whole, parts, strict=True)]
        return [vector[None] for vector in embed(self.embedder, texts)]
