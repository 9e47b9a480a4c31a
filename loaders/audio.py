"""Sound recordings (WAV, MP3, Ogg, Opus, FLAC, M4A and what else FFmpeg decodes): what is said, tags and cover."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, ClassVar

from pydantic import Field

from sensorium.clock import clock
from sensorium.errors import EvidenceError, LoadError, SkippedError
from sensorium.loaders._media.about import about
from sensorium.loaders._media.cover import cover
from sensorium.loaders._media.probe import Media, probe
from sensorium.loaders._media.speech import CaptionMode, SpokenOptions, chosen, spoken, usable
from sensorium.loaders.base import Fault, Item, Limits, Loader, NodeMaker, Picture, SourceFile, Tools
from sensorium.nodes import Evidence


class AudioLoader(Loader):
    """Loads sound recordings.

    Yields `speech` nodes of about 20 to 60 s (and `caption` nodes from .srt and .vtt files of the same name or from
    tracks inside), a `text` node with its tags and chapters, and its cover as a `figure`.

    Args:
        stream: Which sound of several, from 1; null: the default one.
        captions: "auto": captions that are a transcript replace recognition; "both": recognise all the same; "off":
            look at none.
        language: Of the captions wanted, where there are several ("en").
    """

    name: ClassVar[str] = "audio"

    def __init__(
        self,
        stream: Annotated[int, Field(ge=1)] | None = None,
        captions: CaptionMode = "auto",
        language: str = "",
    ) -> None:
        self._spoken = SpokenOptions(stream, captions, language)

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read as a stream; memory does not grow with the length.

        Raises:
            LoadError: no recording, damaged, without sound, or beyond a limit.
            SkippedError: nothing is known of it without the extra [speech], which is not installed.
            ModelError: the speech engine cannot be reached.
        """
        media = probe(file.path, tools.limits)
        if chosen(media, self._spoken.stream) is None:
            raise LoadError("holds no sound that can be decoded")
        maker = NodeMaker(file, title=media.tags.get("title", ""))
        known = False
        if tags := about(media):
            known = True
            yield maker.text("text", tags, start_s=0.0, end_s=round(media.duration_s, 3))
        if media.cover is not None:
            yield from cover(media.cover, maker, tools)
        for item in spoken(file, media, tools, self._spoken, maker):
            if isinstance(item, Fault) and not known and _bare(item, tools):
                # A recording of which nothing is known is not stored as if it had been read.
                raise SkippedError(item.reason)
            known = known or _is_node(item)
            yield item
        if not known:
            yield Fault("no speech was found in it")
            yield maker.text("text", _unspoken(media, file), start_s=0.0, end_s=round(media.duration_s, 3))

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The level of the sound around the evidence, drawn over time; the cover for evidence of the cover.

        Raises:
            EvidenceError: nothing there can be decoded.
        """
        from sensorium.loaders._media.cover import cover_picture
        from sensorium.loaders._media.waveform import waveform

        media = self._probed(file)
        if evidence.kind in ("figure", "ocr") and media.cover is not None:
            return cover_picture(media.cover, evidence)
        return waveform(file.path, *_span(evidence, media), media, chosen(media, self._spoken.stream))

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The sound of the evidence's seconds, as M4A.

        Raises:
            EvidenceError: nothing there can be decoded.
        """
        from sensorium.loaders._media.clips import clip

        media = self._probed(file)
        return clip(file.path, *_span(evidence, media), media, sound=chosen(media, self._spoken.stream))

    def _probed(self, file: SourceFile) -> Media:
        try:
            media = probe(file.path, Limits(media_hours=1000))
            chosen(media, self._spoken.stream)
        except LoadError as fault:
            raise EvidenceError(f"{file.source} {fault.message}", fault.hint) from fault
        return media


def _bare(fault: Fault, tools: Tools) -> bool:
    refused = usable(tools)
    return isinstance(refused, Fault) and refused.reason == fault.reason


def _is_node(item: Item) -> bool:
    from llama_index.core.schema import TextNode

    return isinstance(item, TextNode)


def _span(evidence: Evidence, media: Media) -> tuple[float, float]:
    start = evidence.start_s or 0.0
    return start, evidence.end_s if evidence.end_s is not None else media.duration_s


def _unspoken(media: Media, file: SourceFile) -> str:
    """What can be said of a recording in which nobody speaks: people name their files."""
    words = re.sub(r"[\W_]+", " ", PurePosixPath(file.source).stem).strip()
    return f"{words}: sound of {clock(media.duration_s)} without speech".removeprefix(": ")
