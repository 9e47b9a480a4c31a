"""Draw the README's picture: a real answer on the example documents, beside the evidence that its citation opens.

Run: `python examples/draw_answer.py FOLDER OUT.png`, with the documents of `make_documents.py` in FOLDER.
"""

import io
import sys
import tempfile
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import sensorium

QUESTION = "How many visitors did Sandreef have in 2024?"
WIDTH = 1000


def main(folder: Path, out: Path) -> None:
    """Index, ask, draw."""
    with tempfile.TemporaryDirectory() as data, sensorium.open(data=data) as kb:
        kb.index(folder)
        answer = kb.ask(QUESTION)
        citation = answer.citations[0]
        crop = Image.open(io.BytesIO(citation.asset().data)).convert("RGB")
    place = f"[1] {citation.evidence.source}, page {citation.evidence.page}, {citation.evidence.kind}"
    draw(QUESTION, answer.text, place, crop).save(out, optimize=True)


def draw(question: str, answer: str, place: str, crop: Image.Image) -> Image.Image:
    """Question and answer above the crop."""
    crop.thumbnail((WIDTH - 80, 400))
    lines = [f'$ sensorium ask "{question}"', *textwrap.wrap(answer, 80), "", place]
    height = 40 + 34 * len(lines) + crop.height + 50
    image = Image.new("RGB", (WIDTH, height), "white")
    pen = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        pen.text((40, 30 + 34 * i), line, font=ImageFont.load_default(22), fill=(90, 90, 90) if i == 0 else "black")
    top = 40 + 34 * len(lines)
    image.paste(crop, (40, top))
    pen.rectangle((36, top - 4, 44 + crop.width, top + crop.height + 4), outline=(200, 120, 0), width=2)
    return image


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
