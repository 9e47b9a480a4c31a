"""Passages of speech: sentences packed into nodes of about 20 to 60 s, cut at pauses, chapters and speakers."""

from collections.abc import Iterable, Iterator, Sequence

from sensorium.loaders._media.probe import Chapter
from sensorium.loaders.base import Item, NodeMaker
from sensorium.nodes import Kind
from sensorium.speech_types import Segment, Timed, pack_words

LONG_S = 60.0
ENOUGH_S = 20.0  # from here on a passage ends where a sentence ends before a pause,
FULL_S = 40.0  # and from here on where any sentence ends
_PAUSE_S = 0.7
_SILENCE_S = 6.0  # ends a passage of any length
_MOST_LETTERS = 800  # about 180 tokens: an embedder reads it whole, and the splitter leaves it alone
_ENDS = (".", "?", "!", "…", "。", "？", "！")


class Packer:
    """Gathers segments into runs for one node each.

    Args:
        chapters: A passage lies in one of them.
    """

    def __init__(self, chapters: Sequence[Chapter] = ()) -> None:
        self._chapters = chapters
        self._run: list[Segment] = []

    def add(self, segment: Segment) -> Iterator[list[Segment]]:
        """Take the next segment; gives the run that ends before it."""
        if self._run and _ends(self._run, segment, self._chapters):
            yield from self.flush()
        self._run.append(segment)

    def flush(self) -> Iterator[list[Segment]]:
        """The last run."""
        run, self._run = self._run, []
        if run:
            yield run


def passages(segments: Iterable[Segment], chapters: Sequence[Chapter] = ()) -> Iterator[list[Segment]]:
    """Runs of segments for one node each.

    Args:
        segments: In order of time.
        chapters: A passage lies in one of them.
    """
    packer = Packer(chapters)
    for segment in segments:
        yield from packer.add(segment)
    yield from packer.flush()


def passage_node(kind: Kind, run: Sequence[Segment], chapters: Sequence[Chapter], maker: NodeMaker,
                 end_s: float, *, stream: int | str = "", captions: str = "",
                 transcript: bool | str = "") -> Item:  # fmt: skip
    """The node of a passage: its text with the times of its words (of its segments, where words have none).

    Args:
        kind: "speech" or "caption".
        run: A passage.
        chapters: Those of the recording; the title is the node's section.
        maker: Of the source.
        end_s: Where the recording ends, at most.
        stream: Number of the sound among several; "" where there is one.
        captions: Where captions come from.
        transcript: Whether captions write down what is said.
    """
    start = round(min(max(0.0, run[0].start_s), end_s), 3)
    end = round(min(max(segment.end_s for segment in run), end_s), 3)
    text, times = _timed(run)
    languages = sorted({segment.language for segment in run if segment.language})
    score = round(sum(s.score for s in run) / len(run), 3) if kind == "speech" else ""
    return maker.text(
        kind, text, section=chapter_at(chapters, start), start_s=start, end_s=max(start, end),
        words=pack_words(times, start), language=",".join(languages), speaker=run[0].speaker, speech_score=score,
        stream=stream, captions=captions, transcript=transcript,
    )  # fmt: skip


def chapter_at(chapters: Sequence[Chapter], at_s: float) -> str:
    """Title of the chapter in which a time lies; empty where there is none."""
    return next((c.title for c in chapters if c.start_s - 0.05 <= at_s < c.end_s), "")


def _ends(run: Sequence[Segment], following: Segment, chapters: Sequence[Chapter]) -> bool:
    last, start = run[-1], run[0].start_s
    length = last.end_s - start
    letters = sum(len(segment.text) + 1 for segment in run)
    gap = following.start_s - last.end_s
    if following.end_s - start > LONG_S or letters + len(following.text) > _MOST_LETTERS or gap >= _SILENCE_S:
        return True
    if following.speaker != last.speaker and length >= ENOUGH_S / 4:
        return True
    if chapter_at(chapters, following.start_s) != chapter_at(chapters, start):
        return True
    whole = last.text.rstrip("\"'”’»)").endswith(_ENDS)
    return whole and (length >= FULL_S or (length >= ENOUGH_S and gap >= _PAUSE_S))


def _timed(run: Sequence[Segment]) -> tuple[str, list[Timed]]:
    text, times = "", list[Timed]()
    for segment in run:
        text += " " if text else ""
        times += _places(segment, len(text))
        text += segment.text
    return text, times


def _places(segment: Segment, first: int) -> list[Timed]:
    found: list[Timed] = []
    at = 0
    for word in segment.words:
        place = segment.text.find(word.text, at)
        if place >= 0:
            at = place + len(word.text)
            found.append((first + place, first + at, word.start_s, word.end_s))
    return found or [(first, first + len(segment.text), segment.start_s, segment.end_s)]
