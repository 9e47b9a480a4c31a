"""Whether the file is whole: its pages, each node's rows, vectors and full text, and the ledger's counts."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensorium.stores._sqlite import ledger
from sensorium.stores._sqlite.connections import Connections, translated
from sensorium.stores._sqlite.matrix import View, counter
from sensorium.stores._sqlite.writing import Tables, all_vector_tables, delete, finish
from sensorium.stores.base import SourceRecord
from sensorium.stores.checking import restore_node, searched_texts
from sensorium.stores.codec import decode, encode
from sensorium.stores.ranking import pooled
from sensorium.stores.terms import columns
from sensorium.stores.verification import Fault, Finding, Verification, corrected, examples, miscounted, verified

KEYWORDS = "keyword search"
_TEXTS = "texts"
_DOCSIZE = "texts_docsize"
_Looked = Callable[[sqlite3.Connection, str], View | None]


@dataclass
class Inspection:
    """What was found, and what mending it needs.

    Attributes:
        nodes: Nodes.
        sources: Ledger rows.
        vectors: Vectors by space.
        findings: What is wrong.
        broken: Numbers of nodes that cannot be read whole; they have to go.
        orphans: By table the rows that belong to no node.
        unsearched: Numbers of nodes that the full text lacks.
        unpooled: By space the numbers of nodes whose pooled vector is missing.
        malformed: Whether the full text has to be built anew.
        hopeless: Whether the file itself is damaged.
    """

    nodes: int = 0
    sources: int = 0
    vectors: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    orphans: dict[str, list[int]] = field(default_factory=dict)
    unsearched: list[int] = field(default_factory=list)
    unpooled: dict[str, list[int]] = field(default_factory=dict)
    malformed: bool = False
    hopeless: bool = False

    def told(self) -> Verification:
        """For the user."""
        return Verification(self.nodes, self.vectors, self.sources, tuple(self.findings), tuple(self.findings))


def verify(connections: Connections, tables: Tables, looked: _Looked, repair: bool) -> Verification:
    """See `Store.verify`.

    Args:
        connections: To the file.
        tables: Of the configured spaces.
        looked: The view that searches of a space have of its vectors.
        repair: Whether to mend.
    """
    return verified(
        lambda: _inspect(connections, tables, looked), lambda found: _mend(connections, tables, found),
        Inspection.told, repair,
    )  # fmt: skip


def _inspect(connections: Connections, tables: Tables, looked: _Looked) -> Inspection:
    found = Inspection()
    with translated(connections.path):
        _check_pages(connections, found)
    if found.hopeless:
        return found
    with connections.reading() as connection:
        ids = dict(connection.execute("SELECT row, id FROM nodes").fetchall())
        found.nodes = len(ids)
        _check_rows(connection, ids, found)
        for name in tables.spaces:
            _check_vectors(connection, tables, name, ids, looked, found)
        _check_ledger(connection, found)
    if not found.malformed:
        with translated(connections.path):
            _check_texts(connections, found)
    return found


def _check_pages(connections: Connections, found: Inspection) -> None:
    # Not in a transaction, whose end fails on a damaged file.
    connection = connections.extra()
    try:
        said = [str(text) for (text,) in connection.execute("PRAGMA integrity_check(100)") if text != "ok"]
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        said = [str(error)]
    finally:
        connection.close()
    # Newer versions of SQLite look into the full text too, which can be built anew.
    found.malformed = any("fts5" in text.lower() for text in said)
    if others := [text for text in said if "fts5" not in text.lower()]:
        found.hopeless = True
        hint = "Delete the file and index again."
        found.findings.append(Finding("damaged", "index.sqlite3", len(others), others[0], hint=hint))
    elif found.malformed:
        found.findings.append(Finding("damaged", KEYWORDS, 1, said[0]))


def _check_texts(connections: Connections, found: Inspection) -> None:
    """Compare the full text with what it was made from; in SQLite that is a write, which is rolled back."""
    connection = connections.extra()
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"INSERT INTO {_TEXTS}({_TEXTS}) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        found.malformed = True
        found.findings.append(Finding("damaged", KEYWORDS, 1, f"the full text is malformed ({error})"))
    finally:
        connection.close()


def _check_rows(connection: sqlite3.Connection, ids: Mapping[int, str], found: Inspection) -> None:
    bodies = _rows(connection, "bodies")
    _note_broken(found, ids, sorted(ids.keys() - bodies), "bodies", "nodes have no content")
    texts = _rows(connection, _DOCSIZE, "id")
    found.unsearched = sorted(ids.keys() - texts)
    lost = [ids[row] for row in found.unsearched]
    _note(found, "unfindable", KEYWORDS, lost, "nodes are stored, but no keyword search finds them")
    for table, rows in (("bodies", bodies), (_TEXTS, texts)):
        _note_orphans(found, table, sorted(rows - ids.keys()))
    unreadable = [row for row, *node in _contents(connection) if not _readable(*node)]
    _note_broken(found, ids, unreadable, "nodes", "nodes cannot be read")


def _check_vectors(
    connection: sqlite3.Connection, tables: Tables, name: str, ids: Mapping[int, str], looked: _Looked,
    found: Inspection,
) -> None:  # fmt: skip
    """Decode each vector, and compare what searches see with what is stored."""
    space, table = tables.spaces[name], tables.vectors(name)
    rows: set[int] = set()
    bad: list[int] = []
    for row, data in connection.execute(f"SELECT row, data FROM {table} ORDER BY row"):
        rows.add(row)
        try:
            fine = bool(np.isfinite(decode(data, space)).all())
        except (ValueError, IndexError):
            fine = False
        if not fine and row in ids:
            bad.append(row)
    found.vectors[name] = len(rows & ids.keys())
    _note_orphans(found, table, sorted(rows - ids.keys()))
    _note_broken(found, ids, bad, name, "vectors are damaged")
    if not space.searchable or bad:
        return
    if tables.matrix(name) != table:
        pooled_rows = _rows(connection, tables.matrix(name))
        _note_orphans(found, tables.matrix(name), sorted(pooled_rows - ids.keys()))
        found.unpooled[name] = sorted((rows & ids.keys()) - pooled_rows)
    view = looked(connection, name)
    if view is not None:
        seen = view.rows if view.alive is None else view.rows[view.alive]
        unseen = [ids[row] for row in sorted((rows & ids.keys()) - set(seen.tolist()))]
        _note(found, "unfindable", name, unseen, "nodes are stored, but no search of this space finds them")


def _check_ledger(connection: sqlite3.Connection, found: Inspection) -> None:
    for record, stored in _counted(connection):
        found.sources += 1
        if finding := miscounted(record, stored):
            found.findings.append(finding)


def _counted(connection: sqlite3.Connection) -> Iterator[tuple[SourceRecord, dict[str, int]]]:
    """Ledger rows with the stored nodes of their sources by kind."""
    stored: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for doc, kind, count in connection.execute("SELECT doc, kind, count(*) FROM nodes GROUP BY doc, kind"):
        stored[doc][kind] = count
    for (text,) in connection.execute("SELECT record FROM ledger ORDER BY root, source").fetchall():
        record = ledger.parse(text)
        yield record, stored[record.doc_id]


def _mend(connections: Connections, tables: Tables, found: Inspection) -> list[Finding]:
    """Mend what can be; gives what has to be indexed again."""
    if found.hopeless:
        return []
    with connections.writing() as connection:
        for table, rows in found.orphans.items():
            key = "rowid" if table == _TEXTS else "row"
            connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))", (_list(rows),))
        everywhere = all_vector_tables(connection)
        delete(connection, ("row IN (SELECT value FROM json_each(?))", [_list(sorted(found.broken))]), everywhere)
        for row, title, section, caption, text in _texts_of(connection, found.unsearched):
            connection.execute(
                "INSERT INTO texts (rowid, title, section, caption, text) VALUES (?, ?, ?, ?, ?)",
                (row, title, section, caption, text),
            )
        if found.malformed:
            connection.execute(f"INSERT INTO {_TEXTS}({_TEXTS}) VALUES ('rebuild')")
        for name, rows in found.unpooled.items():
            _pool(connection, tables, name, rows)
        # Every process loads its matrices anew.
        connection.execute("UPDATE counters SET value = ? WHERE name = 'forgotten'", (_next(connection),))
        left = [_marked(connection, record, stored) for record, stored in list(_counted(connection))]
        finish(connection, tables)
    return [finding for finding in left if finding is not None]


def _marked(connection: sqlite3.Connection, record: SourceRecord, stored: Mapping[str, int]) -> Finding | None:
    finding = miscounted(record, stored)
    if finding is not None:
        ledger.write(connection, corrected(record, stored))
    return finding


def _pool(connection: sqlite3.Connection, tables: Tables, name: str, rows: Sequence[int]) -> None:
    """Make pooled vectors anew."""
    space, condition = tables.spaces[name], "WHERE row IN (SELECT value FROM json_each(?))"
    stored = connection.execute(f"SELECT row, data FROM {tables.vectors(name)} {condition}", (_list(rows),)).fetchall()
    connection.executemany(
        f"INSERT INTO {tables.matrix(name)} (row, data) VALUES (?, ?)",
        [(row, encode(pooled(decode(data, space)), space)) for row, data in stored],
    )


def _next(connection: sqlite3.Connection) -> int:
    """The generation that this transaction ends with."""
    return counter(connection, "generation") + 1


def _texts_of(connection: sqlite3.Connection, rows: Sequence[int]) -> list[tuple[int, ...] | tuple[object, ...]]:
    """Columns of the full text of nodes that lack theirs, from the nodes themselves."""
    condition = "WHERE row IN (SELECT value FROM json_each(?))"
    stored = list(_contents(connection, condition, (_list(rows),))) if rows else []
    return [(row, *columns(searched_texts(restore_node(metadata, body)))) for row, metadata, body in stored]


def _contents(
    connection: sqlite3.Connection, condition: str = "", bound: Sequence[object] = ()
) -> Iterator[tuple[int, str, str]]:
    yield from connection.execute(f"SELECT row, metadata, body FROM nodes JOIN bodies USING (row) {condition}", bound)


def _readable(metadata: str, body: str) -> bool:
    try:
        restore_node(metadata, body)
    except (ValueError, KeyError, TypeError):
        return False
    return True


def _rows(connection: sqlite3.Connection, table: str, key: str = "row") -> set[int]:
    return {row for (row,) in connection.execute(f"SELECT {key} FROM {table}")}


def _note_broken(found: Inspection, ids: Mapping[int, str], rows: Sequence[int], where: str, text: str) -> None:
    found.broken.update(rows)
    _note(found, "damaged", where, [ids[row] for row in rows], text)


def _note(found: Inspection, fault: Fault, where: str, ids: Sequence[str], text: str) -> None:
    if ids:
        found.findings.append(Finding(fault, where, len(ids), f"{len(ids)} {text}", examples(ids)))


def _note_orphans(found: Inspection, table: str, rows: Sequence[int]) -> None:
    if rows:
        found.orphans[table] = list(rows)
        found.findings.append(Finding("orphaned", table, len(rows), f"{len(rows)} rows belong to no node"))


def _list(rows: Sequence[int]) -> str:
    return json.dumps(list(rows))
