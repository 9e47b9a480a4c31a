"""Where the words of a quote stand in their page or picture: a tighter box than that of the whole passage.

Words come with boxes, from the text layer of a page or recognised in its picture. A quote is looked for letter by
letter first, blanks, punctuation and hyphens left out (a line may be broken anywhere); a row of a table by the row that
has most of its cells; what was recognised otherwise this time by the stretch of words that has most of it.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from sensorium.loaders.base import Word
from sensorium.nodes import Box, around
from sensorium.pipelines._extractive.quote import GAP

ENOUGH = 0.6
"""Share of a quote's letters that a stretch of words has to have."""
SHORT = 5
"""Letters below which a quote has to begin and end with whole words."""
SECOND_ROW = 6
"""Letters that a second line has to add to a row of a table: one that goes on below."""
_ROOM = 1.4  # a stretch of words may be this much longer than the quote: footnote marks, words read otherwise


def lines_of(quote: str, words: Sequence[Word]) -> tuple[Box, ...]:
    """Boxes of the lines on which a quote stands, in fractions of the page; empty when it is not found.

    Args:
        quote: As cited: gaps as " … ", cells of a table parted by "|".
        words: Of the cited region, in reading order.
    """
    known = [(word, letters) for word in words if (letters := _letters(word.text))]
    spelt, plain = [word for word, _ in known], [letters for _, letters in known]
    parts = [part for part in quote.split(GAP.strip()) if _letters(part)]
    found = dict.fromkeys(at for part in parts for at in _part(part, spelt, plain))
    return tuple(_lines(found, spelt))


def _part(part: str, words: Sequence[Word], letters: Sequence[str]) -> Sequence[int]:
    """Positions of the words of a part of the quote."""
    where = _exact(_tokens(part), letters)
    if where is None and "|" in part:
        # A cell is quoted as "header: cell"; the header stands elsewhere.
        cells = [cell.partition(": ")[2] or cell for cell in part.split("|")]
        where = _row(_tokens(" ".join(cells)), words, letters)
    if where is None:
        where = _nearly(_tokens(part), letters)
    return where or ()


def _tokens(text: str) -> list[str]:
    return [found for token in text.split() if (found := _letters(token))]


def _letters(text: str) -> str:
    """A text without blanks, punctuation and case."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def _exact(wanted: Sequence[str], letters: Sequence[str]) -> Sequence[int] | None:
    """Positions of the words that spell the quote."""
    whole, sought = "".join(letters), "".join(wanted)
    starts: list[int] = []
    length = 0
    for word in letters:
        starts.append(length)
        length += len(word)
    ends = [start + len(word) for start, word in zip(starts, letters, strict=True)]
    at = whole.find(sought)
    while at >= 0:
        if len(sought) >= SHORT or (at in starts and at + len(sought) in ends):
            return [i for i in range(len(letters)) if ends[i] > at and starts[i] < at + len(sought)]
        at = whole.find(sought, at + 1)
    return None


def _row(wanted: Sequence[str], words: Sequence[Word], letters: Sequence[str]) -> Sequence[int] | None:
    """Positions of the quote's words in the row (or two rows) of a table that has most of them."""
    rows = list(_rows(words))
    best: tuple[float, Sequence[int]] = (0.0, ())
    for first in range(len(rows)):
        for size in (1, 2):
            group = [at for row in rows[first : first + size] for at in row]
            matched = _matched(wanted, letters, group)
            score = sum(len(letters[at]) for at in matched) - (size - 1) * SECOND_ROW
            if score > best[0]:
                best = (score, matched)
    return best[1] if best[0] >= ENOUGH * sum(map(len, wanted)) else None


def _rows(words: Sequence[Word]) -> Iterator[list[int]]:
    """Positions of words that stand side by side, row by row."""
    row: list[int] = []
    for at in sorted(range(len(words)), key=lambda i: words[i].box[1] + words[i].box[3]):
        if row and not _beside(words[row[0]].box, words[at].box):
            yield sorted(row, key=lambda i: words[i].box[0])
            row = []
        row.append(at)
    if row:
        yield sorted(row, key=lambda i: words[i].box[0])


def _beside(one: Box, other: Box) -> bool:
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return shared > 0.5 * min(one[3] - one[1], other[3] - other[1])


def _matched(wanted: Sequence[str], letters: Sequence[str], among: Iterable[int]) -> list[int]:
    """Positions whose words are wanted, each as often as it is."""
    left = Counter(wanted)
    found = []
    for at in among:
        if left[letters[at]] > 0:
            left[letters[at]] -= 1
            found.append(at)
    return found


def _nearly(wanted: Sequence[str], letters: Sequence[str]) -> Sequence[int] | None:
    """Positions of the quote's words in the stretch that has most of them, in order."""
    room = min(len(letters), int(len(wanted) * _ROOM) + 1)
    starts = range(len(letters) - room + 1) if room else ()
    have = Counter(wanted)
    shared = [sum((Counter(letters[at : at + room]) & have).values()) for at in starts]
    if not shared:
        return None
    first = max(starts, key=shared.__getitem__)
    blocks = SequenceMatcher(None, letters[first : first + room], wanted, autojunk=False).get_matching_blocks()
    found = [first + block.a + i for block in blocks for i in range(block.size)]
    enough = sum(len(letters[at]) for at in found) >= ENOUGH * sum(map(len, wanted))
    return found if found and enough else None


def _lines(found: Iterable[int], words: Sequence[Word]) -> Iterator[Box]:
    """Boxes of found words, those of neighbours on a line joined."""
    line: list[Box] = []
    last = -1
    for at in found:
        box = words[at].box
        if line and not (at == last + 1 and _beside(line[-1], box) and box[0] >= line[-1][0]):
            yield around(line)
            line = []
        line.append(box)
        last = at
    if line:
        yield around(line)
