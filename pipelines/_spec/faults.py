"""Faults of a configuration: what is wrong, where, what was expected, and the nearest known name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from sensorium.errors import ConfigError
from sensorium.pipelines._spec.env import mask

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the configuration."""


@dataclass(frozen=True)
class Mark:
    """1-based line and column."""

    line: int
    column: int


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a configuration.

    Attributes:
        file: The file as it was named; empty for a mapping given from Python.
        line: 1-based; None where there is no file, or nothing in it to point at.
        column: 1-based.
        path: Dotted, e.g. `pipelines.default.retrieve[1].keyword.top_k`; empty for the file as a whole.
        problem: What is wrong.
        expected: What would be right; may be empty.
        nearest: The known name that was probably meant; may be empty.
    """

    file: str
    line: int | None
    column: int | None
    path: str
    problem: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = ": ".join(part for part in (place, self.path, self.problem) if part)
        text += f"; expected {self.expected}" if self.expected else ""
        return f"{text}. Did you mean {self.nearest!r}?" if self.nearest else text

    def public(self) -> dict[str, Any]:
        """The JSON shape of `sensorium validate --json`."""
        return {
            "file": self.file or None, "line": self.line, "column": self.column, "path": self.path,
            "problem": self.problem, "expected": self.expected or None, "nearest": self.nearest or None,
        }  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """Where keys and values stand in a file."""

    file: str = ""
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    values: Mapping[Path, Mark] = field(default_factory=dict)

    def find(self, path: Path, key: bool = False) -> Mark | None:
        """The mark of a value (or of its key), else that of the closest thing around it."""
        table = self.keys if key else self.values
        if path in table:
            return table[path]
        for end in range(len(path) - 1, 0, -1):
            mark = self.keys.get(path[:end]) or self.values.get(path[:end])
            if mark:
                return mark
        return None


class Faults:
    """Collects faults, so that all of them are reported at once."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks
        self._found: list[Fault] = []
        self._closed: set[Path] = set()

    def add(
        self, path: Path, problem: str, expected: str = "", *, nearest: str = "", key: bool = False,
        mark: Mark | None = None, last: bool = False,
    ) -> None:  # fmt: skip
        """Note a fault.

        Args:
            path: Where; the line and column are looked up.
            problem: What is wrong.
            expected: What would be right.
            nearest: The known name that was probably meant.
            key: The key is wrong, not its value.
            mark: Line and column, when they are known better than by the path.
            last: Further faults of this path would only follow from this one; they are left out.
        """
        if path in self._closed:
            return
        if last:
            self._closed.add(path)
        place = mark or self.marks.find(path, key)
        line, column = (place.line, place.column) if place else (None, None)
        fault = Fault(self.marks.file, line, column, dotted(path), mask(problem), mask(expected), mask(nearest))
        if fault not in self._found:
            self._found.append(fault)

    def raise_if_any(self) -> None:
        """Raise all of them.

        Raises:
            ConfigError: there is at least one; `faults` holds them in the order of the file.
        """
        if not self._found:
            return
        ordered = sorted(self._found, key=lambda f: (f.line or 0, f.column or 0))
        name = self.marks.file or "The configuration"
        count = "1 thing is wrong" if len(ordered) == 1 else f"{len(ordered)} things are wrong"
        raise ConfigError(f"{name} is not valid: {count}.", faults=ordered)


def dotted(path: Path) -> str:
    """`("a", "b", 1, ".c")` as `a.b[1].".c"`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part and "." not in part else f'"{part}"')
    return text


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name closest to a name, or an empty string."""
    choices = {k.lower(): k for k in known}
    found = get_close_matches(str(name).lower(), list(choices), n=1, cutoff=0.6)
    return choices[found[0]] if found else ""


def one_of(names: Iterable[str]) -> str:
    """Names as `one of a, b, c`, or the only one."""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"one of {', '.join(listed)}"
