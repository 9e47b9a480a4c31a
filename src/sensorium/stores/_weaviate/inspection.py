"""Whether everything that is stored can be found: every object, through each search that has to return it.

What interrupts Weaviate between storing an object and indexing it leaves objects that are counted and fetched, but
that a vector index, a filter or the keyword search does not return. Here each object is looked for through all of
them, a thousand at a time, and by its own vector; what is not returned is written again under a new id, which is what
makes Weaviate index it (`writing`).
"""

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from weaviate.classes.query import Filter

from sensorium.stores._weaviate import ledger
from sensorium.stores._weaviate.engine import MOST, Found
from sensorium.stores._weaviate.fields import space_token
from sensorium.stores._weaviate.manifest import Manifest, of_generations, parse_record, version_row
from sensorium.stores._weaviate.names import (
    BARRIER,
    DOC,
    GENERATION,
    IDENTITY,
    KEY,
    KIND,
    ROW,
    TAGS,
    TERMS,
    doc_key,
    first_generation,
)
from sensorium.stores._weaviate.parts import Parts
from sensorium.stores._weaviate.writing import pages
from sensorium.stores.base import SourceRecord
from sensorium.stores.verification import Finding, Verification, corrected, examples, miscounted, verified

FILTERS, KEYWORDS = "filters", "keyword search"
_ASKED = [*IDENTITY, KEY, KIND, TAGS, TERMS]
_PAGE = 1000
_TERMS = 64
_TRIES, _PAUSE_S = 5, 0.5
_REPAIR_S = 2.0


@dataclass
class Inspection:
    """What was found, and the objects that mending it needs.

    Attributes:
        nodes: Visible nodes that were looked at.
        vectors: Vectors that were looked for, by space.
        counts: Nodes of each source (as indexed) by kind.
        lost: By space, or `FILTERS` or `KEYWORDS`: objects that are stored, but not returned.
        doubled: Objects of nodes that have another one in the same generation.
        orphans: Objects of no source's live version, nor of an update under way.
        miscounted: Sources whose ledger row has other counts, with those that are stored.
        sources: Ledger rows that were compared.
        rows: Ledger rows that are stored, but not returned; what they say about nodes is not known until they are
            mended, so nothing else is looked at then.
        names: Node id by object, of what is lost or doubled.
    """

    nodes: int = 0
    vectors: Counter[str] = field(default_factory=Counter)
    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lost: defaultdict[str, set[uuid.UUID]] = field(default_factory=lambda: defaultdict(set))
    doubled: list[uuid.UUID] = field(default_factory=list)
    orphans: list[uuid.UUID] = field(default_factory=list)
    miscounted: list[tuple[SourceRecord, dict[str, int]]] = field(default_factory=list)
    sources: int = 0
    rows: list[uuid.UUID] = field(default_factory=list)
    names: dict[uuid.UUID, str] = field(default_factory=dict)

    @property
    def unfindable(self) -> set[uuid.UUID]:
        """Objects that some search does not return."""
        return set[uuid.UUID]().union(*self.lost.values())

    def told(self) -> Verification:
        """For the user."""
        findings = [
            Finding("unfindable", place, len(lost), f"{len(lost)} nodes are stored, but not found", self._named(lost))
            for place, lost in sorted(self.lost.items())
            if lost
        ]
        if self.rows:
            text = f"{len(self.rows)} rows are stored, but not found; nodes are looked at when that is mended"
            findings.append(Finding("unfindable", "ledger", len(self.rows), text))
        if self.doubled:
            text = f"{len(self.doubled)} nodes are stored twice"
            findings.append(Finding("doubled", "collection", len(self.doubled), text, self._named(self.doubled)))
        if self.orphans:
            text = f"{len(self.orphans)} objects belong to no source"
            findings.append(Finding("orphaned", "collection", len(self.orphans), text))
        findings += [f for record, stored in self.miscounted if (f := miscounted(record, stored))]
        return Verification(self.nodes, dict(self.vectors), self.sources, tuple(findings), tuple(findings))

    def _named(self, objects: Collection[uuid.UUID]) -> tuple[str, ...]:
        return examples(sorted(self.names[one] for one in objects))


def verify(parts: Parts, repair: bool) -> Verification:
    """See `Store.verify`."""
    return verified(lambda: inspect(parts), lambda found: mend(parts, found), Inspection.told, repair)


