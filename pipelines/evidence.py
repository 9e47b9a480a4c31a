"""From evidence back to the source: the crop, slide picture or text that a citation shows."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sensorium.errors import EvidenceError
from sensorium.loaders.base import Loader, Picture, SourceFile
from sensorium.nodes import Evidence
from sensorium.pipelines._ingest.discover import locate
from sensorium.pipelines.assets import AssetStore

_SUFFIX_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


class PictureDrawer:
    """Draws evidence from the original file; falls back to a stored asset when the file is gone.

    Args:
        loader: Gives the loader of a media type.
        assets: Where pictures kept at indexing are.
    """

    def __init__(self, loader: Callable[[str], Loader], assets: AssetStore) -> None:
        self._loader, self._assets = loader, assets
        # (path, size, mtime) of originals whose digest was compared already.
        self._checked: dict[tuple[str, int, int], str] = {}

    def draw(self, evidence: Evidence, metadata: Mapping[str, Any]) -> Picture:
        """The picture of some evidence.

        Args:
            evidence: What to draw.
            metadata: Its node's metadata: `root`, and `asset` where a picture was kept.

        Raises:
            EvidenceError: the source vanished or changed and nothing was kept, or it has no picture.
        """
        root = str(metadata.get("root", ""))
        path, reason = Path(root) / evidence.source, "the source file is gone"
        with suppress(OSError):
            path = locate(root, evidence.source)
            reason = self._unusable(path, evidence.sha256)
        if not reason:
            file = SourceFile(path, str(metadata["root"]), evidence.source, evidence.sha256, evidence.media_type)
            return self._loader(evidence.media_type).picture(file, evidence)
        if metadata.get("asset"):
            name = str(metadata["asset"])
            return Picture(
                self._assets.read(name), _SUFFIX_TYPES[Path(name).suffix], note=f"kept at indexing; {reason}"
            )
        raise EvidenceError(f"{path}: {reason}", "Index the folder again, or put the file back.")

    def _unusable(self, path: Path, sha256: str) -> str:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._checked:
            self._checked[key] = _digest(path)
        return "" if self._checked[key] == sha256 else "the source file changed since it was indexed"


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
