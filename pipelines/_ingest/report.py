"""What indexing did, one row a source."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

RowStatus = Literal["stored", "unchanged", "skipped", "failed"]


@dataclass(frozen=True)
class Row:
    """How one source ended.

    Attributes:
        source: Path inside the indexed folder.
        root: That folder.
        status: stored: new or changed, and now in the index; unchanged: it was there already; skipped: left out
            on purpose; failed: could not be indexed (an older version stays searchable).
        reason: Why it was skipped or failed; else empty.
        counts: Its nodes in the index, by kind.
        warnings: Parts of it that did not make it.
    """

    source: str
    root: str
    status: RowStatus
    reason: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "source": self.source,
            "root": self.root,
            "status": self.status,
            "reason": self.reason or None,
            "counts": dict(self.counts),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class IngestReport:
    """What indexing did.

    Attributes:
        rows: Every file that was found, in order of folder and path.
        removed: Sources that were deleted because their files have vanished.
        hidden: Hidden files and folders that were left out.
        notes: What else a person should know.
        seconds: Wall time.
    """

    rows: Sequence[Row]
    removed: Sequence[str] = ()
    hidden: int = 0
    notes: Sequence[str] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether some source failed."""
        return any(row.status == "failed" for row in self.rows)

    @property
    def totals(self) -> dict[str, int]:
        """Sources by status, sources removed, hidden files left out, and nodes of the sources in the index."""
        by_status = Counter[str](row.status for row in self.rows)
        return {
            **{status: by_status[status] for status in ("stored", "unchanged", "skipped", "failed")},
            "removed": len(self.removed),
            "hidden": self.hidden,
            "nodes": sum(sum(row.counts.values()) for row in self.rows),
        }

    def public(self) -> dict[str, Any]:
        """The JSON shape of the command line."""
        return {
            "sources": [row.public() for row in self.rows],
            "removed": list(self.removed),
            "notes": list(self.notes),
            "totals": self.totals,
            "seconds": round(self.seconds, 3),
        }
