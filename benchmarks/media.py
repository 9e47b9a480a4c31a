"""Recordings: words, speed, scenes, slides, clips, memory.

Run: `python -m benchmarks.media` (everything, in fresh processes), or `--part NAME`. Times are given as multiples of
real time and as ratios to plain decoding in the same process.
"""

import argparse
import io
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from llama_index.core.schema import TextNode
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import PeakMemory, corpus, fresh, table
from sensorium.ocr_types import OcrEngine

SETTLED_S = 0.5
"""How far a found cut may lie from the true one, beyond the length of a dissolve."""


def words(scratch: Path) -> dict[str, Any]:
    """Word error rate on the corpus's transcripts, and speed of recognition (sound alone)."""
    import sensorium
    from sensorium.speech_types import word_times

    kb = sensorium.open(data=scratch / "data")
    (folder := scratch / "in").mkdir()
    for name in ("audio", "video"):
        (folder / name).symlink_to(corpus() / name)
    kb.index(folder)
    nodes = [node for node in kb.store.get_nodes() if isinstance(node, TextNode)]
    result = {}
    for known in map(json.loads, (corpus() / "transcripts.jsonl").read_text().splitlines()):
        kind = "caption" if known.get("cues") else "speech"
        said = [n for n in nodes if n.metadata["source"] == known["file"] and n.metadata["kind"] == kind]
        said.sort(key=lambda n: n.metadata["start_s"])
        last = known["cues"][-1][1] - 0.1 if known.get("cues") else float("inf")
        heard = " ".join(n.text[a:b] for n in said for a, b, start, _ in word_times(n) if start < last)
        truth = _normal(known["text"])
        result[known["file"]] = round(_errors(truth, _normal(heard)) / len(truth), 4)
    return {"wer": result, "worst": max(result.values())} | _speech_speed()


def _speech_speed() -> dict[str, Any]:
    from sensorium.loaders.audio import AudioLoader
    from sensorium.loaders.base import Tools, local_file
    from sensorium.models import SPEECH_ENGINES

    file, engine = local_file(corpus() / "audio" / "talk_a.wav"), SPEECH_ENGINES.create("whisper")
    engine.transcribe(np.zeros(16_000, np.float32))  # loads the model
    start = time.perf_counter()
    nodes = [n for n in AudioLoader().load(file, Tools(speech=engine)) if hasattr(n, "metadata")]
    length = max(float(n.metadata["end_s"]) for n in nodes)
    return {"speech_x_real_time": round(length / (time.perf_counter() - start), 1)}


def _normal(text: str) -> list[str]:
    text = re.sub(r"^\s*[A-Z]{2,}:", " ", text.replace("\u2019", "'")).lower()
    for short, long in (("n't", "not"), ("'ve", "have"), ("'ll", "will"), ("'re", "are"), ("'m", "am")):
        text = re.sub(rf"(?<=\w){short}\b", f" {long}", text)
    return re.findall(r"[a-z0-9']+", text.replace("-", " "))


def _errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


def cuts(scratch: Path) -> dict[str, Any]:
    """Precision and recall of scene borders on made videos: hard cuts, and dissolves of 0.5 to 1 s."""
    result: dict[str, Any] = {}
    for name, dissolve in (("hard", (0.0, 0.0)), ("dissolve", (0.5, 1.0))):
        good = found = true = 0
        for seed in range(3):
            path = scratch / f"{name}-{seed}.mp4"
            borders = _film(path, seed, dissolve)
            starts = [scene["start_s"] for scene in _scenes(path) if scene["start_s"] > 0]
            good += sum(any(a - SETTLED_S <= s <= b + SETTLED_S for s in starts) for a, b in borders)
            found += len(starts)
            true += len(borders)
        result |= {f"{name}_precision": round(good / max(found, 1), 3), f"{name}_recall": round(good / true, 3)}
    return result


def _film(path: Path, seed: int, dissolve: tuple[float, float], size: tuple[int, int] = (640, 360), scenes: int = 20,
          fps: int = 25) -> list[tuple[float, float]]:  # fmt: skip
    """Write a video of panned photographs and pages; the seconds from and to which scenes change."""
    from benchmarks.recordings import write

    decide, borders = random.Random(seed), list[tuple[float, float]]()
    stills = _stills(decide, scenes, size)

    def frames() -> Iterator[NDArray[np.uint8]]:
        before: Iterator[Image.Image] | None = None
        written = 0
        for still in stills:
            pan, mixed = _panned(still, size, decide), round(fps * decide.uniform(*dissolve)) if before else 0
            if before:
                borders.append((written / fps, (written + mixed) / fps))
            for i in range(mixed + round(fps * decide.uniform(2.0, 6.0))):
                picture = next(pan)
                if i < mixed and before:
                    picture = Image.blend(next(before), picture, (i + 1) / (mixed + 1))
                yield np.asarray(picture)
                written += 1
            before = pan

    write(path, frames(), size, fps)
    return borders


