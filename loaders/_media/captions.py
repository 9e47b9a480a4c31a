"""Captions of a recording: files beside it (.srt, .vtt) and tracks inside it.

Subtitle files are of all makes: what cannot be read is left out and counted, what can be read is used.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sensorium.errors import LoadError
from sensorium.languages import language_code
from sensorium.loaders._media.probe import CaptionStream, Media, open_media
from sensorium.loaders.sniff import text_encoding

SUFFIXES = (".vtt", ".srt")
_MOST_BYTES = 32 << 20
_MOST_CUES = 200_000
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-{{1,2}}>\s*{_TIME}(?:\s.*)?$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]*)>")
_MARKS = re.compile(r"<[^>\n]{0,200}>|\{\\[^}\n]{0,200}\}")
_STRETCH_S = 0.5  # a caption may start this long after the recording's end, as headers round
_FEWEST_LETTERS_S = 4.0  # letters a second of captions that write down speech; people speak 10-20
_COVERED = 0.6  # share of the recording that they cover, pauses of up to 2 s counted in
_BREATH_S = 2.0


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: when it is shown and what it says; `speaker` where the file tells."""

    start_s: float
    end_s: float
    text: str
    speaker: str = ""


@dataclass(frozen=True)
class Captions:
    """The captions of a recording.

    Attributes:
        cues: In order of time, within the recording.
        origin: Where they come from: name of the file, or "track 3".
        language: ISO 639-1 code; empty when unknown.
        faults: What could not be used, and why.
    """

    cues: tuple[Cue, ...] = ()
    origin: str = ""
    language: str = ""
    faults: tuple[str, ...] = field(default=())

    def covers(self, duration_s: float) -> bool:
        """Whether they cover a recording so densely that they must be what is said in it."""
        letters = sum(sum(c.isalnum() for c in cue.text) for cue in self.cues)
        shown = sum(cue.end_s - cue.start_s for cue in self.cues)
        covered = _covered(self.cues)
        return shown > 0 and letters / shown >= _FEWEST_LETTERS_S and covered >= _COVERED * duration_s

    def writes_down(self, words: Sequence[tuple[str, float]]) -> bool:
        """Whether they are a transcript of recognised words, given as (word, seconds).

        Nearly all words must fall into a caption, and half of the words of those captions be among them: descriptions
        and translations fall into place, but with other words.
        """
        if not words or not self.cues:
            return False
        inside = [word for word, at in words if any(c.start_s - 1 <= at <= c.end_s + 1 for c in self.cues)]
        said = {plain for word in inside if (plain := _plain(word))}
        written = {plain for cue in self.cues for word in cue.text.split() if (plain := _plain(word))}
        return len(inside) >= 0.8 * len(words) and len(said & written) >= 0.5 * len(said)


def captions_of(path: Path, media: Media, language: str = "") -> Captions:
    """The captions of a recording: a file beside it, else a track of text inside it.

    Args:
        path: The recording.
        media: What is in it.
        language: The language wanted, where there are several; by default that of the sound.
    """
    wanted = language_code(language or (media.sound.language if media.sound else ""))
    faults: list[str] = []
    for beside in _ranked(sidecars(path), wanted):
        try:
            cues, bad = read_file(beside)
        except (LoadError, OSError) as fault:
            faults.append(f"captions {beside.name}: {fault}")
            continue
        if bad:
            faults.append(f"captions {beside.name}: {bad} without a time that can be read were left out")
        found = _within(Captions(tuple(cues), beside.name, _named_language(path, beside)), media.duration_s)
        if found.cues:
            return replace(found, faults=(*faults, *found.faults))
        faults += found.faults or (f"captions {beside.name}: holds no caption",)
    for track in _best_tracks(media.captions, wanted):
        cues = _track(path, media, track, faults)
        found = _within(Captions(tuple(cues), f"track {track.index}", language_code(track.language)), media.duration_s)
        if found.cues:
            return replace(found, faults=(*faults, *found.faults))
        faults += found.faults
    return Captions(faults=tuple(faults))


def sidecars(path: Path) -> list[Path]:
    """Caption files beside a recording: its name with .srt or .vtt, perhaps with a language ("talk.en.srt")."""
    found = []
    try:
        entries = list(path.parent.iterdir())
    except OSError:
        return []
    for entry in entries:
        if entry.suffix.lower() in SUFFIXES and same_name(path, entry) and entry.is_file():
            found.append(entry)
    return sorted(found, key=lambda entry: (len(entry.name), SUFFIXES.index(entry.suffix.lower()), entry.name))


