"""The file of the embedded store: tables, version, settings of the spaces."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sensorium.errors import DataVersionError, SpaceError, StoreError
from sensorium.stores.base import Space

APPLICATION_ID = 0x53454E53  # "SENS" in the file's header
FORMAT = 1
MINIMUM = (3, 37, 0)
FILTER_KEYS = ("source", "kind", "page", "media_type")
TEXT_COLUMNS = ("title", "section", "caption", "text")

# Our terms are analysed already: each character but the blanks between terms belongs to a term.
_TERM_CHARACTERS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def json_path(key: str) -> str:
    """A metadata key as an SQL literal of its JSON path. The key must hold no quote, backslash or control."""
    return _literal(f'$."{key}"')


def value_of(key: str, table: str = "nodes") -> str:
    """SQL for a metadata value; written the same way in the indexes, so that the planner finds them."""
    column = f"{table}.metadata" if table else "metadata"
    return f"json_extract({column}, {json_path(key)})"


_TOKENIZER = _literal(f"ascii tokenchars {_literal(_TERM_CHARACTERS)}")
_TABLES = (
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO counters VALUES ('generation', 0), ('forgotten', 0)",
    (
        "CREATE TABLE spaces (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, dimension INTEGER NOT NULL, "
        "revision TEXT NOT NULL, distance TEXT NOT NULL, multi INTEGER NOT NULL, searchable INTEGER NOT NULL, "
        "complete INTEGER NOT NULL DEFAULT 1)"
    ),
    (
        "CREATE TABLE nodes (row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, doc TEXT NOT NULL, "
        "position INTEGER, kind TEXT NOT NULL, metadata TEXT NOT NULL CHECK (json_valid(metadata)))"
    ),
    "CREATE INDEX nodes_by_doc ON nodes (doc, position)",
    *(f"CREATE INDEX nodes_by_{key} ON nodes ({value_of(key, '')})" for key in FILTER_KEYS),
    # Apart from `nodes`, so that filters that no index serves scan little.
    "CREATE TABLE bodies (row INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    f"CREATE VIRTUAL TABLE texts USING fts5({', '.join(TEXT_COLUMNS)}, tokenize={_TOKENIZER})",
    "CREATE VIRTUAL TABLE vocabulary USING fts5vocab('texts', 'row')",
    # Rows that went, so that other processes can update their matrices instead of loading them anew.
    "CREATE TABLE removed (generation INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL)",
    "CREATE INDEX removed_by_generation ON removed (generation)",
    (
        "CREATE TABLE ledger (doc TEXT PRIMARY KEY, root BLOB NOT NULL, source BLOB NOT NULL, status TEXT NOT NULL, "
        "record TEXT NOT NULL) WITHOUT ROWID"
    ),
    "CREATE INDEX ledger_in_order ON ledger (root, source)",
)


def probe() -> None:
    """Check that this Python's SQLite has what the store needs.

    Raises:
        StoreError: too old, or built without FTS5 or JSON.
    """
    hint = "Use another build of Python, or the weaviate store."
    if sqlite3.sqlite_version_info < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} or newer is needed.", hint)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(a)")
        connection.execute("SELECT json_extract('{}', '$.a')")
    except sqlite3.OperationalError as error:
        raise StoreError(f"This Python's SQLite lacks FTS5 or JSON: {error}.", hint) from error
    finally:
        connection.close()


def prepare(connection: sqlite3.Connection, path: Path) -> bool:
    """Check that the file is ours and not newer than this code.

    Returns:
        False when the file is empty: `create` has to make the tables.

    Raises:
        StoreError: a database of something else.
        DataVersionError: written by a newer version.
    """
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if owner == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return False
    if owner != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program.", "Choose another data folder (--data).")
    if version > FORMAT:
        raise DataVersionError(
            f"{path} has format {version}; this version of Sensorium reads up to {FORMAT}.",
            "Update Sensorium, or choose another data folder (--data).",
        )
    return True


def create(connection: sqlite3.Connection) -> None:
    """Make the tables; inside a write transaction, as two processes may come at once."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for statement in _TABLES:
        connection.execute(statement)


