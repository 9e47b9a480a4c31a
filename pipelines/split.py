"""Nodes of a size that an embedder takes in whole: paragraphs are packed, long ones cut at sentence ends.

Loaders yield paragraphs, whole tables and pictures. What stands together (same kind, page, slide and section) is
packed up to a budget of tokens; headings with nothing of their own go with what follows on the page. A paragraph
beyond the budget is cut between sentences, a table between rows with its header repeated. No word is lost, and none
is doubled except in the overlap of a cut paragraph and in repeated table headers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from llama_index.core.schema import ImageNode, TextNode
from pydantic import Field

from sensorium.errors import ConfigError
from sensorium.loaders.base import Advance, Fault, Item
from sensorium.nodes import CONTEXT_KEYS, Box, Evidence, NodeInfo, with_text
from sensorium.pipelines._extractive.segments import sentences
from sensorium.speech_types import WORDS_KEY, pack_words, word_times

PACKED = frozenset({"text", "ocr", "notes"})
LONGEST = 250  # tokens of context and text together: MiniLM reads 256, two of them are its own marks
SHORTEST = 60  # however long the context is, a piece holds this many tokens of text
HEADING = 40  # tokens of the longest heading
TINY = 15  # a last piece of fewer tokens goes with the one before
STRETCH = 1.2  # as long as that one does not grow beyond this share of the budget
_TOGETHER = ("kind", "page", "slide", "section", "title", "caption", "hidden")  # equal for what is packed
_SECTION = _TOGETHER.index("section")
_UNCOUNTED = 40  # characters a token; longer texts are cut without being counted as a whole first
_RULE = re.compile(r"\|?(?:\s*:?-{2,}:?\s*\|)+\s*:?-*:?\s*")
Counted = tuple[int, int, int]
"""Start and end in a text, and the tokens between them."""
_STRUCTURE = frozenset({*Evidence.model_fields, *NodeInfo.__dataclass_fields__, "asset"})


@dataclass(frozen=True, slots=True)
class Part:
    """Some text of one node and its tokens."""

    node: TextNode
    text: str
    tokens: int


class SentenceSplit:
    """Pack and cut nodes to a number of tokens.

    Args:
        tokens: Most tokens of a node's text. Title, section and caption are embedded with it; together they stay
            within 250 tokens.
        overlap: Most tokens repeated where a paragraph is cut, in whole sentences; 0 for none.

    Raises:
        ConfigError: the overlap takes more than half of a node.
    """

    def __init__(
        self,
        tokens: Annotated[int, Field(ge=20, le=100_000)] = 200,
        overlap: Annotated[int, Field(ge=0)] = 20,
    ) -> None:
        if overlap * 2 > tokens:
            raise ConfigError(f"overlap {overlap} is more than half of tokens {tokens}", f"at most {tokens // 2}")
        self.tokens = tokens
        self.overlap = overlap
        self._counter: Callable[[str], int] | None = None

    def split(self, items: Iterable[Item]) -> Iterator[Item]:
        """Nodes of the wanted size, as a stream, in the order they came; faults and advances pass.

        Args:
            items: What a loader yields. `order` is numbered anew, without gaps.
        """
        order = 0
        for made in self._stream(items):
            if isinstance(made, Fault | Advance):
                yield made
                continue
            yield _node(made, order)
            order += 1

    def _stream(self, items: Iterable[Item]) -> Iterator["list[Part] | _Rows | Fault | Advance"]:
        packer = _Packer(self)
        for item in items:
            if isinstance(item, Fault | Advance):
                yield item
            elif isinstance(item, ImageNode):
                yield from packer.flush()
                yield [Part(item, item.text, 0)]
            elif not item.text.strip():
                continue
            elif item.metadata.get("kind") in PACKED:
                yield from packer.add(item)
            else:
                yield from packer.flush()
                yield from self._alone(item)
        yield from packer.flush()

    def _alone(self, node: TextNode) -> Iterator["list[Part] | _Rows"]:
        budget = self.budget(node)
        if node.metadata.get("kind") == "table" and (table := _table(node)):
            yield from self._rows(table, budget)
        else:
            yield from ([part] for part in self.cut(node, budget))

    def budget(self, node: TextNode) -> int:
        """Tokens of text that fit beside the node's context words."""
        context = "\n".join(str(node.metadata[key]) for key in CONTEXT_KEYS if node.metadata.get(key))
        if self.tokens > LONGEST:
            return self.tokens
        return max(min(self.tokens, SHORTEST), min(self.tokens, LONGEST - self.count(context)))

    def count(self, text: str) -> int:
        """Tokens of a text, by the vocabulary of the bundled MiniLM."""
        if self._counter is None:
            from sensorium.models._wordpiece import token_counter

            self._counter = token_counter()
        return self._counter(text) if text else 0

    def cut(self, node: TextNode, budget: int) -> list[Part]:
        """The node's text as one part, or as several cut between sentences, overlapping."""
        text = node.text
        if len(text) <= budget * _UNCOUNTED and (tokens := self.count(text)) <= budget:
            return [Part(node, text, tokens)]
        spans = [part for span in sentences(text) for part in self._fit(text, span, budget)]
        pieces = _fill(spans, budget, self.overlap)
        return [Part(_stretch(node, a, b), text[a:b], tokens) for a, b, tokens in pieces]

    def _fit(self, text: str, span: tuple[int, int], budget: int) -> Iterator[Counted]:
        """A sentence with its tokens, halved at a blank until it fits."""
        start, end = span
        tokens = self.count(text[start:end])
        if tokens <= budget or end - start < 2:
            yield start, end, tokens
            return
        middle = (start + end) // 2
        blank = max(text.rfind(" ", start, middle), text.rfind("\n", start, middle))
        middle = blank + 1 if blank > start else middle
        yield from self._fit(text, (start, middle), budget)
        yield from self._fit(text, (middle, end), budget)

    def _rows(self, table: "_Rows", budget: int) -> Iterator["_Rows"]:
        """Runs of rows that fit under the repeated header; a row that does not fit stays whole."""
        sizes = [self.count(row) for row in table.rows]
        room = budget - self.count(table.head)
        if sum(sizes) <= room or len(sizes) < 2:
            yield table
            return
        first, filled = 0, 0
        for at, size in enumerate(sizes):
            if at > first and filled + size > room:
                yield table.part(first, at)
                first, filled = at, 0
            filled += size
        yield table.part(first, len(sizes))


