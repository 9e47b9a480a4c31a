"""The pictures of evidence: which are worth sending, drawn once, and no larger than they need to be."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

from sensorium.errors import SensoriumError
from sensorium.nodes import Evidence
from sensorium.pipelines.results import Hit, PictureOf

Role = Literal["crop", "slide", "page", "photo"]
Choice = Literal["auto", "all", "off"]

LONGEST: Mapping[Role, int] = {"crop": 1024, "photo": 1280, "slide": 1280, "page": 1600}
"""Longest side in pixels: at 1600 the text of an A4 page is legible, a crop shows less and needs less."""
_SEEN_KINDS = frozenset({"table", "figure", "page", "slide", "ocr", "frame", "scene", "caption"})
_NEARLY_ALL = 0.8
_AS_IS = frozenset({"JPEG", "PNG"})
_MOST_BYTES = 4_000_000
_CACHE_BYTES = 64_000_000
_THREADS = 2


@dataclass(frozen=True)
class Wanted:
    """A picture that would help.

    Attributes:
        index: Position of the hit it belongs to.
        urgency: 0 crops and photographs, 1 slides, 2 pages around a crop.
        role: What it shows.
        evidence: What to draw.
        metadata: Of the hit's node.
    """

    index: int
    urgency: int
    role: Role
    evidence: Evidence
    metadata: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def place(self) -> tuple[Any, ...]:
        """The same for pictures that show the same."""
        e = self.evidence
        return (e.sha256, e.page, e.slide, e.bbox and tuple(round(v, 3) for v in e.bbox), e.start_s, self.role)


@dataclass(frozen=True)
class Prepared:
    """A picture ready to be sent.

    Attributes:
        data: Encoded, PNG or JPEG.
        media_type: "image/png" or "image/jpeg".
        size: Width and height in pixels.
        role: What it shows.
        note: A word of caution from the loader.
        digest: SHA-256 of the data.
    """

    data: bytes = field(repr=False)
    media_type: str
    size: tuple[int, int]
    role: Role
    note: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Chosen:
    """Pictures by position of their hit, hits shown by another's picture, and what could not be drawn or sent."""

    pictures: Mapping[int, tuple[Prepared, ...]]
    shown_with: Mapping[int, int]
    problems: tuple[str, ...]
    left_out: int = 0


def wanted(hits: Sequence[Hit], choice: Choice) -> list[Wanted]:
    """The pictures that hits call for, most urgent first, then by rank."""
    if choice == "off":
        return []
    found = [one for index, hit in enumerate(hits) for one in _of_hit(index, hit, choice)]
    return sorted(found, key=lambda one: (one.urgency, one.index))


def _of_hit(index: int, hit: Hit, choice: Choice) -> Iterable[Wanted]:
    evidence, metadata = hit.evidence, hit.node.metadata
    whole = evidence.model_copy(update={"bbox": None})
    if evidence.media_type.startswith("image/"):
        yield Wanted(index, 0, "photo", whole, metadata)
    elif evidence.slide is not None:
        if evidence.kind in ("table", "figure") and _is_part(evidence):
            yield Wanted(index, 0, "crop", evidence, metadata)
        yield Wanted(index, 1, "slide", whole, metadata)
    elif evidence.start_s is not None and evidence.media_type.startswith("video/"):
        # What is said may be about what is shown: a picture of that moment, after the pictures that were found.
        yield Wanted(index, 0 if evidence.kind in ("frame", "scene") else 1, "photo", whole, metadata)
    elif evidence.kind in ("page", "ocr", "frame", "scene"):
        yield Wanted(index, 0, "page" if evidence.page else "photo", whole, metadata)
    elif evidence.kind in _SEEN_KINDS:
        if _is_part(evidence):
            yield Wanted(index, 0, "crop", evidence, metadata)
        if evidence.page is not None:
            yield Wanted(index, 2, "page", whole, metadata)
    elif choice == "all" and evidence.page is not None:
        yield Wanted(index, 2, "page", whole, metadata)


def _is_part(evidence: Evidence) -> bool:
    """Whether the evidence is a region that leaves out a good part of its page."""
    if evidence.bbox is None:
        return False
    x0, y0, x1, y1 = evidence.bbox
    return (x1 - x0) * (y1 - y0) < _NEARLY_ALL


