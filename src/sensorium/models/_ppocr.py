"""PP-OCRv6 detector and recogniser on RapidOCR, with sessions of our own."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sensorium.errors import MissingExtraError, ModelError
from sensorium.models._files import check_sha256, packaged

Pixels = NDArray[np.uint8]
Points = NDArray[np.float64]
Size = Literal["tiny", "small"]

_SHA256 = {
    "PP-OCRv6_det_tiny.onnx": "f42c0fbd294d95eac1a550e131b277dac97462c8025fa4b6c3cec1b7894bd3d5",
    "PP-OCRv6_rec_tiny.onnx": "38cd559cb4b24c5056592d981b13e086f9472db9b3c8968296f0d0c2b4a65531",
    "PP-OCRv6_det_small.onnx": "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    "PP-OCRv6_rec_small.onnx": "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
# Lines are found in a picture of this many pixels, and read in the given one. Measured on ten pages at 150 dpi:
# the same lines as in 3 megapixels for a third of the time, unless they come out lower than `_LOW` or not at all.
_COARSE = 1_000_000
_LOW = 16
# Sides of a picture in the detector: smaller ones are enlarged until the shorter or the longer side is this long.
_SHORT = 736
_LONG = 2944
# Of more boxes than this, so many are read first: a texture (leaves, gravel, noise) gives hundreds of boxes.
_MANY = 100
_SAMPLE = 32
_TEXTURE = 0.35  # Mean score of that sample below which there is no text. Upside-down text scores 0.5-0.7.
# How long a dash is cannot be told from a picture: "40—50" and "40–50" are "40-50".
_RANGE = re.compile(r"(?<=\d)[–—](?=\d)")


@dataclass
class Found:
    """Lines in an array of pixels: corner points (n, 4, 2) clockwise from the top left, cut-outs, readings."""

    quads: Points
    crops: list[Pixels]
    texts: list[str]
    scores: list[float]

    @classmethod
    def nothing(cls) -> "Found":
        """No lines."""
        return cls(np.zeros((0, 4, 2)), [], [], [])

    @property
    def mean(self) -> float:
        """Mean score, each line weighted by its characters; 1 without lines, as there is nothing to doubt."""
        weights = [len(text) for text in self.texts]
        return float(np.average(self.scores, weights=weights)) if sum(weights) else 1.0

    @property
    def line_height(self) -> float:
        """Median height of the lines in pixels; infinite without lines."""
        return float(np.median([min(extent(quad)) for quad in self.quads])) if len(self.quads) else float("inf")

    def only(self, kept: list[int]) -> "Found":
        """Some of the lines."""
        pick = [(self.crops[k], self.texts[k], self.scores[k]) for k in kept]
        return Found(self.quads[kept], [c for c, _, _ in pick], [t for _, t, _ in pick], [s for *_, s in pick])


def extent(quad: Points) -> tuple[float, float]:
    """Width and height of a quadrilateral along its own edges."""
    return float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[3] - quad[0]))


def _lowest(quads: Points) -> float:
    """Height that four fifths of the lines exceed; 0 without lines."""
    return float(np.quantile([min(extent(quad)) for quad in quads], 0.2)) if len(quads) else 0.0


class Model:
    """Detector and recogniser of one size, loaded; shared by all engines of a process."""

    def __init__(self, size: Size, threads: int) -> None:
        from omegaconf import flag_override
        from rapidocr import RapidOCR

        # The line classifier turns good lines upside down; rotation is voted on once a picture instead.
        # It scales and pads without regard for the size that comes out, so that we do both. Lines are read one at a
        # time: a batch pads all of them to the longest, which takes twice the memory and up to twice the time.
        settings = {"Global.use_cls": False, "Global.use_vertical_padding": False, "Global.log_level": "critical",
                    "Det.limit_type": "max", "Det.limit_side_len": 100_000, "Rec.rec_batch_num": 1}  # fmt: skip
        self._engine = RapidOCR(params=settings)
        # Sessions of our own: RapidOCR's would look for models to download, and let idle threads spin.
        with flag_override(self._engine.cfg, "allow_objects", True):
            self._engine.cfg.Det.session = _session(f"PP-OCRv6_det_{size}.onnx", threads)
            self._engine.cfg.Rec.session = _session(f"PP-OCRv6_rec_{size}.onnx", threads)

    def read(self, pixels: Pixels) -> Found:
        """Find and read the lines in BGR pixels, shape (height, width, 3)."""
        scale = min(1.0, (_COARSE / (pixels.shape[0] * pixels.shape[1])) ** 0.5)
        quads = self._find(pixels, scale)
        if scale < 1 and _lowest(quads) * scale < _LOW:
            quads = self._find(pixels, 1)
        crops = self._engine.crop_text_regions(pixels, quads.astype(np.float32))
        if not crops or self._is_texture(crops):
            return Found.nothing()
        readings = self.recognise(crops)
        return Found(quads, crops, [text for text, _ in readings], [score for _, score in readings])

    def _is_texture(self, crops: list[Pixels]) -> bool:
        if len(crops) <= _MANY:
            return False
        sample = self.recognise(crops[:: len(crops) // _SAMPLE])
        return float(np.mean([score for _, score in sample])) < _TEXTURE

    def _find(self, pixels: Pixels, scale: float) -> Points:
        """Corners of the lines, found in the picture at `scale`, in pixels of the picture itself."""
        import cv2
        from rapidocr.main import RapidOCRError

        height, width = pixels.shape[:2]
        if scale == 1:
            # Small letters on small pictures are found better enlarged, as the detector was trained.
            scale = max(1.0, min(_SHORT / min(height, width), _LONG / max(height, width)))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(pixels, size, interpolation=kind) if scale != 1 else pixels
        # Long pictures need a margin: the detector sees little in a strip.
        least = min(_SHORT, max(size) // 4)
        right, below = max(0, least - size[0]), max(0, least - size[1])
        shown = cv2.copyMakeBorder(shown, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        try:
            _, detected = self._engine.detect_and_crop(shown, {})
        except RapidOCRError:
            return np.zeros((0, 4, 2))
        quads = np.asarray(detected.boxes, np.float64) * [width / size[0], height / size[1]]
        return np.asarray(np.clip(quads, 0, [width, height]))

    def recognise(self, crops: list[Pixels]) -> list[tuple[str, float]]:
        """Text and mean character score of pictures of single lines."""
        if not crops:
            return []
        result = self._engine.recognize_txt(crops)
        return [(_tidy(text), float(score)) for text, score in zip(result.txts or (), result.scores, strict=True)]


@cache
def model(size: Size, threads: int) -> Model:
    """The loaded model, one for each process.

    Raises:
        ModelError: a model file is missing, damaged, or does not load.
        MissingExtraError: RapidOCR is not installed.
    """
    try:
        return Model(size, threads)
    except ImportError as fault:
        raise MissingExtraError("OCR", fault.name or "rapidocr") from fault


def _session(name: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Lines and pictures differ in shape from run to run, so that kept buffers would only pile up.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(_checked(name)), sess_options=options, providers=["CPUExecutionProvider"])


@cache
def _checked(name: str) -> Path:
    """Path of a model file, its hash compared once a process."""
    path = Path(__file__).parent / "data" / name
    if "small" in name:
        path = packaged("rapidocr", f"models/{name}", "rapidocr>=3.10,<4", "OCR")
    if not path.is_file():
        raise ModelError(f"OCR: the model file {path} is missing.", "Install sensorium again.")
    check_sha256(path, _SHA256[name])
    return path


def _tidy(text: str) -> str:
    """Without blanks and the rules of forms (read as underscores) at its ends; ranges of numbers with hyphens."""
    return _RANGE.sub("-", text).strip(" _")
