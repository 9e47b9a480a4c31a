"""Media types come from the content; names count among texts only."""

import io
import struct
import wave
import zipfile
from pathlib import Path

import pymupdf
import pytest
from PIL import Image
from pptx import Presentation

from sensorium.errors import LoadError
from sensorium.loaders.sniff import describe, sniff

PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


def archive(**parts: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for name, content in parts.items():
            out.writestr(name.replace("__", "/"), content)
    return buffer.getvalue()


def office(main: str) -> bytes:
    types = f'<Types><Override PartName="/x.xml" ContentType="application/vnd.{main}.main+xml"/></Types>'
    return archive(**{"[Content_Types].xml": types})


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\0\0" * 80)
    return buffer.getvalue()


def deck() -> bytes:
    buffer = io.BytesIO()
    Presentation().save(buffer)
    return buffer.getvalue()


def pdf() -> bytes:
    document = pymupdf.open()
    document.new_page()
    return bytes(document.tobytes())


def ole(stream: str) -> bytes:
    return OLE + stream.encode("utf-16-le") + b"\0\0" + b"\0" * 64


ROWS = [
    ("pdf", pdf(), "application/pdf"),
    ("pdf after junk", b"HTTP/1.1 200 OK\r\n\r\n" + pdf(), "application/pdf"),
    ("text about pdf", b"A file starts with %PDF-1.7 and a newline.\n", "text/plain"),
    ("png", picture("PNG"), "image/png"),
    ("jpeg", picture("JPEG"), "image/jpeg"),
    ("webp", picture("WEBP"), "image/webp"),
    ("tiff", picture("TIFF"), "image/tiff"),
    ("gif", picture("GIF"), "image/gif"),
    ("bmp", picture("BMP"), "image/bmp"),
    ("text that starts like a bmp", b"BM is short for bitmap, and for much else.", "text/plain"),
    ("svg", b'<?xml version="1.0"?><!-- x --><svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    ("pptx", deck(), PPTX),
    ("pptm", office("ms-powerpoint.presentation.macroEnabled"), PPTX),
    ("docx", office("openxmlformats-officedocument.wordprocessingml.document"),
     "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", office("openxmlformats-officedocument.spreadsheetml.sheet"),
     "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("cut pptx", b"PK\x03\x04" + b"\0" * 26 + b"ppt/presentation.xml" + b"\1" * 100, PPTX),
    ("odp", archive(mimetype="application/vnd.oasis.opendocument.presentation", content="x"),
     "application/vnd.oasis.opendocument.presentation"),
    ("epub", archive(mimetype="application/epub+zip"), "application/epub+zip"),
    ("zip", archive(a__b="x"), "application/zip"),
    ("ppt", ole("PowerPoint Document"), "application/vnd.ms-powerpoint"),
    ("doc", ole("WordDocument"), "application/msword"),
    ("xls", ole("Workbook"), "application/vnd.ms-excel"),
    ("encrypted office", ole("EncryptedPackage"), "application/x-encrypted-office"),
    ("wav", sound(), "audio/wav"),
    ("mp3 with tag", b"ID3\x04\0\0\0\0\0\0" + b"\0" * 20, "audio/mpeg"),
    ("mp3 frames", b"\xff\xfb\x90\x64" + b"\0" * 400, "audio/mpeg"),
    ("ogg", b"OggS" + b"\0" * 24 + b"\x01vorbis", "audio/ogg"),
    ("flac", b"fLaC" + b"\0" * 40, "audio/flac"),
    ("m4a", struct.pack(">I", 24) + b"ftypM4A " + b"\0" * 12, "audio/mp4"),
    ("mp4", struct.pack(">I", 24) + b"ftypisom" + b"\0" * 12, "video/mp4"),
    ("mov", struct.pack(">I", 20) + b"ftypqt  " + b"\0" * 8, "video/quicktime"),
    ("webm", b"\x1aE\xdf\xa3" + b"\x42\x82\x84webm" + b"\0" * 40, "video/webm"),
    ("mkv", b"\x1aE\xdf\xa3" + b"\x42\x82\x88matroska" + b"\0" * 40, "video/x-matroska"),
    ("avi", b"RIFF\x10\0\0\0AVI LIST" + b"\0" * 20, "video/x-msvideo"),
    ("html", b"\n<!-- c --><!DOCTYPE html><title>x</title>", "text/html"),
    ("html without doctype", b"<table><tr><td>1</td></tr></table>", "text/html"),
    ("utf-8", "Grüße, žluťoučký kůň".encode(), "text/plain"),
    ("utf-8 with mark", b"\xef\xbb\xbfhello", "text/plain"),
    ("utf-16", "hello".encode("utf-16"), "text/plain"),
    ("latin-1", "Grüße aus Köln, voilà".encode("latin-1"), "text/plain"),
    ("noise", bytes(range(256)) * 8, "application/octet-stream"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_content_decides_whatever_the_name(tmp_path: Path, data: bytes, expected: str) -> None:
    for name in ("file", "file.pdf", "file.jpg"):
        path = tmp_path / name
        path.write_bytes(data)
        assert sniff(path) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "a,b\n1,2\n", "text/csv"),
        ("a.TSV", "a\tb\n", "text/tab-separated-values"),
        ("a.md", "<h1 align=center>Readme</h1>\n\ntext", "text/markdown"),
        ("a.md", "<!DOCTYPE html><p>saved page", "text/html"),
        ("a.html", "no tag at the start <b>here</b>", "text/html"),
        ("a.log", "plain", "text/plain"),
    ],
)
def test_the_name_decides_among_texts(tmp_path: Path, name: str, content: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert sniff(path) == expected


def test_a_character_cut_at_the_end_of_the_sample_is_still_utf8(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("x" * 65535 + "ü" * 10)
    assert sniff(path) == "text/plain"


def test_what_cannot_be_sniffed_is_a_load_error(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pdf"
    empty.touch()
    with pytest.raises(LoadError, match=r"is empty \(0 bytes\)"):
        sniff(empty)
    with pytest.raises(LoadError, match="No such file"):
        sniff(tmp_path / "missing")
    with pytest.raises(LoadError, match="no regular file"):
        sniff(tmp_path)


def test_descriptions_are_words() -> None:
    assert describe("video/mp4") == "MP4 video"
    assert describe(PPTX) == "PowerPoint deck (.pptx)"
    assert describe("application/x-unheard-of") == "application/x-unheard-of"