def _stretch(node: TextNode, start: int, end: int) -> TextNode:
    """A node for a part of what is said: with the seconds of its own words; other nodes as they are."""
    said = [word for word in word_times(node) if start <= word[0] < end]
    if not said:
        return node
    first, last = said[0][2], max(word[3] for word in said)
    evidence = Evidence.of(node).model_copy(update={"start_s": first, "end_s": max(first, last)})
    part = with_text(node, node.text[start:end], evidence, int(node.metadata.get("order", 0)))
    part.metadata[WORDS_KEY] = pack_words(said, first, start)
    return part


class _Packer:
    """Collects parts of nodes that stand together, and holds the last full chunk in case a tiny one follows."""

    def __init__(self, split: SentenceSplit) -> None:
        self._split = split
        self._key: tuple[object, ...] = ()
        self._budget = 0
        self._held: list[Part] = []
        self._open: list[Part] = []

    def add(self, node: TextNode) -> Iterator[list[Part]]:
        """Take a node; gives the chunks that are complete."""
        key = tuple(node.metadata.get(k) for k in _TOGETHER)
        if key != self._key:
            headings = self._headings(key)
            yield from self.flush()
            self._key, self._budget, self._open = key, self._split.budget(node), headings
        for part in self._split.cut(node, self._budget):
            if self._open and (_overlaps(self._open, [part]) or _size(self._open) + part.tokens > self._budget):
                if self._held:
                    yield self._held
                self._held, self._open = self._open, []
            self._open.append(part)

    def _headings(self, key: tuple[object, ...]) -> list[Part]:
        """Headings with nothing under them but subsections: they open the next chunk of the page."""
        same_place = all(a == b for n, (a, b) in enumerate(zip(self._key, key, strict=False)) if n != _SECTION)
        if not same_place or not all(_is_heading(part) for part in self._open):
            return []
        headings, self._open = self._open, []
        return headings

    def flush(self) -> Iterator[list[Part]]:
        """What is left; to be called when something else follows."""
        held, rest = self._held, self._open
        self._held, self._open = [], []
        both = _size(held) + _size(rest)
        if held and rest and _size(rest) < TINY and both <= STRETCH * self._budget and not _overlaps(held, rest):
            held, rest = held + rest, []
        yield from (chunk for chunk in (held, rest) if chunk)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A run of a table's rows; `first` is the number of its first row, from 1."""

    node: TextNode
    head: str
    rows: Sequence[str]
    first: int = 0

    def part(self, first: int, last: int) -> "_Rows":
        return _Rows(self.node, self.head, self.rows[first:last], first + 1)