def read_file(path: Path) -> tuple[list[Cue], int]:
    """The captions of an .srt or .vtt file, and how many of them had no time that can be read.

    Raises:
        LoadError: it is too large, or no text.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise LoadError(f"is larger than {_MOST_BYTES >> 20} MB")
    encoding = text_encoding(data) if data else "utf-8"
    if encoding is None:
        raise LoadError("is binary, not text")
    return parse(data.decode(encoding, "replace").lstrip("\ufeff"))


def parse(text: str) -> tuple[list[Cue], int]:
    """Captions of SubRip or WebVTT text, in order of time, and the number of those without a valid time."""
    cues: list[Cue] = []
    bad = 0
    for block in re.split(r"\n[^\S\n]*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        at = next((n for n, line in enumerate(lines[:3]) if "->" in line), None)
        if at is None:
            continue  # a header, a style, a note
        times = _timing(lines[at])
        if times is None:
            bad += 1
            continue
        said = "\n".join(lines[at + 1 :])
        voice = _VOICE.search(said)
        if (words := _clean(said)) and len(cues) < _MOST_CUES:
            cues.append(Cue(*times, words, " ".join(voice[1].split()) if voice else ""))
    return _unrolled(sorted(cues, key=lambda cue: cue.start_s)), bad


def _timing(line: str) -> tuple[float, float] | None:
    found = _TIMING.match(line)
    if found is None:
        return None
    start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:])
    return (start, end) if end > start else None


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


def _clean(text: str) -> str:
    """Words of a caption, in lines, without marks of style."""
    plain = html.unescape(_MARKS.sub("", text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")))
    lines = (" ".join(line.replace("\0", " ").split()) for line in plain.split("\n"))
    return "\n".join(line for line in lines if line)


def _unrolled(cues: Iterable[Cue]) -> list[Cue]:
    """Captions without the lines that roll up: repeated from the caption that was shown until then."""
    kept: list[Cue] = []
    shown: list[str] = []
    until = -1.0
    for cue in cues:
        lines = cue.text.split("\n")
        fresh = [line for line in lines if line not in shown] if cue.start_s <= until + 0.1 else lines
        if fresh:
            kept.append(replace(cue, text=" ".join(fresh)))
        shown, until = lines, cue.end_s
    return kept


def _within(captions: Captions, duration_s: float) -> Captions:
    """Captions inside the recording; those that run over its end are cut there."""
    if not duration_s or not captions.cues:
        return captions
    kept = [cue for cue in captions.cues if cue.start_s < max(duration_s - 0.05, 0.05)]
    beyond = len(captions.cues) - len(kept)
    faults = captions.faults
    if beyond:
        faults = (*faults, f"captions {captions.origin}: {beyond} beyond the end of the recording were left out")
    cut = tuple(replace(cue, end_s=min(cue.end_s, duration_s)) for cue in kept)
    return replace(captions, cues=cut, faults=faults)


def _covered(cues: Sequence[Cue]) -> float:
    """Seconds from each caption to the next, where the break is only a breath."""
    total, end = 0.0, 0.0
    for cue in cues:
        start = end if 0 <= cue.start_s - end <= _BREATH_S else max(cue.start_s, end)
        total += max(0.0, cue.end_s - start)
        end = max(end, cue.end_s)
    return total


def same_name(recording: Path, entry: Path) -> bool:
    """Whether a caption file has the name of a recording, perhaps with a language behind it."""
    stem, own = entry.stem.casefold(), recording.stem.casefold()
    return stem == own or bool(re.fullmatch(re.escape(own) + r"\.[a-z]{2,3}(?:[-_][a-z0-9]{2,4})?(?:\.\w+)?", stem))


def _named_language(recording: Path, entry: Path) -> str:
    return language_code(entry.stem[len(recording.stem) :].strip(".").split(".")[0])


def _ranked(found: Sequence[Path], wanted: str) -> list[Path]:
    """Those in the wanted language first, then those that name none."""

    def rank(entry: Path) -> int:
        languages = [language_code(part) for part in entry.stem.split(".")[1:]]
        return 0 if wanted and wanted in languages else 1 if not any(languages) else 2

    return sorted(found, key=rank)


def _best_tracks(tracks: Sequence[CaptionStream], wanted: str) -> list[CaptionStream]:
    return sorted(tracks, key=lambda t: (language_code(t.language) != wanted, not t.default, t.index))


def _track(path: Path, media: Media, track: CaptionStream, faults: list[str]) -> list[Cue]:
    """Captions of a track; pictures of text are not read."""
    import av

    cues: list[Cue] = []
    pictures = 0
    try:
        with open_media(path) as container:
            for packet in container.demux(container.streams[track.index]):
                for text in _texts(packet):
                    if text is None:
                        pictures += 1
                    elif packet.pts is not None and packet.duration and (words := _clean(text)):
                        start = float(packet.pts * packet.time_base) - media.start_s
                        end = start + float(packet.duration * packet.time_base)
                        cues.append(Cue(max(0.0, start), max(0.0, end), words))
    except (av.error.FFmpegError, LoadError, OSError) as fault:
        faults.append(f"captions in track {track.index} break off: {fault}")
    if pictures:
        faults.append(f"captions in track {track.index} are pictures of text ({track.codec}) and were not read")
    return _unrolled(sorted(cues, key=lambda cue: cue.start_s))


def _texts(packet: Any) -> Iterator[str | None]:
    """Texts in a packet; None for a picture."""
    for subtitle in packet.decode() if packet.size else ():
        for rect in getattr(subtitle, "rects", None) or [subtitle]:
            words = getattr(rect, "dialogue", None) or getattr(rect, "text", None)
            if words is None and getattr(rect, "ass", None) is None:
                yield None
            elif words:
                yield words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)


def _plain(word: str) -> str:
    return "".join(c for c in word.casefold() if c.isalnum())
