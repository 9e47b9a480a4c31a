"""Folding hits that show the same thing: copies of a file, and a text that stands in a larger hit of the same place."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from sensorium.analysis import tokens
from sensorium.nodes import MADE_BY
from sensorium.pipelines.results import Hit

# A longer text that begins where a kept shorter one ends is news, unless the shorter is most of it.
MOST = 0.6
# Of the words of a stretch of speech, how many another has to have to say the same: recognition errs in some.
SAME_WORDS = 0.75


def fold(hits: Sequence[Hit]) -> list[Hit]:
    """Keep the best hit of each thing and number the rest; the folded ids are named in `duplicates`.

    Two hits show the same thing when they come from files with the same bytes, stand on the same page, slide or
    second, and one says nothing that the other does not: a copied file, or a picture and the text read from it. So do
    captions and recognised speech of the same seconds whose words are mostly the same.

    Args:
        hits: Best first.
    """
    kept: list[Hit] = []
    places: dict[tuple[object, ...], list[int]] = {}
    for hit in hits:
        place = _place(hit)
        same = _says_the_same if _is_said(hit) else _says_nothing_new
        twin = next((i for i in places.get(place, ()) if same(hit, kept[i])), None)
        if twin is None:
            places.setdefault(place, []).append(len(kept))
            kept.append(hit)
        else:
            kept[twin] = _joined(kept[twin], hit)
    return [replace(hit, rank=rank) for rank, hit in enumerate(kept, 1)]


def _joined(kept: Hit, hit: Hit) -> Hit:
    """The first hit's rank and score; of a picture and most of its words the words, whose box is the tighter."""
    node, other = kept.node, hit.node
    if (_kind(kept), _kind(hit)) == ("figure", "ocr") and len(hit.text) >= MOST * len(kept.text):
        node, other = other, node
    return replace(kept, node=node, duplicates=(*kept.duplicates, other.node_id))


def _kind(hit: Hit) -> object:
    return hit.node.metadata.get("kind")


def _place(hit: Hit) -> tuple[object, ...]:
    metadata = hit.node.metadata
    if "sha256" not in metadata:
        return (hit.node.node_id,)
    if _is_said(hit):
        return (metadata["sha256"], "said")
    return tuple(metadata.get(key) for key in ("sha256", "page", "slide", "start_s", "end_s"))


def _is_said(hit: Hit) -> bool:
    """Whether it is what is said in a recording, recognised or from captions."""
    metadata = hit.node.metadata
    timed = metadata.get("start_s") is not None and metadata.get("end_s") is not None
    return _kind(hit) in ("speech", "caption") and timed and MADE_BY not in metadata


def _says_the_same(hit: Hit, kept: Hit) -> bool:
    """Whether two stretches of speech are at (nearly) the same time and have most words in common."""
    (start, end), (first, last) = (
        (float(h.node.metadata["start_s"]), float(h.node.metadata["end_s"])) for h in (hit, kept)
    )
    shared = min(end, last) - max(start, first)
    if shared < MOST * min(end - start, last - first) or min(end, last) < max(start, first):
        return False
    new, old = ([token.term for token in tokens(h.text)] for h in (hit, kept))
    common = sum((Counter(new) & Counter(old)).values())
    return bool(new) and common >= SAME_WORDS * len(new)


def _says_nothing_new(hit: Hit, kept: Hit) -> bool:
    new, old = (" ".join(h.text.split()).casefold() for h in (hit, kept))
    if not new or not old:
        return new == old and hit.node.metadata.get("bbox") == kept.node.metadata.get("bbox")
    if {_kind(hit), _kind(kept)} == {"figure", "ocr"}:
        return new in old or old in new
    return new in old or (old in new and len(old) >= MOST * len(new))
