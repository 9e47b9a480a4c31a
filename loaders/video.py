"""Video recordings: scenes with their pictures and the text on the screen, and what is said."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Literal

from llama_index.core.schema import TextNode
from pydantic import Field

from sensorium.clock import clock
from sensorium.errors import EvidenceError, LoadError
from sensorium.loaders._media.about import about
from sensorium.loaders._media.cover import cover
from sensorium.loaders._media.frames import Damage, Film, check_pixels
from sensorium.loaders._media.passages import chapter_at
from sensorium.loaders._media.probe import Media, VideoStream, probe
from sensorium.loaders._media.reel import Frames, Reel
from sensorium.loaders._media.scenes import Scene
from sensorium.loaders._media.screen_text import joined_text
from sensorium.loaders._media.shown import shown_clip, shown_picture
from sensorium.loaders._media.speech import CaptionMode, SpokenOptions, chosen, spoken
from sensorium.loaders.audio import AudioLoader
from sensorium.loaders.base import (
    Advance,
    Fault,
    Item,
    Limits,
    Loader,
    NodeMaker,
    OcrEngine,
    Picture,
    SourceFile,
    Tools,
    Word,
)  # fmt: skip
from sensorium.nodes import FULL, Evidence
from sensorium.speech_types import pack_words, word_times

_SAID = 2000  # characters of what is said that a scene carries
_MISSED_S = 2.0  # of the end that may be missing before it is worth a word


class VideoLoader(Loader):
    """Loads video recordings.

    Yields `scene` nodes (a picture each, with the text on the screen), `speech` and `caption` nodes, a `text` node
    with tags and chapters, and the cover as a `figure`. A scene's text is what is shown in it and when (key `words`);
    what is said meanwhile stands in its key `said`, which is neither embedded nor searched, so that a search for
    spoken words finds the speech and not the scene as well. Speech names the scene that is shown with it in `at_s`
    and `asset`. A recording without moving pictures is read as sound.

    Args:
        frames: "scenes": one picture a scene; "keyframes": those that the encoder made whole; `{every_s: N}`: one
            every N seconds. The latter two are `frame` nodes that last until the next one.
        max_scene_s: Seconds after which a scene is cut where no cut is.
        stream: Which moving pictures of several, from 1; null: the default ones, of several the largest.
        sound: Which sound of several, from 1; null: the default one.
        captions: "auto": captions that are a transcript replace recognition; "both": recognise all the same; "off":
            look at none.
        language: Of the captions wanted, where there are several ("en").
        ocr: "auto" reads the text on the screen, "off" does not.
        picture_px: Longer side of the pictures that are kept.
    """

    name: ClassVar[str] = "video"

    def __init__(
        self,
        frames: Literal["scenes", "keyframes"] | dict[Literal["every_s"], Annotated[float, Field(gt=0)]] = "scenes",
        max_scene_s: Annotated[float, Field(ge=1)] = 60,
        stream: Annotated[int, Field(ge=1)] | None = None,
        sound: Annotated[int, Field(ge=1)] | None = None,
        captions: CaptionMode = "auto",
        language: str = "",
        ocr: Literal["auto", "off"] = "auto",
        picture_px: Annotated[int, Field(ge=64, le=4096)] = 1280,
    ) -> None:
        every = frames["every_s"] if isinstance(frames, dict) else None
        mode: Literal["scenes", "keyframes", "every"] = "every" if isinstance(frames, dict) else frames
        self._frames = Frames(mode, every, max_scene_s, picture_px)
        self._stream, self._ocr = stream, ocr
        self._spoken = SpokenOptions(sound, captions, language)
        self._as_sound = AudioLoader(sound, captions, language)

    def load(self, file: SourceFile, tools: Tools) -> Iterator[Item]:
        """Read as a stream; memory does not grow with the length.

        Raises:
            LoadError: no recording, damaged, or beyond a limit.
            SkippedError: there are no pictures, and nothing is known of the sound without the extra [speech].
            ModelError: the speech engine cannot be reached.
        """
        media = probe(file.path, tools.limits)
        video = moving(media, self._stream)
        if video is None:
            yield from self._as_sound.load(file, tools)
            return
        maker = NodeMaker(file, title=media.tags.get("title", ""))
        if words := about(media):
            yield maker.text("text", words, start_s=0.0, end_s=round(media.duration_s, 3))
        if media.cover is not None:
            yield from cover(media.cover, maker, tools)
        film, shown = Film(file.path, media, video), _Shown()
        try:
            check_pixels(film, tools.limits)
            yield from self._look(film, file, tools, shown)
        except LoadError as fault:
            if not media.sounds:
                raise
            yield Fault(str(fault), "pictures")
        yield from self._listen(file, media, tools, maker, shown)
        yield from self._scene_nodes(film, shown, maker)

    def _look(self, film: Film, file: SourceFile, tools: Tools, shown: "_Shown") -> Iterator[Item]:
        """Find the scenes."""
        ocr = None if self._ocr == "off" else tools.ocr
        if ocr is None:
            yield Fault("text on the screen was not read: OCR is switched off")
        damage = Damage()
        total = film.media.duration_s
        for item in Reel(film, file.sha256, self._frames, ocr, tools.parts).scenes(damage):
            if isinstance(item, Advance):
                # Looking is the first half of the work, listening the second.
                yield Advance(min(item.done_s, total) / 2, total)
                continue
            asset = tools.assets.put(item.picture, ".jpg") if tools.assets else ""
            shown.add(item, asset, tools.assets.path(asset) if tools.assets else "")
        yield from damage.faults()
        yield from _missing(film, shown)

    def _listen(self, file: SourceFile, media: Media, tools: Tools, maker: NodeMaker,
                shown: "_Shown") -> Iterator[Item]:  # fmt: skip
        """What is said, with what is shown meanwhile."""
        if not media.sounds and not media.captions and self._spoken.captions == "off":
            return
        total = media.duration_s
        for item in spoken(file, media, tools, self._spoken, maker):
            if isinstance(item, Advance):
                yield Advance((total + min(item.done_s, total)) / 2, total)
                continue
            if isinstance(item, TextNode):
                shown.align(item)
            yield item

    def _scene_nodes(self, film: Film, shown: "_Shown", maker: NodeMaker) -> Iterator[Item]:
        title, named = maker.title, False
        for index, kept in enumerate(shown.kept):
            # Of scenes without words the first is found by the name of the recording; not all of them.
            named_here = not kept.text and not named and bool(title or _file_words(maker.file.source))
            maker.title = title if kept.text else (title or _file_words(maker.file.source)) if named_here else ""
            named = named or named_here
            yield maker.picture(
                "scene" if self._frames.mode == "scenes" else "frame", kept.text, image_path=kept.path,
                asset=kept.asset, section=chapter_at(film.media.chapters, kept.at_s),
                bbox=FULL if kept.text or named_here else None, start_s=kept.start_s, end_s=kept.end_s,
                at_s=kept.at_s, width=kept.width, height=kept.height, words=kept.words, ocr_score=kept.score,
                said=shown.said(index), stream=_number(film),
            )  # fmt: skip
        maker.title = title

    def picture(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The picture on show in the middle of the evidence's time, at full size; the cover for evidence of it.

        Raises:
            EvidenceError: nothing there can be decoded.
        """
        if evidence.start_s is None:
            return self._as_sound.picture(file, evidence)
        media = self._probed(file)
        sound = chosen(media, self._spoken.stream)
        return shown_picture(file, evidence, moving(media, self._stream), sound)

    def clip(self, file: SourceFile, evidence: Evidence) -> Picture:
        """The evidence's seconds, as MP4.

        Raises:
            EvidenceError: nothing there can be decoded.
        """
        media = self._probed(file)
        return shown_clip(file, evidence, moving(media, self._stream), chosen(media, self._spoken.stream))

    def words(self, file: SourceFile, evidence: Evidence, ocr: OcrEngine | None = None) -> list[Word]:
        """Lines on the screen with their boxes; see `Loader.words`."""
        if ocr is None or evidence.kind not in ("scene", "frame"):
            return []
        import io

        from PIL import Image

        with Image.open(io.BytesIO(self.picture(file, evidence).data)) as shown:
            return [Word(line.text, line.box) for line in ocr.read(shown)]

    def _probed(self, file: SourceFile) -> Media:
        try:
            return probe(file.path, Limits(media_hours=1000))
        except LoadError as fault:
            raise EvidenceError(f"{file.source} {fault.message}", fault.hint) from fault


