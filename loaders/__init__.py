"""Loaders: one small file a format, found by content. To add one, write the class and register it here."""

from sensorium.registry import Registry

LOADERS = Registry("loader")
LOADERS.add("pdf", "sensorium.loaders.pdf:PdfLoader", summary="PDF: text, tables, figures, OCR of scans")
LOADERS.add("slides", "sensorium.loaders.slides:SlidesLoader", summary="PowerPoint decks (.pptx)")
LOADERS.add("image", "sensorium.loaders.image:ImageLoader", summary="PNG, JPEG, WebP, TIFF, GIF, BMP")
LOADERS.add("text", "sensorium.loaders.text:TextLoader", summary="plain text, Markdown, HTML, CSV")

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
    "text/plain": "text",
    "text/markdown": "text",
    "text/html": "text",
    "text/csv": "text",
    "text/tab-separated-values": "text",
}
