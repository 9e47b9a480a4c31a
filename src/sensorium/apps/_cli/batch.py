"""`--batch`: many questions from a JSON Lines file, one answer object a line, in order."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.apps._cli.guard import USAGE
from sensorium.apps._cli.output import emit, note
from sensorium.errors import EvidenceError, LoadError, QueryError


@dataclass(frozen=True)
class Asked:
    """One question of a batch; pictures and recordings lie beside the file unless their paths are absolute."""

    id: Any
    question: str
    image: Path | None = None
    audio: Path | None = None


def run(file: Path, answer: Callable[[Asked], Mapping[str, Any]]) -> int:
    """Answer every line of a file.

    A line that is no question, or that cannot be answered, gives `{"id", "error"}`; the others go on.

    Args:
        file: The batch.
        answer: Gives the JSON object of one question.

    Returns:
        Exit code: 0, or 2 when a line gave an error.
    """
    wrong = 0
    for number, id_, asked in questions(file):
        if isinstance(asked, str):
            problem: str | None = asked
        else:
            try:
                emit({"id": asked.id, **answer(asked)})
                continue
            except (QueryError, LoadError, EvidenceError) as error:
                problem = str(error)
        wrong += 1
        emit({"id": id_, "error": problem})
        note(f"error: {file}:{number}: {problem}")
    return USAGE if wrong else 0


def questions(file: Path) -> Iterator[tuple[int, Any, Asked | str]]:
    """Line number, id, and the question or what is wrong with the line. Empty lines are passed over.

    Raises:
        QueryError: the file cannot be read.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig", "replace").split("\n")
    except OSError as fault:
        raise QueryError(f"The batch {file} cannot be read: {fault.strerror or fault}.") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, *_parsed(line, file.parent)


def _parsed(line: str, folder: Path) -> tuple[Any, Asked | str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as fault:
        return None, f"no JSON: {fault}"
    if not isinstance(row, dict):
        return None, 'no JSON object; expected {"id", "question", "image"?, "audio"?}'
    return row.get("id"), _asked(row, folder)


def _asked(row: Mapping[str, Any], folder: Path) -> Asked | str:
    if row.get("id") is None:
        return "'id' is missing"
    given = {key: row.get(key) for key in ("question", "image", "audio")}
    for key, value in given.items():
        if value is not None and not isinstance(value, str):
            return f"{key!r} is no text"
    image, audio = (folder / name if (name := given[key]) else None for key in ("image", "audio"))
    return Asked(row["id"], given["question"] or "", image, audio)