def inspect(parts: Parts, recent: Mapping[str, str] | None = None) -> Inspection:
    """Look for objects through every search that has to return them.

    Args:
        parts: Of the store.
        recent: Only nodes of these generations, each with its source as indexed; None for everything.
    """
    found = Inspection(rows=_lost_rows(parts))
    if found.rows:
        return found
    manifest = parts.generations.read()
    seen: dict[tuple[str, str], uuid.UUID] = {}
    suspects: dict[uuid.UUID, Found] = {}
    for part in _batches(_objects(parts, recent)):
        live = _visible(parts, manifest, part, suspects)
        for f in live:
            found.counts[f.doc][str(f.properties[KIND])] += 1
            if seen.setdefault((f.generation, str(f.properties[KEY])), f.uuid) != f.uuid:
                found.doubled.append(f.uuid)
                found.names[f.uuid] = f.node_id
                found.counts[f.doc][str(f.properties[KIND])] -= 1
        found.nodes += len(live)
        _look_for(parts, live, found)
    found.nodes -= len(found.doubled)
    _confirm(parts, found, suspects)
    _compare(parts, found, ledger.sources(parts) if recent is None else _records(parts, recent.values()))
    return found


def _lost_rows(parts: Parts) -> list[uuid.UUID]:
    """Rows of the ledger that filters do not return."""
    there = {row.uuid: str(row.properties[ROW]) for row in parts.engine.scan_rows([ROW])}
    lost: set[uuid.UUID] = set()
    for ids in pages(sorted(there)):
        kinds = sorted({there[one] for one in ids})
        condition = Filter.all_of([Filter.by_id().contains_any(list(ids)), Filter.by_property(ROW).contains_any(kinds)])
        lost |= set(ids) - {row.uuid for row in parts.engine.rows(condition, [ROW])}
    return sorted(one for one in lost if parts.engine.row_by_uuid(one) is not None)


def _objects(parts: Parts, recent: Mapping[str, str] | None) -> Iterator[Found]:
    """Objects to look at: of some generations by a filter, where the server gives them all at once."""
    if recent is None:
        return parts.engine.scan(_ASKED)
    some = parts.engine.find(of_generations(list(recent)), _ASKED) if recent else []
    if len(some) < MOST:
        return iter(some)
    return (f for f in parts.engine.scan(_ASKED) if f.generation in recent)


def _records(parts: Parts, keys: Iterable[str]) -> Iterator[SourceRecord]:
    """Ledger rows of sources, by source as indexed."""
    return (parse_record(head.record) for head in parts.generations.heads(set(keys)).values() if head.record)


def _batches(objects: Iterable[Found]) -> Iterator[list[Found]]:
    stream = iter(objects)
    while part := list(islice(stream, _PAGE)):
        yield part


def _visible(parts: Parts, manifest: Manifest, part: Sequence[Found], suspects: dict[uuid.UUID, Found]) -> list[Found]:
    """Those that readers see; what seems to belong to nobody goes to the suspects."""
    docs = {f.doc for f in part}
    live = {doc: first_generation(doc) for doc in docs} | parts.generations.live_by_key(docs, manifest)
    visible: list[Found] = []
    for f in part:
        if f.generation == BARRIER or f.generation in manifest.dead:
            continue
        if live[f.doc] == f.generation:
            visible.append(f)
        else:
            suspects[f.uuid] = f
    return visible


# Looking for a batch ------------------------------------------------------------------------------------------


def _look_for(parts: Parts, objects: Sequence[Found], found: Inspection) -> None:
    """Look for objects in the vector indexes, by filters and by their own vectors, and by their words."""
    tokens = {space_token(s.name): s.name for s in parts.spaces.values() if s.searchable}
    expected: defaultdict[str, list[uuid.UUID]] = defaultdict(list)
    for f in objects:
        for token in set(f.properties[TAGS] or []) & tokens.keys():
            expected[tokens[token]].append(f.uuid)
    lost: dict[str, set[uuid.UUID]] = {}
    for space, ids in expected.items():
        found.vectors[space] += len(ids)
        lost[space] = parts.writer.lost({space: ids})
        if not parts.spaces[space].multi:  # MUVERA may miss what is linked well
            lost[space] |= parts.writer.unreached({space: ids})
    lost[FILTERS] = _unfiltered(parts, objects)
    lost[KEYWORDS] = _unsaid(parts, objects)
    names = {f.uuid: f.node_id for f in objects}
    for place, ids_lost in lost.items():
        found.lost[place] |= ids_lost
        found.names |= {one: names[one] for one in ids_lost}


def _unfiltered(parts: Parts, objects: Sequence[Found]) -> set[uuid.UUID]:
    """Objects that filters on their own properties do not find."""
    if not objects:
        return set()
    wanted = {
        name: sorted({str(f.properties[name]) for f in objects}) for name in (KEY, DOC, GENERATION, KIND)
    }  # fmt: skip
    condition = Filter.all_of([Filter.by_property(name).contains_any(values) for name, values in wanted.items()])
    return {f.uuid for f in objects} - {f.uuid for f in parts.engine.find(condition, [])}


