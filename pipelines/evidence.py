"""From evidence back to the source: the crop, slide picture or text that a citation shows."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llama_index.core.schema import BaseNode

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Loader, Picture, SourceFile
from sensorium.nodes import Evidence
from sensorium.pipelines._ingest.discover import locate
from sensorium.pipelines.assets import AssetStore
from sensorium.pipelines.drawn import Drawn
from sensorium.pipelines.results import Form, PictureOf

PictureBytes = Callable[[BaseNode], bytes]
"""Gives the encoded picture of a node."""

_SUFFIX_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


class PictureDrawer:
    """Draws evidence from the original file; falls back to a stored asset when the file is gone.

    Args:
        loader: Gives the loader of a media type, as `apart` has them where several threads draw.
        assets: Where pictures kept at indexing are.
        drawn: Where drawn pictures are kept; None: each is drawn anew.
    """

    def __init__(self, loader: Callable[[str], Loader], assets: AssetStore, drawn: Drawn | None = None) -> None:
        self._loader, self._assets, self.drawn = loader, assets, drawn
        # (path, size, mtime) of originals whose digest was compared already.
        self._checked: dict[tuple[str, int, int], str] = {}

    def draw(self, evidence: Evidence, metadata: Mapping[str, Any], form: Form = "picture", /) -> Picture:
        """The picture, or the clip, of some evidence.

        Args:
            evidence: What to draw.
            metadata: Its node's metadata: `root`, and `asset` where a picture was kept.
            form: Which; of a clip nothing is kept at indexing, it is cut from the source.

        Raises:
            EvidenceError: the source vanished or changed and nothing was kept, or it has no picture, or no clip.
        """
        file, reason = self._file(evidence, metadata)
        if not reason:
            return self._from_source(file, evidence if form == "clip" else _moment(evidence, metadata), form)
        if metadata.get("asset") and form == "picture" and _touches(evidence, metadata):
            name = str(metadata["asset"])
            return Picture(
                self._assets.read(name), _SUFFIX_TYPES[Path(name).suffix], note=f"kept at indexing; {reason}"
            )
        raise EvidenceError(f"{file.path}: {reason}", "Index the folder again, or put the file back.")

    def file(self, evidence: Evidence, metadata: Mapping[str, Any]) -> SourceFile:
        """The source of evidence, unchanged.

        Raises:
            EvidenceError: it vanished or changed.
        """
        file, reason = self._file(evidence, metadata)
        if reason:
            raise EvidenceError(f"{file.path}: {reason}", "Index the folder again, or put the file back.")
        return file

    def _file(self, evidence: Evidence, metadata: Mapping[str, Any]) -> tuple[SourceFile, str]:
        """The source of evidence, and why it cannot be used; empty when it can."""
        root = str(metadata.get("root", ""))
        path, reason = Path(root) / evidence.source, "the source file is gone"
        with suppress(OSError):
            path = locate(root, evidence.source)
            reason = self._unusable(path, evidence.sha256)
        return SourceFile(path, root, evidence.source, evidence.sha256, evidence.media_type), reason

    def _from_source(self, file: SourceFile, evidence: Evidence, form: Form) -> Picture:
        loader = self._loader(evidence.media_type)

        def draw() -> Picture:
            if form == "clip":
                return loader.clip(file, evidence)
            return loader.picture(file, evidence)

        return draw() if self.drawn is None else self.drawn.get(evidence, form, draw)

    def _unusable(self, path: Path, sha256: str) -> str:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._checked:
            self._checked[key] = _digest(path)
        return "" if self._checked[key] == sha256 else "the source file changed since it was indexed"


def _touches(evidence: Evidence, metadata: Mapping[str, Any]) -> bool:
    """Whether evidence lies in the time of its node, of which something was kept."""
    if evidence.start_s is None or metadata.get("start_s") is None:
        return True
    first, last = float(metadata["start_s"]), float(metadata.get("end_s") or metadata["start_s"])
    return evidence.start_s <= last and first <= (evidence.start_s if evidence.end_s is None else evidence.end_s)


def _moment(evidence: Evidence, metadata: Mapping[str, Any]) -> Evidence:
    """Of a span of a recording the moment that was chosen to show it (`at_s`)."""
    at, start, end = metadata.get("at_s"), evidence.start_s, evidence.end_s
    if not isinstance(at, int | float) or start is None or end is None or not start <= at <= end:
        return evidence
    return evidence.model_copy(update={"start_s": float(at), "end_s": float(at)})


def pictures_of(assets: AssetStore, draw: PictureOf) -> PictureBytes:
    """Pictures of nodes: those kept at indexing, else drawn from the source.

    Args:
        assets: Where pictures are kept.
        draw: Draws evidence.
    """

    def picture(node: BaseNode) -> bytes:
        if node.metadata.get("asset"):
            return assets.read(str(node.metadata["asset"]))
        drawn = draw(Evidence.of(node), node.metadata)
        if not drawn.media_type.startswith("image/"):
            raise EvidenceError(f"{node.metadata.get('source')}: it has no picture ({drawn.media_type})")
        return drawn.data

    return picture


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