def _stills(decide: random.Random, count: int, size: tuple[int, int]) -> list[Image.Image]:
    """Different looking pictures: tiles of the corpus's photographs and of PDF pages."""
    import pymupdf

    made: list[Image.Image] = []
    for path in sorted((corpus() / "images").glob("photo*")):
        picture = Image.open(path).convert("RGB").resize((size[0] * 2, size[1] * 2))
        made += [picture.crop((x, y, x + size[0] * 5 // 4, y + size[1] * 5 // 4)) for x in (0, size[0] * 3 // 4)
                 for y in (0, size[1] * 3 // 4)]  # fmt: skip
    for path in sorted((corpus() / "pdf").glob("*.pdf")):
        with pymupdf.open(path) as document:
            page = document[0].get_pixmap(dpi=80)
        made.append(Image.frombytes("RGB", (page.width, page.height), page.samples).resize(
            (size[0] * 5 // 4, size[1] * 5 // 4)))  # fmt: skip
    decide.shuffle(made)
    return made[:count]


def _panned(picture: Image.Image, size: tuple[int, int], decide: random.Random) -> Iterator[Image.Image]:
    dx, dy, i = decide.uniform(-0.4, 0.4), decide.uniform(-0.4, 0.4), 0
    while True:
        x = min(max(size[0] // 8 + dx * i, 0), picture.width - size[0])
        y = min(max(size[1] // 8 + dy * i, 0), picture.height - size[1])
        yield picture.crop((round(x), round(y), round(x) + size[0], round(y) + size[1]))
        i += 1


def _talk(path: Path, seed: int, slides: int = 12, fps: int = 25) -> None:
    """Write a video of a talk at 720p: slides as they are drawn, 10 to 30 s each, and a speaker who moves."""
    from benchmarks.recordings import Camera, drawn, write

    decide, size = random.Random(seed), (1280, 720)
    pages = [page for deck in sorted((corpus() / "pptx").glob("*.pptx")) for page in drawn(deck)]
    decide.shuffle(pages)
    camera = Camera("corner", size, decide)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for page in pages[:slides]:
            for _ in range(decide.randint(10, 30)):
                yield from [np.asarray(camera.film(page))] * fps

    write(path, frames(), size, fps)


def _scenes(path: Path, ocr: OcrEngine | None = None) -> list[dict[str, Any]]:
    from sensorium.loaders.base import Tools, local_file
    from sensorium.loaders.video import VideoLoader

    items = VideoLoader(captions="off").load(local_file(path), Tools(ocr))
    return [i.metadata for i in items if hasattr(i, "metadata") and i.metadata["kind"] == "scene"]


def scenes(scratch: Path) -> dict[str, Any]:
    """Speed of finding scenes at 720p with their text (the default) and without, and its ratio to decoding the file.

    The film is the hardest case there is for reading: half of it are pages full of small print that move.
    """
    from sensorium.models.ocr import RapidOcr

    result: dict[str, Any] = {}
    _talk(scratch / "talk.mp4", 0)
    _film(scratch / "film.mp4", 0, (0.0, 0.5), (1280, 720), 20)
    reader = RapidOcr()
    reader.read(Image.new("RGB", (640, 360)))  # loads the model
    for path in sorted(scratch.glob("*.mp4"), reverse=True):
        start = time.perf_counter()
        with av.open(str(path)) as file:
            file.streams.video[0].thread_type = "AUTO"
            length = max(frame.time for frame in file.decode(video=0))
        decoded = time.perf_counter() - start
        result[f"{path.stem}: decoding, x real time"] = round(length / decoded, 1)
        for how, ocr in (("scenes and text", reader), ("scenes", None)):
            start = time.perf_counter()
            _scenes(path, ocr)
            seconds = time.perf_counter() - start
            result[f"{path.stem}: {how}, x real time"] = round(length / seconds, 1)
            result[f"{path.stem}: {how} / decoding"] = round(seconds / decoded, 2)
    return result


def slides(scratch: Path, seed: int = 2) -> dict[str, Any]:
    """Precision and recall of links on made recordings of real and made-up decks (`benchmarks/recordings.py`)."""
    import sensorium
    from benchmarks.recordings import make
    from sensorium.nodes import Evidence
    from sensorium.pipelines.links import Links

    made, good, found, true, linked = make(scratch / "set", corpus(), seed), 0, 0, 0, 0
    with sensorium.open({"data": str(scratch / "data"), "index": {"speech": "off"}}) as kb:
        kb.index(made.folder)
        start = time.perf_counter()
        kb.index(made.folder)
        again = time.perf_counter() - start
        known = Links(lambda: kb.store)
        for record in kb.sources("talk-*"):
            for shown in made.truth[record.source]:
                middle = (shown.start_s + shown.end_s) / 2
                place = Evidence(
                    source=record.source, sha256=record.live_sha256, media_type=record.media_type, kind="scene",
                    start_s=middle - 0.2, end_s=middle + 0.2,
                )  # fmt: skip
                links = {(link.source, link.slide or link.page) for link in known.of(place, record.root)}
                right = links & set(shown.places)
                good, found = good + len(right), found + len(links)
                true, linked = true + bool(shown.places), linked + bool(right)
                if links - right or (shown.places and not right):
                    print(record.source, shown, links)
    return {
        "precision": round(good / max(found, 1), 4), "recall": round(linked / true, 4), "shown": true,
        "unchanged_s": round(again, 2),
    }  # fmt: skip


def clips(scratch: Path) -> dict[str, Any]:
    """How far the length of a clip lies from what was asked for, in frames of its own, at most."""
    from sensorium.loaders import BY_MEDIA_TYPE, LOADERS
    from sensorium.loaders._media.probe import probe
    from sensorium.loaders.base import Limits, local_file
    from sensorium.nodes import Evidence

    decide, worst, count = random.Random(0), 0.0, 0
    for path in sorted([*(corpus() / "video").iterdir(), *(corpus() / "audio").iterdir()]):
        file = local_file(path)
        loader, length = LOADERS.create(BY_MEDIA_TYPE[file.media_type]), probe(path, Limits()).duration_s
        for _ in range(4):
            start = decide.uniform(0, length * 0.6)
            end = start + decide.uniform(1, length * 0.35)
            place = Evidence(
                source=file.source, sha256=file.sha256, media_type=file.media_type, kind="speech", start_s=start,
                end_s=end,
            )  # fmt: skip
            worst, count = max(worst, _frames_off(loader.clip(file, place).data, end - start)), count + 1
    return {"clips": count, "worst_frames": round(worst, 2)}


def _frames_off(clip: bytes, wanted: float) -> float:
    with av.open(io.BytesIO(clip), "r") as file:
        if file.streams.video:
            length = 1 / float(file.streams.video[0].average_rate or 1)
            times = [float(frame.time or 0) for frame in file.decode(file.streams.video[0])]
            return abs(times[-1] + length - times[0] - wanted) / length
        sound = file.streams.audio[0]
        samples = [frame.samples for frame in file.decode(sound)]
        return abs(sum(samples) / sound.rate - wanted) * sound.rate / 1024


def memory(scratch: Path, minutes: int) -> dict[str, Any]:
    """Peak memory of indexing a recording of this length, with speech, scenes and OCR."""
    import sensorium

    (folder := scratch / "in").mkdir()
    source = Path(__file__).parents[1] / "examples" / "members-meeting.mp4"
    _looped(source, folder / "long.mp4", minutes * 60)
    with PeakMemory() as peak, sensorium.open(data=scratch / "data") as kb:
        start = time.perf_counter()
        report = kb.index(folder)
        seconds = time.perf_counter() - start
    assert not report.failed, report.rows
    return {"minutes": minutes, "mb": round(peak.mb), "x_real_time": round(minutes * 60 / seconds, 1)}


def _looped(source: Path, target: Path, seconds: float) -> None:
    """Repeat a recording, packet by packet."""
    with av.open(str(target), "w") as output:
        with av.open(str(source)) as first:
            length = float(first.duration or 0) / av.time_base
            streams = {s.index: output.add_stream_from_template(s) for s in first.streams}
        for turn in range(int(seconds / length) + 1):
            with av.open(str(source)) as file:
                for packet in file.demux():
                    if packet.dts is None:
                        continue
                    shift = round(turn * length / float(packet.time_base))
                    packet.pts, packet.dts = (packet.pts or 0) + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    output.mux(packet)


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "words": words,
    "cuts": cuts,
    "scenes": scenes,
    "slides": slides,
    "clips": clips,
    "memory-1": lambda scratch: memory(scratch, 1),
    "memory-10": lambda scratch: memory(scratch, 10),
}


def main() -> None:
    """Run everything, or one part in this process."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--part", choices=PARTS)
    arguments.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.part and given.scratch:
        print(json.dumps(PARTS[given.part](given.scratch)))
        return
    rows: list[tuple[object, ...]] = [("part", "figure", "value")]
    for name in [given.part] if given.part else PARTS:
        found = fresh("benchmarks.media", "--part", name)
        rows += [(name, figure, value) for figure, value in found.items()]
    table(rows)


if __name__ == "__main__":
    main()