def _unsaid(parts: Parts, objects: Sequence[Found]) -> set[uuid.UUID]:
    """Objects that the keyword search does not find by one of their words."""
    words = {f.uuid: set(str(f.properties[TERMS]).split()) for f in objects if f.properties.get(TERMS)}
    if not words:
        return set()
    chosen = _cover(words.values())
    returned: set[uuid.UUID] = set()
    among = Filter.by_id().contains_any(list(words))
    for start in range(0, len(chosen), _TERMS):
        terms = " ".join(chosen[start : start + _TERMS])
        returned |= {f.uuid for f in parts.engine.bm25(terms, len(words), among, [])}
    return words.keys() - returned


def _cover(texts: Collection[set[str]]) -> list[str]:
    """Few words of which every text has one."""
    frequency = Counter(word for text in texts for word in text)
    chosen: dict[str, None] = {}
    for text in texts:
        if text and not text & chosen.keys():
            chosen[max(text, key=lambda word: (frequency[word], word))] = None
    return list(chosen)


# What changed meanwhile ---------------------------------------------------------------------------------------


def _confirm(parts: Parts, found: Inspection, suspects: dict[uuid.UUID, Found]) -> None:
    """Keep what is still so: others may have written and deleted while this looked."""
    unsure = found.unfindable | set(found.doubled)
    if not unsure and not suspects:
        return
    there = {one: f for one in unsure for f in parts.engine.by_uuid(one, IDENTITY)}
    manifest = parts.generations.read()
    known = {u.generation for u in manifest.updates} | manifest.dead
    docs = {f.doc for f in (*there.values(), *suspects.values())}
    live = {doc: first_generation(doc) for doc in docs} | parts.generations.live_by_key(docs, manifest)

    def visible(f: Found) -> bool:
        return live[f.doc] == f.generation and f.generation not in manifest.dead

    kept = {one for one, f in there.items() if visible(f)}
    for place in list(found.lost):
        found.lost[place] &= kept
    found.doubled = [one for one in found.doubled if one in kept]
    found.orphans = [one for one, f in suspects.items() if not visible(f) and f.generation not in known]


def _compare(parts: Parts, found: Inspection, records: Iterable[SourceRecord]) -> None:
    """Compare the ledger's counts with what was seen."""
    for record in records:
        key = doc_key(record.doc_id)
        found.sources += 1
        if miscounted(record, +found.counts[key]) and (still := _miscounted(parts, key)):
            found.miscounted.append(still)


def _miscounted(parts: Parts, key: str) -> tuple[SourceRecord, dict[str, int]] | None:
    """A source with its row and its counts, when they differ and stay so: writers change one after the other."""
    before: tuple[SourceRecord, dict[str, int]] | None = None
    for _ in range(_TRIES):
        head = parts.generations.heads([key]).get(key)
        if head is None or not head.record:
            return None
        now = parse_record(head.record), _stored(parts, head.live)
        if not miscounted(*now):
            return None
        if now == before:
            return now
        before = now
        time.sleep(_PAUSE_S)
    return None


def _stored(parts: Parts, generation: str) -> dict[str, int]:
    """Nodes of a generation by kind; those that are doubled count once."""
    objects = parts.engine.find(of_generations([generation]), [KEY, KIND])
    if len(objects) >= MOST:
        return parts.stored_counts(generation)
    return dict(Counter({str(f.properties[KEY]): str(f.properties[KIND]) for f in objects}.values()))


# Mending ------------------------------------------------------------------------------------------------------


def _still_doubled(parts: Parts, objects: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Objects whose node has another one: a repair elsewhere, which writes before it deletes, may have ended."""
    if objects:
        time.sleep(_REPAIR_S)
    doubled: set[uuid.UUID] = set()
    for one in objects:
        for f in parts.engine.by_uuid(one, [*IDENTITY, KEY]):
            same = [Filter.by_property(name).equal(str(f.properties[name])) for name in (KEY, GENERATION)]
            others = {other.uuid for other in parts.engine.find(Filter.all_of(same), [])} - {one} - doubled
            if others:
                doubled.add(one)
    return doubled


def mend(parts: Parts, found: Inspection) -> list[Finding]:
    """Write lost nodes again, delete what is doubled or belongs to nobody; gives what has to be indexed again."""
    if found.rows:
        for one in found.rows:
            parts.engine.rewrite_row(one)
        return mend(parts, inspect(parts))
    parts.sweep(now=True)
    doubled = _still_doubled(parts, found.doubled)
    if lost := found.unfindable - doubled:
        # The double of a lost one is the copy that a mending which was killed had made: it is made anew, and stays.
        doubled -= set(parts.writer.mend(lost).values())
    parts.engine.delete_each([*found.orphans, *doubled])
    parts.engine.write_rows([version_row()])
    left: list[Finding] = []
    for record, stored in found.miscounted:
        if finding := miscounted(record, stored):
            parts.generations.put(corrected(record, stored))
            left.append(finding)
    return left
