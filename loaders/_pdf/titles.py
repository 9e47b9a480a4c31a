"""The title of a document: from its metadata, else the largest line at the top of its first page."""

import re
from collections.abc import Mapping

from sensorium.loaders._pdf.blocks import BodyStyle
from sensorium.loaders._pdf.content import PageContent

# What programs write when nobody gave a title: file names, "Microsoft Word - ...", "untitled".
_JUNK = re.compile(
    r"(?i)(untitled|document|slide|presentation|powerpoint|microsoft|book|layout|page)\W*\d*$|microsoft \w+ - "
    r"|.*\.(docx?|pdf|indd|qxd|pptx?|xlsx?|tex|dvi|ps|p65|fm|html?)$|^[\W\d_]*$|.*[\\/]"
)
_LARGE = 1.35  # times the body type
_LONGEST = 200


def title_of(metadata: Mapping[str, str | None], first: PageContent | None, style: BodyStyle) -> str:
    """Title of a document, or nothing when none is sure."""
    title = " ".join((metadata.get("title") or "").split())
    if title and len(title) <= _LONGEST and not _JUNK.match(title):
        return title
    return _largest_line(first, style) if first else ""


def _largest_line(first: PageContent, style: BodyStyle) -> str:
    """The lines in the largest type, when they stand in the upper part of the page, together, well above body size."""
    height = first.frame.size[1]
    upright = [li for li in first.lines if li.upright and re.search(r"[^\W\d_]{3}", li.text)]
    if not upright:
        return ""
    size = max(li.size for li in upright)
    lines = [li for li in upright if li.size == size]
    text = " ".join(li.text for li in lines)
    near = max(li.box[3] for li in lines) < 0.45 * height
    large = size >= _LARGE * style.size and len(lines) <= 3
    return text if large and near and len(text.split()) >= 3 and len(text) <= _LONGEST else ""
