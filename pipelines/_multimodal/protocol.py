"""The form of a reply: a first line that says whether the sources tell the answer, then words with markers."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

_HEADER = re.compile(
    r"[*_`#>\"\s]*ANSWERABLE[*_`]*\s*[:=][*_`\s]*(yes|no)\b[*_`\"]*[ \t]*(?:[.,;:-][ \t]*)?(?:\n+|$|(?=[A-Z]))",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"\s*<think>.*?(?:</think>\s*|\Z)", re.IGNORECASE | re.DOTALL)
_HEADER_START = "answerable"
_HEADER_LONGEST = 40
_WIDE = str.maketrans("【】［］", "[][]")
_MARKER = re.compile(
    r"[ \t]*\[\s*(?:sources?|quellen?|refs?\.?)?\s*(\d{1,4}(?:\s*(?:,|;|&|and|[–-])\s*(?:source\s*)?\d{1,4})*)"
    r"(?:†[^\]]{0,60})?\s*\](?:\(\s*[^)\s]*\s*\))?",
    re.IGNORECASE,
)
_PLAIN_MARKER = re.compile(r"\[(\d{1,4})\]")
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)|<img\b[^>]*>", re.IGNORECASE)
_LINK = re.compile(r"\[([^\]]+)\]\(\s*(?:https?|ftp|file|javascript|data):[^)]*\)", re.IGNORECASE)
_HOLD = 200
"""Characters held back behind a "[" that may become a marker."""


@dataclass(frozen=True)
class Parsed:
    """A reply taken apart.

    Attributes:
        answerable: What its first line says; None when it says nothing (taken for an answer).
        text: The words, with markers "[n]" of known sources only.
        markers: Those in it, in order of first use.
        unknown: Numbers that were removed.
    """

    answerable: bool | None
    text: str
    markers: tuple[int, ...]
    unknown: tuple[int, ...] = field(default=())


def parse(reply: str, known: Collection[int]) -> Parsed:
    """Take a reply apart.

    Args:
        reply: As the model wrote it.
        known: Numbers of the sources that were sent.
    """
    answerable, body = split_header(reply)
    unknown: list[int] = []
    text = _clean(body, known, unknown)
    markers = tuple(dict.fromkeys(int(number) for number in _PLAIN_MARKER.findall(text)))
    return Parsed(answerable, text.strip(), markers, tuple(dict.fromkeys(unknown)))


def split_header(reply: str) -> tuple[bool | None, str]:
    """What the first line says, and the rest."""
    reply = without_thoughts(reply)
    found = _HEADER.match(reply)
    return (None, reply) if found is None else (found[1].lower() == "yes", reply[found.end() :])


def without_thoughts(reply: str) -> str:
    """A reply without what the model thought aloud before it."""
    return _THOUGHT.sub("", reply, count=1) if reply.lstrip()[:7].lower() == "<think>" else reply


def _clean(text: str, known: Collection[int], unknown: list[int]) -> str:
    """Markers in one form and only of known sources; no pictures, and no links that an application could follow."""
    text = _IMAGE.sub(r"\1", text).translate(_WIDE)

    def marker(found: re.Match[str]) -> str:
        numbers = list(dict.fromkeys(_numbers(found[1])))
        unknown.extend(n for n in numbers if n not in known)
        kept = "".join(f"[{n}]" for n in numbers if n in known)
        blank = found[0][: len(found[0]) - len(found[0].lstrip())]
        return (blank + kept) if kept else ""

    return _LINK.sub(r"\1", _MARKER.sub(marker, text))


def _numbers(listed: str) -> Iterable[int]:
    """The numbers of a list such as "1, 3-5"."""
    for part in re.split(r"\s*(?:,|;|&|and)\s*", listed, flags=re.IGNORECASE):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        if len(ends) == 2 and ends[0] < ends[1] <= ends[0] + 20:
            yield from range(ends[0], ends[1] + 1)
        else:
            yield from ends


class Gate:
    """Lets a stream's words through without the first line, and with markers of known sources only.

    Args:
        known: Numbers of the sources that were sent.
    """

    def __init__(self, known: Collection[int]) -> None:
        self._known = known
        self._held = ""
        self._in_header = True

    def push(self, piece: str) -> str:
        """Take in words; returns those that can be shown now."""
        self._held += piece
        if self._in_header and not self._header_done():
            return ""
        return self._let_through()

    def end(self) -> str:
        """The rest."""
        if self._in_header:
            self._held = split_header(self._held)[1].lstrip("\n")
        rest, self._held = _clean(self._held, self._known, []), ""
        return rest

    def _header_done(self) -> bool:
        if "<think>".startswith(self._held.lstrip()[:7].lower()) and "</think>" not in self._held:
            return False
        start = _THOUGHT.sub("", self._held, count=1) if "</think>" in self._held else self._held
        start = start.lstrip("*_`#> \n\t").lower()
        shared = min(len(start), len(_HEADER_START))
        may_come = start[:shared] == _HEADER_START[:shared]
        if may_come and "\n" not in start and len(start) < _HEADER_LONGEST:
            return False
        self._held = split_header(self._held)[1].lstrip("\n")
        self._in_header = False
        return True

    def _let_through(self) -> str:
        """Everything up to a bracket that may still become a marker or a link; blanks before it wait with it."""
        seen = self._held.translate(_WIDE)
        cut = len(seen)
        start = seen.rfind("[")
        if start >= 0 and cut - start <= _HOLD:
            end = seen.find("]", start)
            if end < 0 or end == cut - 1 or (seen[end + 1] == "(" and ")" not in seen[end:]):
                cut = start
        cut = len(seen[:cut].rstrip(" \t!"))
        ready, self._held = self._held[:cut], self._held[cut:]
        return _clean(ready, self._known, [])
