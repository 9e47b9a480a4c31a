"""Media type of a file by what is in it, never by its name.

Magic numbers decide; for containers (zip, OLE, Ogg, MP4, Matroska) what lies inside decides. Among plain
texts the content cannot tell Markdown or CSV from prose, so there alone the name is asked.
"""

import codecs
import mmap
import re
import stat
import zipfile
from pathlib import Path

from sensorium.errors import LoadError

_HEAD = 65536
_PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
UNKNOWN = "application/octet-stream"

# (offset, bytes, media type), first match counts. Containers that need a second look have functions below.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"II+\x00", "image/tiff"),
    (0, b"MM\x00+", "image/tiff"),
    (0, b"\x00\x00\x00\x0cjP  ", "image/jp2"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (40, b" EMF", "image/emf"),
    (0, b"\xd7\xcd\xc6\x9a", "image/wmf"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"RF64", "audio/wav"),
    (0, b"riff\x2e\x91\xcf\x11", "audio/wav"),
    (0, b".snd", "audio/basic"),
    (0, b"wvpk", "audio/x-wavpack"),
    (0, b"MAC ", "audio/x-ape"),
    (0, b"TTA1", "audio/x-tta"),
    (0, b"#!AMR", "audio/amr"),
    (0, b"MThd", "audio/midi"),
    (0, b"caff", "audio/x-caf"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"\x00\x00\x01\xb3", "video/mpeg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video/x-ms-asf"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"M4P ": "audio/mp4", b"qt  ": "video/quicktime",
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"avif": "image/avif",
    b"3gp4": "video/3gpp", b"3gp5": "video/3gpp", b"3gp6": "video/3gpp",
}  # fmt: skip
# What the main part of an Office file is called in [Content_Types].xml, and the folder it lies in. Shows,
# templates and files with macros have the same structure as the plain type, and are read as such.
_OFFICE = (
    (b"presentation", b"ppt/", _PPTX),
    (b"word", b"word/", _DOCX),
    (b"spreadsheet", b"xl/", _XLSX),
    (b"excel", b"xl/", _XLSX),
)
_OLE = (
    ("EncryptedPackage", "application/x-encrypted-office"),
    ("PowerPoint Document", "application/vnd.ms-powerpoint"),
    ("WordDocument", "application/msword"),
    ("Workbook", "application/vnd.ms-excel"),
    ("Book", "application/vnd.ms-excel"),
    ("__properties_version1.0", "application/vnd.ms-outlook"),
)
_TEXT_NAMES = {
    ".md": "text/markdown", ".markdown": "text/markdown", ".mkd": "text/markdown", ".mdown": "text/markdown",
    ".csv": "text/csv", ".tsv": "text/tab-separated-values", ".tab": "text/tab-separated-values",
    ".html": "text/html", ".htm": "text/html", ".xhtml": "text/html",
}  # fmt: skip
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\x08\x1b")) + b"\x7f"
_HTML_START = re.compile(r"<!doctype\s+html|<html[\s>]", re.IGNORECASE)
_HTML_TAG = re.compile(r"(?i)<(head|body|title|meta|table|div|p|h[1-6]|article|section|main|ul|ol)[\s>]")
_SUBRIP = re.compile(r"\s*\d+\s*\n\s*\d+:\d\d?:\d\d?[,.]\d{1,3}\s*-->\s*\d+:\d\d?:\d\d?[,.]\d{1,3}")
_PROLOGUE = re.compile(r"\s*(?:<!--.*?-->\s*|<\?xml.*?\?>\s*)*", re.DOTALL)

_DESCRIPTIONS = {
    "application/pdf": "PDF", _PPTX: "PowerPoint deck (.pptx)", _DOCX: "Word document (.docx)",
    _XLSX: "Excel workbook (.xlsx)", "application/vnd.ms-powerpoint": "PowerPoint 97-2003 deck (.ppt)",
    "application/msword": "Word 97-2003 document (.doc)",
    "application/vnd.ms-excel": "Excel 97-2003 workbook (.xls)",
    "application/vnd.ms-outlook": "Outlook message",
    "application/x-encrypted-office": "password-protected Office file",
    "application/x-ole-storage": "OLE file",
    "application/vnd.oasis.opendocument.presentation": "OpenDocument deck (.odp)",
    "application/vnd.oasis.opendocument.text": "OpenDocument text (.odt)",
    "application/vnd.oasis.opendocument.spreadsheet": "OpenDocument sheet (.ods)",
    "application/epub+zip": "EPUB book", "application/zip": "zip archive",
    "application/gzip": "gzip archive", "application/x-bzip2": "bzip2 archive",
    "application/x-xz": "xz archive", "application/x-7z-compressed": "7-Zip archive",
    "application/vnd.rar": "RAR archive", "application/x-tar": "tar archive",
    "application/rtf": "RTF document", "application/postscript": "PostScript file",
    "application/vnd.sqlite3": "SQLite database", "application/x-executable": "executable",
    "application/vnd.apache.parquet": "Parquet table", "image/svg+xml": "SVG drawing",
    "image/jp2": "JPEG 2000 image", "image/vnd.adobe.photoshop": "Photoshop image", "image/x-icon": "icon",
    "image/heic": "HEIC image", "image/avif": "AVIF image", "image/emf": "EMF drawing",
    "image/wmf": "WMF drawing", "image/png": "PNG image", "image/jpeg": "JPEG image",
    "image/webp": "WebP image", "image/tiff": "TIFF image", "image/gif": "GIF image",
    "image/bmp": "BMP image", "audio/mpeg": "MP3 audio", "audio/wav": "WAV audio",
    "audio/flac": "FLAC audio", "audio/ogg": "Ogg audio", "audio/mp4": "MPEG-4 audio (.m4a)",
    "audio/aac": "AAC audio", "audio/aiff": "AIFF audio", "audio/amr": "AMR audio", "audio/basic": "AU audio",
    "audio/x-wavpack": "WavPack audio", "audio/x-ape": "Monkey's audio", "audio/x-tta": "True Audio",
    "audio/midi": "MIDI file", "audio/x-caf": "CAF audio", "video/mp4": "MP4 video",
    "video/quicktime": "QuickTime video", "video/3gpp": "3GP video", "video/x-matroska": "Matroska video",
    "video/webm": "WebM video", "video/x-msvideo": "AVI video", "video/ogg": "Ogg video", "video/mpeg": "MPEG video",
    "video/mp2t": "MPEG transport stream", "video/x-flv": "Flash video", "video/x-ms-asf": "Windows Media file",
    "text/plain": "plain text", "text/markdown": "Markdown", "text/html": "HTML page",
    "text/csv": "CSV table", "text/tab-separated-values": "TSV table", "text/vtt": "WebVTT captions",
    "application/x-subrip": "SubRip captions",
    UNKNOWN: "unknown binary format",
}  # fmt: skip


def sniff(path: Path) -> str:
    """Media type of a file, by content.

    Raises:
        LoadError: the file cannot be read, is no regular file, or is empty.
    """
    head = _head(path)
    return _container(path, head) or _magic(head) or _stream(head) or _text(path, head) or UNKNOWN


def describe(media_type: str) -> str:
    """A media type in words, for messages ("MP4 video"); unknown types as they are."""
    return _DESCRIPTIONS.get(media_type, media_type)


def text_encoding(head: bytes) -> str | None:
    """Encoding of a text by its first bytes: "utf-8", "utf-16", "utf-32", "cp1252"; None: no text.

    Args:
        head: The first bytes of a file; it may end inside a character. A byte order mark decides; without
            one, what is valid UTF-8 is UTF-8, and anything else without control characters is Windows-1252.
    """
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    controls = len(head) - len(head.translate(None, _CONTROL))
    if b"\0" in head or controls > len(head) * 0.005:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _head(path: Path) -> bytes:
    try:
        # A named pipe or device would block for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise LoadError("is no regular file")
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as fault:
        raise LoadError(f"cannot be read: {fault.strerror or fault}") from fault
    if not head:
        raise LoadError("is empty (0 bytes)")
    return head


def _container(path: Path, head: bytes) -> str | None:
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path, head)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _ole(path)
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], UNKNOWN)
    if head.startswith(b"OggS"):
        return "video/ogg" if b"\x80theora" in head[:512] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:128] else "video/x-matroska"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    return None


