"""The vectors of one space in memory, kept up to date with the file.

Searches are exact: one product of the matrix (n, d) with the query. A matrix follows commits of every process by
the generation counter: new rows have higher numbers than all before and are read alone; rows that went are named
in the table `removed`. Views that were handed out stay as they were, so a search holds no lock while it computes.
"""

import json
import sqlite3
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.stores._sqlite.sql_filters import Sql
from sensorium.stores.base import Vector

Rows = NDArray[np.int64]
_SLACK = 1.25
_COMPACT_BELOW = 0.75
# Two sums of the same products in another order differ by less; candidates this close are computed again.
_NEAR = 1e-5
_SELECTIONS = 32


@dataclass(frozen=True)
class View:
    """Vectors at one generation: row numbers (n,) ascending, matrix (n, d), which of them are alive (n,)."""

    generation: int
    rows: Rows
    matrix: Vector
    alive: NDArray[np.bool_] | None

    def positions(self, rows: Rows) -> NDArray[np.int64]:
        """Where some rows stand; rows without a vector are left out."""
        if len(self.rows) == 0:
            return np.empty(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        places = np.asarray(places[self.rows[places] == rows], dtype=np.int64)
        return places if self.alive is None else places[self.alive[places]]

    def best(self, query: Vector, top_k: int, among: Rows | None) -> list[tuple[int, float]]:
        """Rows with their scores, best first, ties at the end included.

        Args:
            query: Vector (d,).
            top_k: Rows wanted; more come back when the last ones tie.
            among: Rows to look at; None for all.
        """
        places = None if among is None else self.positions(among)
        scores = self._scores(query, places)
        if len(scores) == 0 or top_k <= 0:
            return []
        near = np.flatnonzero(scores > _worst_wanted(scores, top_k))
        near = near if places is None else places[near]
        exact = (self.matrix[near].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
        order = np.argsort(-exact, kind="stable")
        if top_k < len(order):
            order = order[exact[order] >= exact[order[top_k - 1]]]
        return list(zip(self.rows[near[order]].tolist(), exact[order].tolist(), strict=True))

    def _scores(self, query: Vector, places: NDArray[np.int64] | None) -> Vector:
        if places is not None and len(places) * 4 < len(self.rows):
            return np.asarray(self.matrix[places] @ query)
        scores = np.asarray(self.matrix @ query)
        if places is not None:
            return scores[places]
        if self.alive is not None:
            scores[~self.alive] = -np.inf
        return scores


class Matrix:
    """The matrix of one table of vectors.

    Args:
        table: `vectors_N`, or `pooled_N` in multi-vector spaces.
        dimension: Length of its vectors.
    """

    def __init__(self, table: str, dimension: int) -> None:
        self._table = table
        self._dimension = dimension
        self._lock = threading.Lock()
        self._rows: Rows = np.empty(0, dtype=np.int64)
        self._buffer: Vector = np.empty((0, dimension), dtype=np.float32)
        self._used = 0
        self._alive: NDArray[np.bool_] | None = None
        self._generation = -1

    def view(self, connection: sqlite3.Connection) -> View | None:
        """The vectors as the transaction of `connection` sees them.

        Returns:
            None when another thread has gone on to a later state: begin a new transaction and ask again.
        """
        with self._lock:
            generation = counter(connection, "generation")
            if generation < self._generation:
                return None
            if generation > self._generation:
                self._follow(connection, generation)
            n = self._used
            return View(generation, self._rows[:n], self._buffer[:n], self._alive)

    def _follow(self, connection: sqlite3.Connection, generation: int) -> None:
        if self._generation < counter(connection, "forgotten"):
            self._used, self._alive = 0, None
            self._rows, self._buffer = self._rows[:0].copy(), self._buffer[:0].copy()
        elif self._used:
            self._drop(connection)
        self._append(connection)
        self._generation = generation

    def _drop(self, connection: sqlite3.Connection) -> None:
        gone = connection.execute(
            "SELECT first, last FROM removed WHERE generation > ?", (self._generation,)
        ).fetchall()
        if not gone:
            return
        rows = self._rows[: self._used]
        alive = np.ones(self._used, dtype=bool) if self._alive is None else self._alive.copy()
        for first, last in gone:
            alive[np.searchsorted(rows, first) : np.searchsorted(rows, last, side="right")] = False
        if alive.mean() < _COMPACT_BELOW:
            self._rows, self._buffer, self._alive = rows[alive], self._buffer[: self._used][alive], None
            self._used = len(self._rows)
        else:
            self._alive = alive

    def _append(self, connection: sqlite3.Connection) -> None:
        last = int(self._rows[self._used - 1]) if self._used else 0
        found = connection.execute(f"SELECT row, data FROM {self._table} WHERE row > ? ORDER BY row", (last,))
        while batch := found.fetchmany(4096):
            rows = np.fromiter((row for row, _ in batch), dtype=np.int64, count=len(batch))
            vectors = np.frombuffer(b"".join(data for _, data in batch), dtype="<f4")
            self._extend(rows, vectors.reshape(-1, self._dimension))

    def _extend(self, rows: Rows, vectors: Vector) -> None:
        needed = self._used + len(rows)
        if needed > len(self._buffer):
            size = max(needed, int(len(self._buffer) * _SLACK))
            self._rows = _grown(self._rows, self._used, size)
            self._buffer = _grown(self._buffer, self._used, size)
        self._rows[self._used : needed] = rows
        self._buffer[self._used : needed] = vectors
        if self._alive is not None:
            self._alive = np.concatenate([self._alive, np.ones(len(rows), dtype=bool)])
        self._used = needed

    @property
    def megabytes(self) -> float:
        """Memory in use."""
        return self._buffer.nbytes / 1e6


class Selections:
    """Rows that filters let through, kept for the same filters until the next commit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[int, Rows]] = OrderedDict()

    def rows(self, connection: sqlite3.Connection, generation: int, condition: Sql) -> Rows:
        """Ascending numbers of the rows of `nodes` for which a condition holds.

        Args:
            connection: Inside a read transaction.
            generation: What that transaction sees.
            condition: SQL and its values.
        """
        sql, bound = condition
        key = (sql, json.dumps(bound))
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept[0] == generation:
            return kept[1]
        found = connection.execute(f"SELECT row FROM nodes WHERE {sql}", bound).fetchall()
        rows = np.sort(np.fromiter((row for (row,) in found), dtype=np.int64, count=len(found)))
        with self._lock:
            self._kept[key] = (generation, rows)
            self._kept.move_to_end(key)
            if len(self._kept) > _SELECTIONS:
                self._kept.popitem(last=False)
        return rows


def counter(connection: sqlite3.Connection, name: str) -> int:
    """A counter of the file: "generation" of the last commit; up to which one `removed` was "forgotten"."""
    return int(connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0])


def _grown(array: NDArray[Any], used: int, size: int) -> NDArray[Any]:
    larger = np.empty((size, *array.shape[1:]), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger


def _worst_wanted(scores: Vector, top_k: int) -> float:
    """A bound below which no row can be among the best; rows that went have minus infinity."""
    if top_k >= len(scores):
        return -np.inf
    limit = float(np.partition(scores, len(scores) - top_k)[len(scores) - top_k])
    return limit - _NEAR * max(1.0, abs(limit)) if limit > -np.inf else -np.inf
