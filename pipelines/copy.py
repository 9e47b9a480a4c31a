"""Moving an index to another engine: nodes, vectors and ledger rows, without reading or embedding anything again."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode

from sensorium.errors import ConfigError, MissingIndexError, StoreError
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.links import copy_links
from sensorium.pipelines.opening import open_store
from sensorium.pipelines.spec import Spec, load_spec
from sensorium.stores.base import SourceRecord, Space, Store, Vector, Vectors

BATCH = 500
_HINT = "Check --from (the .yaml file of the index, or the store's url, collection and tenant) and --data (its folder)."
_Pair = tuple[BaseNode, dict[str, Vector]]


@dataclass(frozen=True)
class CopyReport:
    """What a copy did.

    Attributes:
        copied: Sources whose nodes were written.
        unchanged: Sources that the target had already, as they are.
        nodes: Nodes written.
        loose: Those of them without a ledger row (added through LlamaIndex).
        others: Sources that only the target has; they stay.
        assets: Picture files that came along.
        seconds: Time taken.
    """

    copied: int
    unchanged: int
    nodes: int
    loose: int
    others: int
    assets: int
    seconds: float

    def __str__(self) -> str:
        loose = f" ({self.loose} without a source)" if self.loose else ""
        others = f" {self.others} sources are only in the target." if self.others else ""
        return (
            f"Copied {self.copied} sources with {self.nodes} nodes{loose} in {self.seconds} s; "
            f"{self.unchanged} were there already.{others}"
        )

    def public(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sources": {"copied": self.copied, "unchanged": self.unchanged, "only_in_target": self.others},
            "nodes": {"copied": self.nodes, "without_source": self.loose},
            "assets": self.assets,
            "seconds": self.seconds,
        }


class Copier:
    """Copies everything from one store to another. A run that was interrupted goes on where it stopped.

    Source by source a new version is staged and published, so that readers of the target never see half of one.
    Sources whose ledger row the target has already are left alone.

    Args:
        origin: Store to read.
        target: Store to write, with the same spaces.
        progress: Called with the nodes written so far and their expected number.

    Raises:
        StoreError: the spaces differ, or nodes lack vectors in a space that was added later.
    """

    def __init__(self, origin: Store, target: Store, progress: Callable[[int, int], None] | None = None) -> None:
        self._origin, self._target = origin, target
        self._progress = progress or (lambda done, total: None)
        self._done = self._total = 0
        if origin.incomplete:
            raise StoreError("The index cannot be copied yet.", " ".join(origin.incomplete_warnings()))
        _check_spaces(origin.spaces, target.spaces)

    def run(self) -> CopyReport:
        """Copy, then compare the counts.

        Raises:
            StoreError: a store cannot be read or written, or the counts differ in the end.
        """
        started = time.monotonic()
        records = list(self._origin.sources())
        self._total = self._origin.count()
        todo = [record for record in records if not _same(record, self._target.source(record.doc_id))]
        self._done = sum(map(_nodes, records)) - sum(map(_nodes, todo))
        before = self._done
        for record in todo:
            self._copy(record)
        loose = self._copy_loose(records)
        copy_links(self._origin, self._target)
        others = self._compare(records, loose)
        return CopyReport(
            copied=len(todo),
            unchanged=len(records) - len(todo),
            nodes=self._done - before,
            loose=loose,
            others=others,
            assets=0,
            seconds=round(time.monotonic() - started, 2),
        )

    def _copy(self, record: SourceRecord) -> None:
        if not _nodes(record):
            if self._target.source(record.doc_id) is not None:
                self._target.remove_source(record.doc_id)
            self._target.record(record)
            return
        with self._target.stage(record.doc_id) as stage:
            for nodes, vectors in self._batches(self._origin.iter_nodes(BATCH, record.doc_id)):
                stage.add(nodes, vectors)
                self._count(len(nodes))
            stage.publish(record)

    def _copy_loose(self, records: Sequence[SourceRecord]) -> int:
        """Nodes whose source has no ledger row. Reads everything, so only where the counts say that there are any."""
        if self._total <= sum(map(_nodes, records)):
            return 0
        known = {record.doc_id for record in records}
        loose = (pair for pair in self._origin.iter_nodes(BATCH) if pair[0].ref_doc_id not in known)
        copied = 0
        for nodes, vectors in self._batches(loose):
            copied += len(self._target.add(nodes, vectors=vectors))
            self._count(len(nodes))
        return copied

    def _batches(self, pairs: Iterable[_Pair]) -> Iterator[tuple[Sequence[BaseNode], Vectors]]:
        stream = iter(pairs)
        while batch := list(islice(stream, BATCH)):
            yield (
                [node for node, _ in batch],
                {name: [vectors.get(name) for _, vectors in batch] for name in self._target.spaces},
            )

    def _count(self, nodes: int) -> None:
        self._done += nodes
        self._progress(self._done, self._total)

    def _compare(self, records: Sequence[SourceRecord], loose: int) -> int:
        """Check ledger rows and counts; the number of sources that only the target has."""
        expected = {record.doc_id: record for record in records}
        stored = {record.doc_id: record for record in self._target.sources()}
        wrong = [record.source for key, record in expected.items() if not _same(record, stored.get(key))]
        if wrong:
            raise StoreError(
                f"The target's ledger differs for {len(wrong)} sources, the first is {wrong[0]}.", "Copy again."
            )
        others = [record for key, record in stored.items() if key not in expected]
        wanted = sum(map(_nodes, [*records, *others])) + loose
        if (found := self._target.count()) < wanted:
            raise StoreError(f"The target holds {found} nodes, but should hold {wanted}.", "Copy again.")
        return len(others)


def copy(
    origin: str,
    target: str,
    config: Path | None = None,
    data: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CopyReport:
    """Copy between two stores, each named by a configuration file or written as under `store:` in one.

    Args:
        origin: "sqlite", "{weaviate: {url: ...}}" or "config.yaml".
        target: The same.
        config: Configuration whose data folder is used for stores that are not given as a file.
        data: Data folder for these, in place of the one in `config`.
        progress: See `Copier`.

    Raises:
        ConfigError: what is given is no valid store, or both are the same.
        StoreError: there is nothing to copy; or see `Copier.run`.
    """
    from_, to = (_spec(text, config, data) for text in (origin, target))
    if (from_.store, from_.data_folder.resolve()) == (to.store, to.data_folder.resolve()):
        raise ConfigError("--from and --to are the same store.")
    source = _open_origin(from_)
    try:
        spaces = [replace(space, options={}) for space in source.spaces.values()]
        sink = open_store(to, spaces)
        try:
            report = Copier(source, sink, progress).run()
        finally:
            sink.close()
    finally:
        source.close()
    return replace(report, assets=copy_assets(from_, to))


def copy_assets(origin: Spec, target: Spec) -> int:
    """Bring the kept pictures along when the data folder is another one; the number of new files."""
    if origin.data_folder.resolve() == target.data_folder.resolve():
        return 0
    old, new = (AssetStore(str(spec.data_folder / "assets")) for spec in (origin, target))
    missing = set(old.names()) - set(new.names())
    for name in missing:
        new.put(old.read(name), name[64:])
    return len(missing)


def _spec(text: str, config: Path | None, data: Path | None) -> Spec:
    if Path(text).suffix.lower() in (".yaml", ".yml"):
        return load_spec(Path(text))
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        store = YAML(typ="safe").load(text)
    except YAMLError as fault:
        hint = "Write it as under `store:`, or name a .yaml file."
        raise ConfigError(f"{text!r} is no store: {fault}", hint) from fault
    folder = data or load_spec(config).data_folder
    return load_spec({"store": store, "data": str(folder)})


def _open_origin(spec: Spec) -> Store:
    try:
        store = open_store(spec, None, create=False)
    except MissingIndexError as fault:
        raise MissingIndexError(f"There is nothing to copy. {fault.message}", _HINT) from fault
    try:
        if store.count() or next(iter(store.sources()), None):
            return store
        raise StoreError(f"There is nothing to copy in the store {spec.store.name} of {spec.data_folder}.", _HINT)
    except BaseException:
        store.close()
        raise


def _check_spaces(origin: Mapping[str, Space], target: Mapping[str, Space]) -> None:
    for name, space in origin.items():
        there = target.get(name)
        if there is None or replace(there, options={}) != replace(space, options={}):
            raise StoreError(f"The space {name!r} is {space} here, and {there} in the target.", "Use a new target.")


def _same(record: SourceRecord, other: SourceRecord | None) -> bool:
    """Whether two ledger rows stand for the same nodes."""
    if other is None:
        return False
    return _identity(record) == _identity(other)


def _identity(record: SourceRecord) -> tuple[Any, ...]:
    counts = {kind: count for kind, count in record.counts.items() if count}
    return record.status, record.sha256, record.live_sha256, record.fingerprint, counts


def _nodes(record: SourceRecord) -> int:
    return sum(record.counts.values())
