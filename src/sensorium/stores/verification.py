"""What a store says when it is asked whether everything that it holds is whole and can be found."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

from sensorium.stores.base import SourceRecord

Fault = Literal["unfindable", "doubled", "orphaned", "miscounted", "damaged"]
EXAMPLES = 5
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with an index.

    Attributes:
        fault: unfindable: stored, but not returned by the search named in `where`. doubled: stored twice. orphaned:
            rows or objects that belong to no node or source. miscounted: the ledger has other counts than the
            store. damaged: what is stored cannot be read.
        where: The space, "keyword search", "filters", the source, or the table.
        number: How many nodes or rows.
        text: The same for people.
        examples: The first few ids.
        hint: What is left to do, where a repair cannot mend it.
    """

    fault: Fault
    where: str
    number: int
    text: str
    examples: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        named = f" ({', '.join(self.examples)}{', ...' if self.number > len(self.examples) else ''})"
        return f"{self.where}: {self.text}{named if self.examples else ''}"


@dataclass(frozen=True)
class Verification:
    """The outcome of `Store.verify`.

    Attributes:
        nodes: Nodes that were looked at.
        vectors: For each space how many vectors were looked for.
        sources: Ledger rows whose counts were compared.
        found: What was wrong.
        left: What still is: all of `found`, unless it was repaired.
        repaired: Whether a repair was asked for.
        seconds: Time taken.
    """

    nodes: int
    vectors: Mapping[str, int]
    sources: int
    found: tuple[Finding, ...]
    left: tuple[Finding, ...] = ()
    repaired: bool = False
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether there is nothing (left) to mend."""
        return not self.left

    def public(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sound": self.sound,
            "repaired": self.repaired,
            "nodes": self.nodes,
            "vectors": dict(self.vectors),
            "sources": self.sources,
            "found": [_public(finding) for finding in self.found],
            "left": [_public(finding) for finding in self.left],
            "seconds": self.seconds,
        }


def verified(
    inspect: Callable[[], _T], mend: Callable[[_T], Sequence[Finding]], told: Callable[[_T], Verification], repair: bool
) -> Verification:
    """Look, mend if wanted, and look again.

    Args:
        inspect: Looks at everything.
        mend: Mends what an inspection found; gives what only the user can mend.
        told: An inspection's outcome, with `found`.
        repair: Whether to mend.
    """
    started = time.monotonic()
    first = inspect()
    outcome = told(first)
    left = outcome.found
    if repair and outcome.found:
        beyond = tuple(mend(first))
        left = beyond + tuple(f for f in told(inspect()).found if f not in beyond)
    return replace(outcome, left=left, repaired=repair, seconds=round(time.monotonic() - started, 3))


def examples(values: Sequence[str]) -> tuple[str, ...]:
    """The first few."""
    return tuple(values[:EXAMPLES])


def miscounted(record: SourceRecord, stored: Mapping[str, int]) -> Finding | None:
    """What is wrong with a source's counts; None when they are what is stored."""
    wanted = {kind: count for kind, count in record.counts.items() if count}
    if dict(stored) == wanted:
        return None
    missing = sum(wanted.values()) - sum(stored.values())
    return Finding(
        "miscounted",
        record.source,
        abs(missing),
        f"the ledger has {_counts(wanted)}, stored are {_counts(stored)}",
        hint=f"Index it again: sensorium index {record.root}",
    )


def corrected(record: SourceRecord, stored: Mapping[str, int]) -> SourceRecord:
    """A record that says what is stored, so that the next run indexes the source again."""
    wanted = sum(record.counts.values())
    reason = f"{sum(stored.values())} of its {wanted} nodes are stored; index it again"
    return record.changed(status="failed", reason=reason, counts=dict(sorted(stored.items())))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())) or "no nodes"


def _public(finding: Finding) -> dict[str, Any]:
    return asdict(finding) | {"examples": list(finding.examples)}