def _size(parts: Sequence[Part]) -> int:
    return sum(part.tokens for part in parts)


def _overlaps(held: Sequence[Part], rest: Sequence[Part]) -> bool:
    """Whether two chunks were cut from the same paragraph, so that joining them would double the overlap."""
    return held[-1].node is rest[0].node


def _is_heading(part: Part) -> bool:
    section = str(part.node.metadata.get("section", ""))
    return part.tokens <= HEADING and " ".join(part.text.split()).casefold() in section.casefold()


def _fill(spans: Sequence[Counted], budget: int, overlap: int) -> list[Counted]:
    """Runs of sentences up to the budget; each begins with the last sentences of the one before."""
    runs: list[Counted] = []
    run: list[Counted] = []
    fresh = 0  # of the run's sentences, how many are no overlap
    for span in spans:
        if fresh and _tokens(run) + span[2] > budget:
            runs.append((run[0][0], run[-1][1], _tokens(run)))
            run, fresh = _tail(run, min(overlap, budget - span[2])), 0
        run.append(span)
        fresh += 1
    new = _tokens(run[len(run) - fresh :])
    if runs and new < TINY and runs[-1][2] + new <= STRETCH * budget:
        runs[-1] = (runs[-1][0], run[-1][1], runs[-1][2] + new)
    elif run:
        runs.append((run[0][0], run[-1][1], _tokens(run)))
    return runs


def _tokens(run: Sequence[Counted]) -> int:
    return sum(tokens for _, _, tokens in run)


def _tail(run: Sequence[Counted], room: int) -> list[Counted]:
    kept: list[Counted] = []
    for span in reversed(run[1:]):
        if _tokens(kept) + span[2] > room:
            break
        kept.insert(0, span)
    return kept


def _table(node: TextNode) -> _Rows | None:
    """A Markdown table's header lines and rows; None when the text is no such table."""
    lines = node.text.split("\n")
    rule = next((i for i, line in enumerate(lines) if i and _RULE.fullmatch(line.strip())), None)
    if rule is None:
        return None
    rows: list[str] = []
    for line in lines[rule + 1 :]:
        if rows and not line.lstrip().startswith("|"):
            rows[-1] += "\n" + line  # a note below the table stays with the row above it
        else:
            rows.append(line)
    return _Rows(node, "\n".join(lines[: rule + 1]), rows)


def _node(made: list[Part] | _Rows, order: int) -> TextNode:
    if isinstance(made, _Rows):
        return _table_node(made, order)
    base = made[-1].node  # the first may be a heading from above
    evidence = Evidence.of(base)
    nodes = list({id(part.node): part.node for part in made}.values())
    if len(nodes) > 1:
        evidence = evidence.model_copy(update={"bbox": _union(nodes)})
    node = with_text(base, "\n".join(part.text for part in made), evidence, order)
    return _extend(node, _merged(nodes)) if len(nodes) > 1 else node


def _table_node(made: _Rows, order: int) -> TextNode:
    if not made.first:
        return with_text(made.node, made.node.text, Evidence.of(made.node), order)
    text = "\n".join((made.head, *made.rows))
    node = with_text(made.node, text, Evidence.of(made.node), order)
    return _extend(node, {"row_start": made.first, "row_end": made.first + len(made.rows) - 1})


def _union(nodes: Sequence[TextNode]) -> Box | None:
    boxes = [box for node in nodes if (box := node.metadata.get("bbox"))]
    if not boxes:
        return None
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _merged(nodes: Sequence[TextNode]) -> dict[str, Any]:
    """The loader's own metadata of several nodes: words are joined, of numbers the lowest holds (scores)."""
    merged: dict[str, Any] = {}
    for node in nodes:
        for key, value in node.metadata.items():
            if key not in _STRUCTURE:
                merged[key] = _both(merged[key], value) if key in merged else value
    return merged


def _both(one: Any, other: Any) -> Any:
    if one == other:
        return one
    if isinstance(one, bool) or isinstance(other, bool):
        return bool(one or other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return min(one, other)
    words = str(one).split("\n")
    return "\n".join([*words, *(word for word in str(other).split("\n") if word not in words)])


def _extend(node: TextNode, more: dict[str, Any]) -> TextNode:
    """Add metadata that is neither embedded nor shown to a model."""
    node.metadata |= more
    for hidden in (node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys):
        hidden.extend(key for key in more if key not in hidden)
    return node
