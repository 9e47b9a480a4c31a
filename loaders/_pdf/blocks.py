"""From lines to paragraphs and headings; pairs of label and value stay on one line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sensorium.loaders._pdf.content import Line
from sensorium.loaders._pdf.geometry import union, x_overlap
from sensorium.nodes import Box

CAPTION = re.compile(
    r"\s*(?i:fig(ure)?s?\.?|tab(le)?s?\.?|chart|exhibit|box|scheme|plate|map|illustration|abb(ildung)?\.?|tabelle)"
    r"(\s*(\d{1,3}|[A-Z])([.\-–]\d+)*[a-z]?\s*([.:—–|]|$|\s+(?=[A-Z0-9(]))|\.\s)"
)
_NUMBERED = re.compile(r"(\d+(\.\d+)*\.?|[A-Z]\.|[IVX]+\.|\([a-z0-9]+\)|§.*)\s+\S")
_BULLET = re.compile(r"[•●▪■□◦‣∙·*–—\-o]|\(?[\divxa-z]{1,3}[.)]|\d+(\.\d+){1,3}\.?|\[\d+\]")
_BULLET_START = re.compile(r"([•●▪■□◦‣∙➢❖✓]|\(?(\d{1,2}|[a-z])[.)])\s")
_PAIR = re.compile(r"[^:]{2,30}:\s+(?=\D{0,12}\d).{1,25}")  # a label and its value
_LETTERS = re.compile(r"[^\W\d_]{2}")
_HYPHEN = re.compile(r"[^\W\d_](?![A-Z])[^\W\d_][-\u00ad‐]$")


@dataclass(slots=True)
class Block:
    """A paragraph, a heading or a caption, with its lines."""

    kind: Literal["text", "heading", "caption"]
    lines: list[Line]
    box: Box

    @property
    def text(self) -> str:
        """Its lines as running text, words joined where a line end divides them."""
        return running_text([line.text for line in self.lines])

    @property
    def size(self) -> float:
        """Type size of its first line."""
        return self.lines[0].size


@dataclass(frozen=True)
class BodyStyle:
    """What most of a document is set in.

    Attributes:
        size: Type size in points.
        font: Name of the font.
        share: Share of the characters in each font.
        outline: Titles of the outline, as `plain` gives them.
        prose: It has running text; in a form, bold lines are no headings.
    """

    size: float = 10.0
    font: str = ""
    share: dict[str, float] | None = None
    outline: frozenset[str] = frozenset()
    prose: bool = True

    def is_heading(self, line: Line, first: bool) -> bool:
        """Whether a line is set like a heading, or is in the outline."""
        text = line.text
        if len(text) > 2 and text[-1] not in ".,;" and self.outline and plain(text) in self.outline:
            return True
        if not line.upright or len(text) > 140 or not _LETTERS.search(text) or CAPTION.match(text):
            return False
        if text[-1] in ".,;:" and not _NUMBERED.match(text) and not (text[-1] == ":" and line.bold):
            return False
        if _PAIR.fullmatch(text):
            return False
        if line.size >= 1.12 * self.size or (line.bold and self.prose and line.size >= 0.85 * self.size):
            return True
        rare = line.font != self.font and (self.share or {}).get(line.font, 1.0) < 0.1
        return rare and first and len(text) < 60 and line.size >= self.size and text[:1].isupper()


def plain(text: str) -> str:
    """Letters and digits only, lower-case: how titles are compared."""
    return re.sub(r"[\W_]+", "", text).lower()


def running_text(lines: Sequence[str]) -> str:
    """Lines joined by spaces; a hyphen at a line end goes when a small letter follows."""
    out = lines[0] if lines else ""
    for line in lines[1:]:
        divided = line[:1].islower() and _HYPHEN.search(out)
        if out.endswith("\u00ad") or divided:
            out = out[:-1] + line
        elif out.endswith(("/", "–", "—")) and not out.endswith((" –", " —", " /")):
            out += line
        else:
            out += " " + line
    return re.sub(r"(\s*[.…_]){5,}\s*", " … ", re.sub(r"[ \t\u00a0]+", " ", out)).strip()


def join_rows(lines: Sequence[Line]) -> list[Line]:
    """Lines with their other part on the same baseline: a bullet and its text, a label and its value."""
    out: list[Line] = []
    for line in lines:
        last = out[-1] if out else None
        if last is not None and _same_baseline(last, line):
            gap = line.box[0] - last.box[2]
            close = line.block == last.block and -1 <= gap <= 1.2 * line.size
            bullet = bool(_BULLET.fullmatch(last.text)) and 0 <= gap <= 5 * line.size
            if close or bullet:
                out[-1] = _merged(last, line)
                continue
        out.append(line)
    return _join_labels(out)


def _join_labels(lines: list[Line]) -> list[Line]:
    """A label such as "Due Date:" goes with the next text on its baseline, unless that is a column of running text."""
    sizes: dict[int, list[Line]] = {}
    for line in lines:
        sizes.setdefault(line.block, []).append(line)
    running = {b: sum(len(li.text) > 45 for li in ls) >= 2 or _is_prose(ls) for b, ls in sizes.items()}
    taken: set[int] = set()
    for i, line in enumerate(lines):
        if i in taken or not line.upright or line.text[-1] != ":" or len(line.text) > 45 or running[line.block]:
            continue
        right = [
            (k.box[0], j) for j, k in enumerate(lines)
            if j != i and j not in taken and k.box[0] >= line.box[2] - 1 and _same_baseline(line, k)
        ]  # fmt: skip
        if right:
            j = min(right)[1]
            fits = lines[j].box[0] - line.box[2] < 10 * line.size and 0.8 < lines[j].size / line.size < 1.25
            if fits and not running[lines[j].block] and lines[j].text[-1] != ":":
                block = -1 - line.block if len(sizes[line.block]) > 1 else line.block
                lines[i] = replace(_merged(line, lines[j]), block=block)
                taken.add(j)
    return [line for i, line in enumerate(lines) if i not in taken]


def _is_prose(lines: Sequence[Line]) -> bool:
    """Three lines or more of about one width, with several words each."""
    if len(lines) < 3:
        return False
    widths = [li.box[2] - li.box[0] for li in lines[:-1]]
    words = sum(len(li.text.split()) for li in lines) / len(lines)
    return words >= 4 and min(widths) > 0.6 * max(widths)


def _same_baseline(a: Line, b: Line) -> bool:
    height = min(a.box[3] - a.box[1], b.box[3] - b.box[1])
    return a.upright and b.upright and abs((a.box[1] + a.box[3]) - (b.box[1] + b.box[3])) < height


def _merged(a: Line, b: Line) -> Line:
    main = a if len(a.text) >= len(b.text) else b
    return replace(main, box=union([a.box, b.box]), text=f"{a.text} {b.text}", block=a.block, bold=a.bold and b.bold)


def make_blocks(lines: Sequence[Line], style: BodyStyle) -> list[Block]:
    """Paragraphs, headings and captions of a page's free lines, in no particular order."""
    groups: list[list[Line]] = []
    for line in join_rows(lines):
        if groups and _continues(groups[-1], line):
            groups[-1].append(line)
        else:
            groups.append([line])
    blocks = []
    for group in groups:
        blocks += _by_kind(group, style)
    return _with_caption_titles(blocks)


