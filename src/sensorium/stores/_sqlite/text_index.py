"""Keyword search: BM25 of FTS5 over analysed terms.

What is indexed are the terms of `sensorium.analysis`, parted by blanks; a query becomes quoted terms joined by OR,
so that no syntax of FTS5 can be in it. Words that are everywhere cost the most time and tell the least: stop
words go when others remain, and above a few thousand nodes so do terms that a fifth of the nodes have.
"""

import sqlite3
from collections.abc import Iterable
from threading import Lock

from sensorium import analysis
from sensorium.stores._sqlite.matrix import counter
from sensorium.stores._sqlite.sql_filters import Sql
from sensorium.stores.terms import indexed

# A title is repeated in all nodes of a source, a section in many: they say less about the one node.
WEIGHTS = {"title": 0.4, "section": 0.7, "caption": 1.2, "text": 1.0}
COMMON = 0.2
SMALL = 4000
"""Nodes below which no term is dropped for being common."""
MOST_TERMS = 64
CONSIDERED = 1000
_CACHED = 20_000
_ALL = " "  # no term has a blank


class TextIndex:
    """Keyword search and term statistics, with the frequencies of terms cached until the next commit."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._generation = -1
        self._frequencies: dict[str, int] = {}

    def search(
        self, connection: sqlite3.Connection, query: str, top_k: int, restriction: Sql | None
    ) -> list[tuple[str, float]]:
        """Node ids and BM25, best first; all that tie at the end are among them.

        Args:
            connection: Inside a read transaction.
            query: As the user wrote it.
            top_k: Hits wanted.
            restriction: Condition on `nodes`; None for all.
        """
        terms = self._query_terms(connection, query)
        if not terms or top_k <= 0:
            return []
        match = " OR ".join(f'"{term.replace(chr(34), chr(34) * 2)}"' for term in terms)
        limit = min(top_k, 2**31) + 1
        while True:
            hits = _matching(connection, match, limit, restriction)
            # Whether the last hit ties with ones that were cut off decides whether more have to be read.
            if len(hits) < limit or hits[-1][1] < hits[top_k - 1][1]:
                return hits
            limit *= 8

    def frequencies(self, connection: sqlite3.Connection, terms: Iterable[str]) -> dict[str, int]:
        """In how many nodes each term occurs."""
        wanted = list(dict.fromkeys(terms))
        kept = self._kept(connection)
        found = {term: kept[term] for term in wanted if term in kept}
        for term in wanted:
            if term not in found:
                row = connection.execute("SELECT doc FROM vocabulary WHERE term = ?", (indexed(term),)).fetchone()
                found[term] = row[0] if row else 0
        if len(kept) < _CACHED:
            kept.update(found)
        return {term: found[term] for term in wanted}

    def _kept(self, connection: sqlite3.Connection) -> dict[str, int]:
        """Frequencies that were looked up since the last commit that the connection sees."""
        generation = counter(connection, "generation")
        with self._lock:
            if generation > self._generation:
                self._generation, self._frequencies = generation, {}
            # A transaction that began before the last commit keeps what it finds to itself.
            return self._frequencies if generation == self._generation else {}

    def _query_terms(self, connection: sqlite3.Connection, query: str) -> list[str]:
        counts = self.frequencies(connection, _asked_terms(query))
        known = sorted((t for t in counts if counts[t]), key=lambda t: counts[t])[:MOST_TERMS]
        nodes = self.nodes(connection) if known else 0
        if nodes > SMALL:
            rare = [t for t in known if counts[t] <= COMMON * nodes]
            known = rare or known
        return [indexed(term) for term in known]

    def nodes(self, connection: sqlite3.Connection) -> int:
        """Nodes in the index."""
        kept = self._kept(connection)
        if _ALL not in kept:
            kept[_ALL] = connection.execute("SELECT count(*) FROM texts_docsize").fetchone()[0]
        return kept[_ALL]


def _asked_terms(query: str) -> list[str]:
    """Different terms of a query, without stop words unless there is nothing else."""
    words: dict[str, None] = {}
    stop_words: dict[str, None] = {}
    for token in analysis.tokens(query):
        (stop_words if token.is_stop_word else words)[token.term] = None
        if len(words) >= CONSIDERED:
            break
    return list(words or stop_words)


def term_counts(connection: sqlite3.Connection, doc: str, terms: Iterable[str]) -> dict[str, int]:
    """In how many nodes of one source each term occurs.

    Nodes of a source are published together, so their row numbers follow each other, and FTS5 reads only that
    stretch of a term's list. Where other rows lie between, they are told apart by the table of nodes.
    """
    first, last, nodes = connection.execute(
        "SELECT min(row), max(row), count(*) FROM nodes WHERE doc = ?", (doc,)
    ).fetchone()
    wanted = list(dict.fromkeys(terms))
    if not nodes:
        return dict.fromkeys(wanted, 0)
    sql = "SELECT count(*) FROM texts WHERE texts MATCH ? AND rowid BETWEEN ? AND ?"
    bound: tuple[object, ...] = (first, last)
    if last - first + 1 != nodes:
        sql += " AND rowid IN (SELECT row FROM nodes WHERE doc = ?)"
        bound = (first, last, doc)
    return {
        term: connection.execute(sql, (f'"{indexed(term).replace(chr(34), chr(34) * 2)}"', *bound)).fetchone()[0]
        for term in wanted
    }


def _matching(
    connection: sqlite3.Connection, match: str, limit: int, restriction: Sql | None
) -> list[tuple[str, float]]:
    score = f"bm25(texts, {', '.join(map(str, WEIGHTS.values()))})"
    condition, bound = restriction or ("1", [])
    if restriction is None:
        inner = f"SELECT rowid AS row, {score} AS s FROM texts WHERE texts MATCH ? ORDER BY s LIMIT ?"
        rows = connection.execute(
            f"SELECT nodes.id, -s FROM ({inner}) JOIN nodes USING (row) ORDER BY s, nodes.id", (match, limit)
        )
    else:
        # CROSS JOIN: full text first, whatever indexes the condition could use.
        rows = connection.execute(
            f"SELECT nodes.id, -{score} AS s FROM texts CROSS JOIN nodes ON nodes.row = texts.rowid "
            f"WHERE texts MATCH ? AND ({condition}) ORDER BY s DESC, nodes.id LIMIT ?",
            (match, *bound, limit),
        )
    return list(rows)
