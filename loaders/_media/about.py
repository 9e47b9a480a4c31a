"""What a recording says about itself."""

import re

from sensorium.clock import clock
from sensorium.loaders._media.probe import Media

# Tags in the order in which people name them; others follow. Lyrics and comments may be long.
_FIRST = ("title", "artist", "album_artist", "album", "composer", "genre", "date", "year", "comment", "description")
_NO_WORDS = re.compile(
    r"(?i)^(track|disc|tracktotal|disctotal|compilation|isrc|barcode|catalog|.*_?id|.*gain|tsrc|tlen|rating|bpm|tbpm|"
    r"copyright_url|purl|media_type|gapless_playback|.*sort|sort.*)$"
)


def about(media: Media) -> str:
    """Tags and chapters in words, one a line; empty where there are none."""
    named = {key: value for key, value in media.tags.items() if not _NO_WORDS.match(key)}
    ordered = [key for key in _FIRST if key in named] + sorted(set(named) - set(_FIRST))
    lines = [f"{key.replace('_', ' ').replace('-eng', '').capitalize()}: {named[key]}" for key in ordered]
    lines += [f"Chapter at {clock(chapter.start_s)}: {chapter.title}" for chapter in media.chapters]
    return "\n".join(lines)
