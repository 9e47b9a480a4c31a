"""Connections to the file: a pool of readers, one writer, errors translated."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensorium.errors import StoreError
from sensorium.stores._sqlite.sql_filters import register

_RETRY_S = 0.05
# Connections inherited through a fork: SQLite forbids using them, and even closing them.
_inherited: list[sqlite3.Connection] = []


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """A new connection in autocommit mode, set up for this store."""
    connection = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -16000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    register(connection)
    return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise _store_error(error, path) from error


@contextmanager
def transaction(connection: sqlite3.Connection, mode: str) -> Iterator[sqlite3.Connection]:
    """A transaction that is rolled back when its body raises.

    Args:
        connection: In autocommit mode.
        mode: "DEFERRED" to read one state, "IMMEDIATE" to write.
    """
    connection.execute(f"BEGIN {mode}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (disk full).
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Connections:
    """Connections of one process to the file; safe for threads, and opened anew after a fork.

    Args:
        path: The file.
        busy_timeout_s: How long a writer waits for another one.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._write_lock = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"The index {self.path} was closed.", "Open it again.")
        if self._pid != os.getpid():
            _inherited.extend(self._idle)
            if self._writer is not None:
                _inherited.append(self._writer)
            self._reset()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction: everything read through it is of one state."""
        self._check()
        with translated(self.path):
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                connection = connect(self.path, self.busy_timeout_s)
            try:
                with transaction(connection, "DEFERRED"):
                    yield connection
            finally:
                self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The writer inside a write transaction; committed at the end, rolled back on an error."""
        self._check()
        with self._write_lock, translated(self.path), transaction(self._open_writer(), "IMMEDIATE") as connection:
            yield connection

    def _open_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            self._writer = connect(self.path, self.busy_timeout_s)
        return self._writer

    def use_wal(self) -> None:
        """Let readers and a writer work at once, from now on and for every process.

        The writer reads once and keeps the log in use: whoever closes the last connection to it has to copy the
        log into the file and delete it, which would cost every staged update some 30 ms.
        """
        with self._write_lock, translated(self.path):
            _switch_to_wal(self._open_writer(), self.path, self.busy_timeout_s)
            self._open_writer().execute("SELECT count(*) FROM sqlite_master").fetchone()

    def extra(self) -> sqlite3.Connection:
        """A connection of the caller's own, who has to close it."""
        self._check()
        with translated(self.path):
            return connect(self.path, self.busy_timeout_s)

    def close(self) -> None:
        """Close all connections; harmless when closed already."""
        if self._closed or self._pid != os.getpid():
            return
        with self._write_lock, self._lock, translated(self.path):
            self._closed = True
            for connection in (*self._idle, *([self._writer] if self._writer else [])):
                connection.close()
            self._idle, self._writer = [], None


def _switch_to_wal(connection: sqlite3.Connection, path: Path, timeout_s: float) -> None:
    """Set the journal to WAL; SQLite does not wait for others by itself here."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
    if mode != "wal":
        raise StoreError(
            f"{path} cannot be used by several processes (journal mode {mode}).",
            "Put the data folder on a local disk: network file systems lack what SQLite needs.",
        )


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _store_error(error: sqlite3.Error, path: Path) -> StoreError:
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return StoreError(
            f"The disk is full: {path} could not grow.", "Free space and run again; what was stored before is intact."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(f"Another process keeps {path} locked.", "Wait for it to finish and run again.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StoreError(f"{path} cannot be opened for writing ({error}).", "Check the folder's permissions.")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is no index of Sensorium ({error}).", "Choose another data folder (--data).")
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreError(f"{path} is damaged ({error}).", "Delete the file and index again.")
    return StoreError(f"The index {path} failed: {error}.")