def _continues(group: Sequence[Line], line: Line) -> bool:
    """Whether a line stands in the same paragraph or list item as those before it."""
    last = group[-1]
    if line.upright != last.upright:
        return False
    gap = line.box[1] - last.box[3]
    if line.block != last.block and not _follows(group, line, gap):
        return False
    if not line.upright:
        return True
    if x_overlap(last.box, line.box) <= 0 or gap > 0.9 * line.size or gap < -1.5 * line.size:
        return False
    bullet = _BULLET_START.match(line.text)
    if bullet and (not bullet[1][-1].isascii() or last.text[-1] in ".:;!?" or _BULLET_START.match(group[0].text)):
        return False
    if last.text[-1:] == ":" and len(last.text) < 45:
        return False
    indent = line.box[0] - min(li.box[0] for li in group)
    ended = last.text[-1] in '.!?:;”")'
    short = last.box[2] < max(li.box[2] for li in group) - 2 * line.size
    return not (ended and ((len(group) > 1 and indent > 0.7 * line.size) or (short and indent > 0.5)))


def _follows(group: Sequence[Line], line: Line, gap: float) -> bool:
    """Whether a line of another MuPDF block still is the next one of the paragraph: size, spacing and edge fit."""
    last = group[-1]
    if not line.upright or abs(line.size - last.size) > 0.6 or line.bold != last.bold:
        return False
    pitch = line.box[1] - last.box[1]
    if len(group) > 1 and abs(pitch - (last.box[1] - group[-2].box[1])) > 0.25 * line.size:
        return False
    edge = abs(line.box[0] - last.box[0]) < 0.7 * line.size or bool(_BULLET_START.match(group[0].text))
    running = last.text[-1] not in ".:!?" and line.text[:1].islower()
    return -0.6 * line.size < gap < 0.5 * line.size and (edge or running) and (running or len(last.text) > 30)


def _by_kind(group: list[Line], style: BodyStyle) -> list[Block]:
    """A group cut where headings begin and end."""
    out: list[Block] = []
    if CAPTION.match(group[0].text) and sum(len(li.text) for li in group) < 900:
        return [Block("caption", group, union(li.box for li in group))]
    run: list[Line] = []
    was = False
    for i, line in enumerate(group):
        heading = style.is_heading(line, i == 0 or was or group[i - 1].text[-1] in ".!?")
        if run and heading != was:
            out.append(_block("heading" if was else "text", run))
            run = []
        run.append(line)
        was = heading
    out.append(_block("heading" if was else "text", run))
    return out


def _block(kind: Literal["text", "heading"], lines: list[Line]) -> Block:
    if kind == "heading" and sum(len(li.text) for li in lines) > 200:
        kind = "text"
    return Block(kind, lines, union(li.box for li in lines))


def _with_caption_titles(blocks: list[Block]) -> list[Block]:
    """A caption that is only its number ("Table 1.") takes the title on the next lines."""
    out: list[Block] = []
    for block in blocks:
        last = out[-1] if out else None
        if last is not None and last.kind == "caption" and is_bare_caption(last.text) and block.kind != "caption":
            gap = block.box[1] - last.box[3]
            if -block.size < gap < 1.5 * block.size and x_overlap(last.box, block.box) > 0:
                out[-1] = Block("caption", last.lines + block.lines, union([last.box, block.box]))
                continue
        out.append(block)
    return out


def is_bare_caption(text: str) -> bool:
    """Whether a caption is only its number: "Table 1."."""
    return bool(CAPTION.match(text)) and len(text.split()) <= 2


def continues_sentence(a: Block, b: Block) -> bool:
    """Whether a paragraph goes on in the next block of the reading order (the next column)."""
    if a.kind != "text" or b.kind != "text" or abs(a.size - b.size) > 0.6:
        return False
    long = len(a.lines) >= 2 and len(a.lines[-1].text) > 15
    return long and b.text[:1].islower() and a.text[-1:] not in ".!?:;|"
