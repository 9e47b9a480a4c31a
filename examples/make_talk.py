"""Make `members-meeting.mp4`: the slides of the example deck, shown and explained by a synthetic voice.

Everything in it is invented and made by this script: the pictures by LibreOffice from the deck of
`make_documents.py`, the voice by espeak-ng. Both have to be installed (Debian: `libreoffice-impress espeak-ng`);
nothing else in the project needs espeak-ng, as the small result lies beside this script.

Run: `python examples/make_talk.py OUT.mp4`
"""

import io
import runpy
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sensorium.loaders.base import local_file
from sensorium.loaders.slides import SlidesLoader
from sensorium.nodes import Evidence

SIZE = (640, 480)
FPS = 5
PAUSE_S = 1.0
VOICE = ("espeak-ng", "-v", "en-us+m3", "-s", "145", "-g", "3")
# What is said while each slide is shown. Nothing of it but the headings stands on the slides or in other documents.
SAID = (
    (
        "Welcome to the members meeting. This chart shows where the money goes. Most of it goes into repairs, "
        "because the stairs of the old tower were worn out. The energy bill is now smaller than ever before."
    ),
    (
        "These are the decisions for the members. The new supply boat needs a name, and you will choose it tonight. "
        "The boat carries twelve passengers, and it comes from a small shipyard in Norway."
    ),
)


def main(out: Path) -> None:
    """Draw, speak and write the recording."""
    with tempfile.TemporaryDirectory() as scratch:
        slides = list(_drawn(Path(scratch)))
        spoken = [_spoken(text, Path(scratch)) for text in SAID]
    rate = spoken[0][1]
    sounds = [np.concatenate([_silence(rate), samples, _silence(rate)]) for samples, _ in spoken]
    _write(out, slides, sounds, rate)


def _drawn(folder: Path) -> Iterator[Image.Image]:
    path = folder / "members-meeting.pptx"
    runpy.run_path(str(Path(__file__).with_name("make_documents.py")))["deck"](path)
    file = local_file(path)
    place = {"source": file.source, "sha256": file.sha256, "media_type": file.media_type, "kind": "slide"}
    for number in range(1, len(SAID) + 1):
        picture = SlidesLoader(render="office").picture(file, Evidence.model_validate(place | {"slide": number}))
        yield Image.open(io.BytesIO(picture.data)).convert("RGB").resize(SIZE)


def _spoken(text: str, folder: Path) -> tuple[NDArray[np.int16], int]:
    path = folder / "voice.wav"
    subprocess.run([*VOICE, "-w", str(path), text], check=True)
    with wave.open(str(path)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16), sound.getframerate()


def _silence(rate: int) -> NDArray[np.int16]:
    return np.zeros(round(PAUSE_S / 2 * rate), np.int16)


def _write(out: Path, slides: Sequence[Image.Image], sounds: Sequence[NDArray[np.int16]], rate: int) -> None:
    with av.open(str(out), "w", options={"movflags": "faststart"}) as file:
        pictures = file.add_stream("libx264", rate=FPS, options={"crf": "28", "preset": "veryslow"})
        pictures.width, pictures.height, pictures.pix_fmt = *SIZE, "yuv420p"
        pictures.time_base = Fraction(1, FPS)
        voice = file.add_stream("aac", rate=rate, layout="mono", bit_rate=32_000)
        shown = 0
        for slide, sound in zip(slides, sounds, strict=True):
            for _ in range(round(len(sound) / rate * FPS)):
                frame = av.VideoFrame.from_ndarray(np.asarray(slide), format="rgb24")
                frame.pts, shown = shown, shown + 1
                file.mux(pictures.encode(frame))
        file.mux(pictures.encode())
        said = av.AudioFrame.from_ndarray(np.concatenate(sounds)[None], format="s16", layout="mono")
        said.sample_rate, said.pts = rate, 0
        file.mux(voice.encode(said))
        file.mux(voice.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
