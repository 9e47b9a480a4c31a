"""Loaders: one small file a format, found by content. To add one, write the class and register it here."""

from sensorium.registry import Registry

LOADERS = Registry("loader")
LOADERS.add("pdf", "sensorium.loaders.pdf:PdfLoader", summary="PDF: text, tables, figures, OCR of scans")
LOADERS.add("slides", "sensorium.loaders.slides:SlidesLoader", summary="PowerPoint decks (.pptx)")
LOADERS.add("image", "sensorium.loaders.image:ImageLoader", summary="PNG, JPEG, WebP, TIFF, GIF, BMP")
LOADERS.add("text", "sensorium.loaders.text:TextLoader", summary="plain text, Markdown, HTML, CSV")
LOADERS.add("audio", "sensorium.loaders.audio:AudioLoader", summary="WAV, MP3, Ogg, Opus, FLAC, M4A")
LOADERS.add("video", "sensorium.loaders.video:VideoLoader", summary="MP4, WebM, MKV, MOV, AVI and more: scenes, speech")
LOADERS.add("captions", "sensorium.loaders.captions:CaptionsLoader", summary=".srt and .vtt without their recording")

# Which loader reads which media type. Types without a loader are skipped with a reason.
BY_MEDIA_TYPE = {
    "application/pdf": "pdf",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "slides",
    "image/png": "image",
    "image/jpeg": "image",
    "image/webp": "image",
    "image/tiff": "image",
    "image/gif": "image",
    "image/bmp": "image",
    "audio/aac": "audio",
    "audio/aiff": "audio",
    "audio/amr": "audio",
    "audio/basic": "audio",
    "audio/flac": "audio",
    "audio/mp4": "audio",
    "audio/mpeg": "audio",
    "audio/ogg": "audio",
    "audio/wav": "audio",
    "audio/x-ape": "audio",
    "audio/x-caf": "audio",
    "audio/x-tta": "audio",
    "audio/x-wavpack": "audio",
    "video/3gpp": "video",
    "video/matroska": "video",
    "video/mp2t": "video",
    "video/mp4": "video",
    "video/mpeg": "video",
    "video/ogg": "video",
    "video/quicktime": "video",
    "video/webm": "video",
    "video/x-flv": "video",
    "video/x-matroska": "video",
    "video/x-ms-asf": "video",
    "video/x-msvideo": "video",
    "application/x-subrip": "captions",
    "text/vtt": "captions",
    "text/plain": "text",
    "text/markdown": "text",
    "text/html": "text",
    "text/csv": "text",
    "text/tab-separated-values": "text",
}
