"""Folding hits that show the same thing: copies of a file, and a text that stands in a larger hit of the same place."""

from collections.abc import Sequence
from dataclasses import replace

from sensorium.pipelines.results import Hit

# A longer text that begins where a kept shorter one ends is news, unless the shorter is most of it.
MOST = 0.6


def fold(hits: Sequence[Hit]) -> list[Hit]:
    """Keep the best hit of each thing and number the rest; the folded ids are named in `duplicates`.

    Two hits show the same thing when they come from files with the same bytes, stand on the same page, slide or
    second, and one says nothing that the other does not: a copied file, or a picture and the text read from it.

    Args:
        hits: Best first.
    """
    kept: list[Hit] = []
    places: dict[tuple[object, ...], list[int]] = {}
    for hit in hits:
        place = _place(hit)
        twin = next((i for i in places.get(place, ()) if _says_nothing_new(hit, kept[i])), None)
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
    return tuple(metadata.get(key) for key in ("sha256", "page", "slide", "start_s", "end_s"))


def _says_nothing_new(hit: Hit, kept: Hit) -> bool:
    new, old = (" ".join(h.text.split()).casefold() for h in (hit, kept))
    if not new or not old:
        return new == old and hit.node.metadata.get("bbox") == kept.node.metadata.get("bbox")
    if {_kind(hit), _kind(kept)} == {"figure", "ocr"}:
        return new in old or old in new
    return new in old or (old in new and len(old) >= MOST * len(new))
