"""Which encoding a text file is in, found by reading all of it once."""

import codecs
from pathlib import Path
from typing import TextIO

from sensorium.errors import LoadError
from sensorium.loaders.sniff import text_encoding

_CHUNK = 1 << 20
# Bytes that Windows-1252 leaves undefined.
_UNDEFINED = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def encoding_of(path: Path) -> str:
    """Name of a Python codec that decodes the whole file.

    Raises:
        LoadError: the file holds no text.
    """
    with path.open("rb") as stream:
        head = stream.read(65536)
        guess = text_encoding(head)
        if guess is None:
            raise LoadError("is binary, not text")
        if guess.startswith("utf-8"):
            stream.seek(0)
            guess = "utf-8-sig" if _decodes(stream.read, "utf-8") else "cp1252"
        if guess == "cp1252":
            stream.seek(0)
            guess = _single_byte(stream.read)
    return guess


def open_text(path: Path, encoding: str, newline: str | None = None) -> TextIO:
    """The file as text. What does not fit the encoding becomes U+FFFD."""
    return path.open(encoding=encoding, errors="replace", newline=newline)


def _decodes(read: object, encoding: str) -> bool:
    assert callable(read)
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk := read(_CHUNK):
            if b"\0" in chunk:
                raise LoadError("holds NUL bytes: it is binary, or text cut by a crash")
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _single_byte(read: object) -> str:
    assert callable(read)
    while chunk := read(_CHUNK):
        if b"\0" in chunk:
            raise LoadError("holds NUL bytes: it is binary, or text cut by a crash")
        if chunk.translate(None, _UNDEFINED) != chunk:
            return "latin-1"
    return "cp1252"
