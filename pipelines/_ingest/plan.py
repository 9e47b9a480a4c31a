"""What is to be done with each file, by what the ledger knows about it."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sensorium.loaders.base import SourceFile
from sensorium.pipelines._ingest.discover import Discovery, Found
from sensorium.pipelines._ingest.messages import Setup
from sensorium.pipelines._ingest.recordings import Beside
from sensorium.pipelines._ingest.report import Row, RowStatus
from sensorium.stores.base import SourceRecord, Status, Store

# Some file systems count time in steps of 2 s.
_TICK_S = 2.0


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a source: its row in the report, and its row in the ledger where that changes."""

    found: Found
    row: Row
    record: SourceRecord | None = None


class Plan:
    """Compares files with the ledger.

    Args:
        store: Has the ledger.
        discovery: What was found.
        setup: Which loader reads what, and limits.
        fingerprint: Of the configuration.
    """

    def __init__(self, store: Store, discovery: Discovery, setup: Setup, fingerprint: str) -> None:
        self._discovery = discovery
        self._setup = setup
        self._fingerprint = fingerprint
        roots = {found.root for found in discovery.found.values()} | discovery.folders
        self._ledger = {record.doc_id: record for record in store.sources() if record.root in roots}
        self._waiting: list[Found] = []
        self._beside = Beside()
        self._started = time.time()

    def settled(self) -> Iterator[Settled]:
        """The sources that need no reading; the others wait for `jobs`."""
        for found in self._discovery.found.values():
            limit = self._setup.limits.file_mb
            if found.reason:
                yield self._unread(found, "skipped" if found.skipped else "failed", found.reason)
            elif found.size > limit * 1e6:
                reason = f"has {found.size / 1e6:,.0f} MB; the limit is {limit:,} MB (index.limits.file_mb)"
                yield self._unread(found, "failed", reason)
            elif unchanged := self._same_facts(found):
                yield unchanged
            else:
                self._waiting.append(found)

    @property
    def waiting(self) -> int:
        """Sources that have to be read, or at least hashed; known after `settled`."""
        return len(self._waiting)

    def jobs(self) -> Iterator[tuple[Found, SourceFile] | Settled]:
        """Sources to read, large ones first, and those whose content turns out to be known."""
        for found in sorted(self._waiting, key=lambda found: -found.size):
            try:
                with found.path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as fault:
                yield self._unread(found, "failed", f"cannot be read: {fault.strerror or fault}")
                continue
            yield self._same_content(found, sha256) or (
                found, SourceFile(found.path, found.root, found.source, sha256, "")
            )  # fmt: skip

    def stored(self, found: Found, record: SourceRecord) -> Settled:
        """The end of a source that was published with this ledger row."""
        return Settled(found, Row(found.source, found.root, "stored", "", record.counts, record.warnings))

    def refused(self, found: Found, record: SourceRecord) -> Settled:
        """The end of a source that was skipped or failed; an older version stays searchable."""
        before = self._ledger.get(found.doc_id)
        reason = record.reason
        if before is not None and before.live_sha256:
            record = record.changed(counts=before.counts, live_sha256=before.live_sha256)
            reason = f"{reason.rstrip('. ')}; its older version stays searchable"
        row = Row(found.source, found.root, record.status, reason, record.counts, record.warnings)
        return Settled(found, row, record if before is None or _differs(before, record) else None)

    def record(self, found: Found, status: Status, reason: str = "", media_type: str = "", **more: Any) -> SourceRecord:
        """A ledger row for an attempt that ends now.

        Args:
            found: The file.
            status: How it ended.
            reason: Why, unless it is stored.
            media_type: Its type, when that is known.
            **more: Other fields of the row.
        """
        return SourceRecord(
            found.doc_id, found.root, found.source, status, reason, size=found.size, mtime_ns=self._trusted(found),
            media_type=media_type, fingerprint=self._version(media_type, found),
            indexed_at=datetime.now(UTC).isoformat(timespec="seconds"), **more,
        )  # fmt: skip

    def touched(self, found: Found) -> bool:
        """Whether a file was changed since it was found."""
        try:
            facts = os.stat(found.path)
        except OSError:
            return True
        return (facts.st_size, facts.st_mtime_ns) != (found.size, found.mtime_ns)

    def vanished(self) -> list[SourceRecord]:
        """Ledger rows of sources that are gone from the walked folders."""
        return [r for r in self._ledger.values() if self._discovery.vanished(r.root, r.source)]

    def suffixes(self) -> set[str]:
        """File name suffixes of what has to be read."""
        return {found.path.suffix.lower() for found in self._waiting}

    def _unread(self, found: Found, status: Status, reason: str) -> Settled:
        return self.refused(found, self.record(found, status, reason))

    def _version(self, media_type: str, found: Found) -> str:
        beside = self._beside.version(found.path, media_type)
        return f"{self._fingerprint} {self._setup.version(media_type, found.path.name)} {beside}".rstrip()

    def _known(self, found: Found) -> SourceRecord | None:
        """The ledger row, when the last attempt came to a lasting end with the present configuration."""
        record = self._ledger.get(found.doc_id)
        if record is None or record.status == "failed":
            return None
        return record if record.fingerprint == self._version(record.media_type, found) else None

    def _same_facts(self, found: Found) -> Settled | None:
        record = self._known(found)
        if record is None or (record.size, record.mtime_ns) != (found.size, found.mtime_ns):
            return None
        return Settled(found, _unchanged(record))

    def _same_content(self, found: Found, sha256: str) -> Settled | None:
        record = self._known(found)
        if record is None or record.sha256 != sha256:
            return None
        seen = record.changed(size=found.size, mtime_ns=self._trusted(found))
        return Settled(found, _unchanged(record), seen if seen != record else None)

    def _trusted(self, found: Found) -> int:
        """The modification time to remember; 0 for one so young that a later change may bear the same."""
        return found.mtime_ns if found.mtime_ns / 1e9 < self._started - _TICK_S else 0


def _unchanged(record: SourceRecord) -> Row:
    status: RowStatus = "unchanged" if record.status == "stored" else record.status
    return Row(record.source, record.root, status, record.reason, record.counts, record.warnings)


def _differs(before: SourceRecord, record: SourceRecord) -> bool:
    """Whether a ledger row says anything new, times aside."""
    return before != record.changed(indexed_at=before.indexed_at, seconds=before.seconds)