def _zip(path: Path, head: bytes) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "mimetype" in names:
                with archive.open("mimetype") as part:
                    return part.read(200).decode("ascii", "replace").strip()
            if "[Content_Types].xml" not in names:
                return "application/zip"
            with archive.open("[Content_Types].xml") as part:
                return _office(part.read(1 << 20))
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError):
        # Damaged or encrypted: the first entries still tell what it was, and its loader says what is wrong.
        return next((kind for _, folder, kind in _OFFICE if folder in head), "application/zip")


def _office(content_types: bytes) -> str:
    for main in re.findall(rb'ContentType="([^"]+\.main\+xml)"', content_types):
        for word, _, kind in _OFFICE:
            if word in main.lower():
                return kind
    return "application/zip"


def _ole(path: Path) -> str:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, kind in _OLE:
            if data.find(name.encode("utf-16-le") + b"\0\0") >= 0:
                return kind
    return "application/x-ole-storage"


def _magic(head: bytes) -> str | None:
    for offset, mark, kind in _MAGIC:
        if head.startswith(mark, offset):
            return kind
    # "BM" alone would claim texts: the reserved fields are zero and the header size is one of the known ones.
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and head[14:18] in _BMP_HEADERS:
        return "image/bmp"
    # Readers accept a PDF header anywhere in the first 1,024 bytes; a text that names one holds no objects.
    if re.search(rb"%PDF-\d\.\d\s", head[:1032]) and re.search(rb"\d+ \d+ obj\b", head):
        return "application/pdf"
    return None


_BMP_HEADERS = {size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124)}


def _stream(head: bytes) -> str | None:
    """Bare MPEG audio frames and transport streams, which have sync words in place of a magic number."""
    if len(head) > 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        layer, bitrate, rate = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
        if layer == 0 and head[1] & 0xF0 == 0xF0:
            return "audio/aac"
        if layer == 1 and bitrate not in (0, 15) and rate != 3:
            return "audio/mpeg"
    if len(head) > 188 * 3 and all(head[188 * i] == 0x47 for i in range(4)) and b"\0" in head:
        return "video/mp2t"
    return None


def _text(path: Path, head: bytes) -> str | None:
    encoding = text_encoding(head)
    if encoding is None:
        return None
    start = head[:8192].decode(encoding, "ignore").lstrip("\ufeff")
    prologue = _PROLOGUE.match(start)
    body = start[prologue.end() if prologue else 0 :]
    if _HTML_START.match(body):
        return "text/html"
    if start.startswith("WEBVTT") and (start[6:7] in " \t\r\n" or len(start) == 6):
        return "text/vtt"
    if _SUBRIP.match(start):
        return "application/x-subrip"
    if re.match(r"(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", body):
        return "image/svg+xml"
    named = _TEXT_NAMES.get(path.suffix.lower())
    # Markdown may begin with a tag, too, so there the name wins.
    return named or ("text/html" if _HTML_TAG.match(body) else "text/plain")
