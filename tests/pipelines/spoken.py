"""Nodes of recordings for tests, without any recording."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode, TextNode

from sensorium.loaders.base import NodeMaker, SourceFile
from sensorium.speech_types import WORDS_KEY, pack_words
from sensorium.stores.base import SourceRecord, Store


def maker(source: str = "talk.mp4", media_type: str = "video/mp4") -> NodeMaker:
    return NodeMaker(SourceFile(Path(f"/x/{source}"), "/x", source, source.encode().hex().ljust(64, "0"), media_type))


def speech(make: NodeMaker, text: str, start: float, pace: float = 0.5, kind: Any = "speech", **more: Any) -> TextNode:
    """A node in which each word takes half a second."""
    times, at = [], 0
    for n, word in enumerate(text.split()):
        first = text.index(word, at)
        at = first + len(word)
        times.append((first, at, start + n * pace, start + (n + 1) * pace))
    extra = {WORDS_KEY: pack_words(times, start)} | more
    return make.text(kind, text, start_s=start, end_s=times[-1][3], **extra)


def fill(store: Store) -> None:
    """Store a video (three scenes, what is said during them), and another recording at the same seconds.

    Args:
        store: With a space "text" of two dimensions.
    """
    make = maker()
    nodes: list[BaseNode] = [
        make.picture("scene", f"Slide {n}", image_path="x.jpg", start_s=20.0 * n, end_s=20.0 * n + 20) for n in range(3)
    ]
    nodes += [speech(make, f"Part {n} of what is said in all the talk.", 10.0 * n, 1.0) for n in range(6)]
    other: list[BaseNode] = [speech(maker("other.mp3", "audio/mpeg"), "Something else entirely is said here.", 22.0)]
    for group in (nodes, other):
        doc, data = str(group[0].ref_doc_id), group[0].metadata
        with store.stage(doc) as stage:
            stage.add(group, {"text": np.tile(np.array([1, 0], np.float32), (len(group), 1))})
            counts = dict(Counter(node.metadata["kind"] for node in group))
            sha256 = data["sha256"]
            stage.publish(
                SourceRecord(doc, "/x", data["source"], "stored", sha256=sha256, live_sha256=sha256, counts=counts)
            )