def moving(media: Media, number: int | None = None) -> VideoStream | None:
    """The pictures to take: those with this number, from 1, else the default ones, of several the largest.

    Raises:
        LoadError: there are none with this number.
    """
    if number is not None:
        if not 1 <= number <= len(media.pictures):
            raise LoadError(f"has {len(media.pictures)} streams of moving pictures, not {number} (option stream)")
        return media.pictures[number - 1]
    marked = [video for video in media.pictures if video.default] or list(media.pictures)
    return max(marked, key=lambda video: video.width * video.height, default=None)


@dataclass(slots=True)
class _Kept:
    """A scene without its picture, which is an asset."""

    start_s: float
    end_s: float
    at_s: float
    text: str
    words: str
    score: float | str
    width: int
    height: int
    asset: str
    path: str


@dataclass
class _Shown:
    """The scenes of a recording and what is said during each."""

    kept: list[_Kept] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    _said: dict[str, dict[int, list[str]]] = field(default_factory=lambda: {"speech": {}, "caption": {}})

    def add(self, scene: Scene, asset: str, path: str) -> None:
        """Take the next scene."""
        start, end, at = round(scene.start_s, 3), round(scene.end_s, 3), round(scene.at_s, 3)
        text, times = joined_text(scene.texts)
        score = round(sum(t.score for t in scene.texts) / len(scene.texts), 3) if scene.texts else ""
        words = pack_words(times, start) if times else ""
        self.kept.append(_Kept(start, end, at, text, words, score, scene.width, scene.height, asset, path))
        self.starts.append(start)

    def at(self, time_s: float) -> int | None:
        """Index of the scene on show at a time."""
        if not self.kept or time_s < self.starts[0]:
            return None
        index = bisect_right(self.starts, time_s) - 1
        return index if time_s < self.kept[index].end_s + 0.05 else None

    def align(self, node: TextNode) -> None:
        """Note what a node says for the scenes, and on the node which scene is shown longest meanwhile."""
        said = self._said.get(str(node.metadata.get("kind")))
        start, end = node.metadata.get("start_s"), node.metadata.get("end_s")
        if said is None or not isinstance(start, int | float) or not isinstance(end, int | float):
            return
        for first, last, begin, until in word_times(node) or [(0, len(node.text), start, end)]:
            index = self.at((begin + until) / 2)
            if index is not None:
                said.setdefault(index, []).append(node.text[first:last])
        longest = self._longest(start, end)
        if longest is not None:
            more = {"at_s": longest.at_s} | ({"asset": longest.asset} if longest.asset else {})
            node.metadata |= more
            for hidden in (node.excluded_embed_metadata_keys, node.excluded_llm_metadata_keys):
                hidden.extend(key for key in more if key not in hidden)

    def _longest(self, start: float, end: float) -> _Kept | None:
        first = max(0, bisect_right(self.starts, start) - 1)
        met = [kept for kept in self.kept[first : bisect_right(self.starts, end)] if kept.end_s > start]
        return max(met, key=lambda kept: min(kept.end_s, end) - max(kept.start_s, start), default=None)

    def said(self, index: int) -> str:
        """What is said during a scene: recognised speech, else captions."""
        words = self._said["speech"].get(index) or self._said["caption"].get(index) or []
        return " ".join(words)[:_SAID]


def _missing(film: Film, shown: _Shown) -> Iterator[Fault]:
    if not shown.kept:
        yield Fault("it holds no picture that can be decoded", "pictures")
    elif film.end_s - shown.kept[-1].end_s > max(_MISSED_S, 0.02 * film.end_s):
        end, claimed = clock(shown.kept[-1].end_s), clock(film.end_s)
        yield Fault(f"they end at {end}, though the file says {claimed}: cut off or damaged", "pictures")


def _number(film: Film) -> int | str:
    """Which pictures they are, where there are several."""
    pictures = film.media.pictures
    return pictures.index(film.video) + 1 if len(pictures) > 1 else ""


def _file_words(source: str) -> str:
    return re.sub(r"[\W_]+", " ", PurePosixPath(source).stem).strip()