class Pictures:
    """Draws, scales and keeps pictures. Safe to use from several threads.

    Args:
        picture_of: Draws evidence.
    """

    def __init__(self, picture_of: PictureOf) -> None:
        self._picture_of = picture_of
        self._kept: OrderedDict[tuple[Any, ...], Prepared] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, hits: Sequence[Hit], choice: Choice, most: int, megapixels: float) -> Chosen:
        """The pictures to send with hits.

        Args:
            hits: In order of rank.
            choice: "auto": tables, figures, slides, scans and photographs; "all": pages of texts too.
            most: How many at most.
            megapixels: Most pixels of one picture, in millions.
        """
        pictures: dict[int, list[Prepared]] = {}
        shown_with: dict[int, int] = {}
        by_place: dict[tuple[Any, ...], int] = {}
        by_digest: dict[str, int] = {}
        problems: list[str] = []
        left_out = sent = 0
        asked = wanted(hits, choice)
        ahead = self._ahead(asked, most, megapixels)
        for one in asked:
            if one.place in by_place:
                shown_with.setdefault(one.index, by_place[one.place])
                continue
            if sent >= most:
                left_out += 1
                continue
            made = ahead.get(one.place) or self._made(one, megapixels)
            if isinstance(made, str):
                problems.append(made)
                continue
            by_place[one.place] = by_digest.setdefault(made.digest, one.index)
            if by_digest[made.digest] != one.index or made in pictures.get(one.index, ()):
                shown_with.setdefault(one.index, by_digest[made.digest])
                continue
            pictures.setdefault(one.index, []).append(made)
            sent += 1
        alone = {index: other for index, other in shown_with.items() if index != other}
        return Chosen({i: tuple(p) for i, p in pictures.items()}, alone, tuple(problems), left_out)

    def _ahead(self, asked: Sequence[Wanted], most: int, megapixels: float) -> dict[tuple[Any, ...], Prepared | str]:
        """The pictures that come first, by their place: while one is drawn, others are scaled and encoded."""
        first = list({one.place: one for one in asked}.values())[:most]
        with self._lock:
            missing = [one for one in first if (*one.place, megapixels) not in self._kept]
        if len(missing) < 2:
            return {}
        with ThreadPoolExecutor(min(len(missing), _THREADS), "picture") as pool:
            made = pool.map(lambda one: self._made(one, megapixels), missing)
            return {one.place: picture for one, picture in zip(missing, made, strict=True)}

    def _made(self, one: Wanted, megapixels: float) -> Prepared | str:
        """The picture, or why there is none."""
        key = (*one.place, megapixels)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        try:
            made = self._draw(one, megapixels)
        except (SensoriumError, OSError, ValueError) as fault:
            return f"no picture of {one.evidence.source}: {fault}"
        if made is None:
            return f"{one.evidence.source}: not a picture; it was not sent"
        with self._lock:
            self._kept[key] = made
            while sum(len(p.data) for p in self._kept.values()) > _CACHE_BYTES:
                self._kept.popitem(last=False)
        return made

    def _draw(self, one: Wanted, megapixels: float) -> Prepared | None:
        picture = self._picture_of(one.evidence, one.metadata)
        if not picture.media_type.startswith("image/"):
            return None
        made = fitted(picture.data, one.role, megapixels)
        return replace(made, note=picture.note)


def fitted(data: bytes, role: Role, megapixels: float) -> Prepared:
    """A picture within the limits of its role, as PNG or JPEG; one that fits is left as it is.

    Args:
        data: Encoded in any format that Pillow reads.
        role: Decides the longest side.
        megapixels: Most pixels, in millions.

    Raises:
        OSError: it cannot be read.
    """
    import struct

    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            size = _within(picture.size, LONGEST[role], megapixels)
            if size == picture.size and picture.format in _AS_IS and len(data) <= _MOST_BYTES:
                picture.load()  # a provider would refuse the whole request for one broken picture
                media_type = f"image/{picture.format.lower()}"
            else:
                data, media_type = _scaled(picture, size)
    except (SyntaxError, struct.error, Image.DecompressionBombError) as fault:  # how Pillow says that it is broken
        raise OSError(f"the picture cannot be read: {fault}") from fault
    return Prepared(data, media_type, size, role, digest=sha256(data).hexdigest())


def _within(size: tuple[int, int], longest: int, megapixels: float) -> tuple[int, int]:
    width, height = size
    scale = min(1.0, longest / max(size), (megapixels * 1e6 / (width * height)) ** 0.5)
    return (width, height) if scale == 1 else (max(1, int(width * scale)), max(1, int(height * scale)))


def _scaled(picture: Any, size: tuple[int, int]) -> tuple[bytes, str]:
    from PIL import Image

    from sensorium.pictures import on_white

    if picture.format == "JPEG":
        picture.draft("RGB", size)
    shown = on_white(picture)
    if shown.size != size:
        # As sharp as bicubic for making smaller, in two thirds of its time.
        shown = shown.resize(size, Image.Resampling.HAMMING, reducing_gap=2.0)
    out = io.BytesIO()
    # Without chroma subsampling: coloured text and thin lines stay sharp.
    shown.save(out, "JPEG", quality=87, subsampling=0)
    return out.getvalue(), "image/jpeg"