def recorded_spaces(connection: sqlite3.Connection) -> dict[str, tuple[int, Space, bool]]:
    """Spaces as the file has them: number, facts, and whether every node could have a vector in it."""
    rows = connection.execute(
        "SELECT id, name, dimension, revision, distance, multi, searchable, complete FROM spaces ORDER BY id"
    )
    return {
        name: (number, Space(name, dimension, revision, distance, bool(multi), bool(searchable)), bool(complete))
        for number, name, dimension, revision, distance, multi, searchable, complete in rows
    }


def settled(connection: sqlite3.Connection, wanted: Sequence[Space]) -> dict[str, int] | None:
    """Compare the wanted spaces with the recorded ones.

    Returns:
        The number of each wanted space, which names its tables; None when something has to be written down first:
        all of them (`rewrite`) while there are no nodes, else those that are new (`extend`).

    Raises:
        SpaceError: nodes were indexed with other facts.
    """
    recorded = recorded_spaces(connection)
    if is_empty(connection):
        same = [facts(s) for s in wanted] == [facts(s) for _, s, _ in recorded.values()]
        if not (same and all(complete for _, _, complete in recorded.values())):
            return None
    for space in wanted:
        if space.name not in recorded:
            return None
        _check_space(space, recorded[space.name][1])
    return {space.name: recorded[space.name][0] for space in wanted}


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether there are no nodes."""
    return connection.execute("SELECT 1 FROM nodes LIMIT 1").fetchone() is None


def incomplete(connection: sqlite3.Connection) -> frozenset[str]:
    """Spaces in which nodes may lack the vectors that they should have."""
    return frozenset(name for (name,) in connection.execute("SELECT name FROM spaces WHERE NOT complete"))


def facts(space: Space) -> dict[str, object]:
    """What makes vectors of a space comparable."""
    return {
        "revision": space.revision,
        "dimension": space.dimension,
        "distance": space.distance,
        "multi": space.multi,
        "searchable": space.searchable,
        "name": space.name,
    }


def _check_space(space: Space, old: Space) -> None:
    before, now = facts(old), facts(space)
    changes = [f"{key} {before[key]!r} is now {now[key]!r}" for key in now if before[key] != now[key]]
    if changes:
        how = "otherwise" if before["revision"] == now["revision"] else "by another embedder"
        raise SpaceError(
            f"The space {space.name!r} was indexed {how}: {', '.join(changes)}.",
            "Index again into another data folder (--data), or empty this one first: sensorium delete --all",
        )


def rewrite(connection: sqlite3.Connection, spaces: Sequence[Space]) -> None:
    """Replace the recorded spaces and their empty tables; only while there are no nodes."""
    for number, _, _ in recorded_spaces(connection).values():
        connection.execute(f"DROP TABLE IF EXISTS vectors_{number}")
        connection.execute(f"DROP TABLE IF EXISTS pooled_{number}")
    connection.execute("DELETE FROM spaces")
    for space in spaces:
        _add_space(connection, space, complete=True)


def extend(connection: sqlite3.Connection, spaces: Sequence[Space]) -> None:
    """Add the spaces that are new to an index with nodes, which lack vectors in them for now."""
    recorded = recorded_spaces(connection)
    for space in spaces:
        if space.name not in recorded:
            _add_space(connection, space, complete=False)


def _add_space(connection: sqlite3.Connection, space: Space, complete: bool) -> None:
    facts_of = (space.name, space.dimension, space.revision, space.distance, space.multi, space.searchable, complete)
    connection.execute(
        "INSERT INTO spaces (name, dimension, revision, distance, multi, searchable, complete) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        facts_of,
    )
    number = recorded_spaces(connection)[space.name][0]
    connection.execute(f"CREATE TABLE vectors_{number} (row INTEGER PRIMARY KEY, data BLOB NOT NULL)")
    if space.multi and space.searchable:
        connection.execute(f"CREATE TABLE pooled_{number} (row INTEGER PRIMARY KEY, data BLOB NOT NULL)")
