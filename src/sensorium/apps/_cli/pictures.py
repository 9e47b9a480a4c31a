"""Writing what `show` draws."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from sensorium.loaders.base import Picture
    from sensorium.pipelines.results import Form

SUFFIXES = {
    "image/png": (".png",), "image/jpeg": (".jpg", ".jpeg"), "image/webp": (".webp",), "image/gif": (".gif",),
    "image/tiff": (".tif", ".tiff"), "image/bmp": (".bmp",), "image/svg+xml": (".svg",),
    "text/plain": (".txt",), "text/html": (".html",), "text/markdown": (".md",),
    "video/mp4": (".mp4",), "video/webm": (".webm",), "audio/wav": (".wav",), "audio/x-wav": (".wav",),
    "audio/mp4": (".m4a", ".mp4"), "audio/webm": (".weba", ".webm"),
    "audio/mpeg": (".mp3",), "audio/flac": (".flac",), "audio/ogg": (".ogg",),
}  # fmt: skip
CONVERTIBLE = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/tiff", "image/bmp")


def form_of(file: Path | None) -> "Form | None":
    """What the suffix of a file asks for: a picture, a clip, or whatever there is."""
    suffix = file.suffix.lower() if file else ""
    types = [kind.partition("/")[0] for kind, suffixes in SUFFIXES.items() if suffix in suffixes]
    if not types or types[0] == "text":
        return None
    return "picture" if types[0] == "image" else "clip"


def write(picture: "Picture", file: Path) -> Path:
    """Write it to a file: the suffix of its type is added to a name without one, another picture type is converted to.

    Raises:
        typer.BadParameter: the suffix says something else than a picture, or the file cannot be written.
    """
    media_type = picture.media_type.partition(";")[0]
    suffixes = SUFFIXES.get(media_type, ())
    data = picture.data
    if not file.suffix and suffixes:
        file = file.with_name(file.name + suffixes[0])
    elif suffixes and file.suffix.lower() not in suffixes:
        data = _converted(data, media_type, file)
    try:
        file.write_bytes(data)
    except OSError as fault:
        raise typer.BadParameter(f"{file} cannot be written: {fault.strerror or fault}") from None
    return file


def _converted(data: bytes, media_type: str, file: Path) -> bytes:
    wanted = next((kind for kind, suffixes in SUFFIXES.items() if file.suffix.lower() in suffixes), "")
    if media_type not in CONVERTIBLE or wanted not in CONVERTIBLE:
        right = file.with_suffix(SUFFIXES[media_type][0])
        raise typer.BadParameter(f"it is {media_type}: name the file {right}")
    from io import BytesIO

    from PIL import Image

    target = BytesIO()
    with Image.open(BytesIO(data)) as image:
        image.convert("RGB").save(target, format=wanted.partition("/")[2])
    return target.getvalue()


def to_stdout(picture: "Picture") -> None:
    """Write the bytes to stdout.

    Raises:
        typer.BadParameter: stdout is a terminal.
    """
    if sys.stdout.isatty():
        raise typer.BadParameter("-o - writes bytes: send them to a file or another command")
    sys.stdout.buffer.write(picture.data)
    sys.stdout.buffer.flush()
