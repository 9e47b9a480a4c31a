"""Every error that Sensorium raises on purpose.

```
SensoriumError
├── ConfigError           the YAML or an option is wrong; carries every fault at once
├── MissingExtraError     a package of an extra is not installed
├── LoadError             a file cannot be read; the reason stands in its row of the report
│   └── SkippedError      a file is left out on purpose (no loader for its format)
├── ModelError            a bundled or named model cannot be loaded or run
├── EvidenceError         the picture or clip behind a node cannot be produced
├── QueryError            a query that cannot be run (empty, unknown pipeline or space)
└── StoreError            the index cannot be opened, read or written
    ├── MissingIndexError there is no index where one is to be read
    ├── DataVersionError  the data folder was written by a newer version
    ├── SpaceError        a space is unknown, or its embedder or dimension changed
    └── PartialWriteError some nodes were refused; names the stored and the failed ids
```

Messages say what is wrong and where; `hint` says what to do about it.
"""

from collections.abc import Mapping, Sequence


class SensoriumError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: What is wrong, and where.
        hint: What the user can do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(SensoriumError):
    """The configuration is invalid; `faults` has one line for each thing that is wrong."""

    def __init__(self, message: str, hint: str = "", faults: Sequence[object] = ()) -> None:
        super().__init__(message, hint)
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {fault}" for fault in self.faults)])


class MissingExtraError(SensoriumError):
    """A package that belongs to an extra is not installed."""

    def __init__(self, what: str, package: str, extra: str | None = None) -> None:
        install = f"sensorium[{extra}]" if extra else package
        super().__init__(f"{what} needs the package {package!r}.", f"Install it: pip install '{install}'")
        self.package = package


class LoadError(SensoriumError):
    """A source file cannot be read."""


class SkippedError(LoadError):
    """A source file is left out on purpose; this is no failure."""


class ModelError(SensoriumError):
    """A model cannot be loaded or run."""


class EvidenceError(SensoriumError):
    """The picture or clip behind a node cannot be produced."""


class QueryError(SensoriumError):
    """A query that cannot be run."""


class StoreError(SensoriumError):
    """The index cannot be opened, read or written."""


class MissingIndexError(StoreError):
    """There is no index where one is to be read, and none was made."""


class DataVersionError(StoreError):
    """The data folder was written by a newer version of Sensorium."""


class SpaceError(StoreError):
    """A space is unknown, or its embedder or dimension is not the one the index was made with."""


class PartialWriteError(StoreError):
    """Some nodes were refused by the engine.

    Args:
        stored: Ids of the nodes that are stored.
        failed: Node id to the engine's reason.
    """

    def __init__(self, stored: Sequence[str], failed: Mapping[str, str]) -> None:
        first = next(iter(failed.items()), ("", ""))
        super().__init__(
            f"{len(failed)} of {len(failed) + len(stored)} nodes were not stored; first: {first[0]}: {first[1]}",
            "The others are stored; mend the named nodes and add them again."
            if stored
            else "Nothing of this batch is stored; mend it and add it again.",
        )
        self.stored = tuple(stored)
        self.failed = dict(failed)
