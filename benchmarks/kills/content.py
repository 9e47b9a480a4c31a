"""What is indexed: sources in numbered versions, whose nodes and vectors follow from source and version alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from numpy.typing import NDArray

from sensorium.stores.base import SourceRecord, Space, Store
from sensorium.stores.weaviate import WeaviateStore

SOURCES = 16
LOOSE = 20
COLLECTION = "Kills"
SPACES = (
    Space("text", 16, "r"),
    Space("visual", 8, "r", options={"quantisation": "rq"}),
    Space("pages", 8, "r", multi=True),
)
Vectors = Mapping[str, list[NDArray[np.float32] | None]]


@dataclass(frozen=True)
class Server:
    """Where the server is."""

    url: str
    grpc: str
    key: str

    def open(self, **options: Any) -> WeaviateStore:
        """A store on it."""
        given: dict[str, Any] = {"spaces": SPACES, "collection": COLLECTION, "batch": 40, "timeout_s": 20.0, **options}
        return WeaviateStore(url=self.url, grpc=self.grpc, api_key=self.key, **given)


def doc_of(source: int) -> str:
    """A source's id."""
    return f"doc{source}"


def size(source: int, version: int) -> int:
    """How many nodes a version of a source has; the next one has another number."""
    return 30 + (17 * source + 23 * version) % 90


def nodes_of(doc: str, version: int, count: int) -> tuple[list[TextNode], Vectors]:
    """The nodes of one version with their vectors: each in "text", every second in "visual", every third in "pages"."""
    parent = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)}
    nodes = [
        TextNode(
            id_=f"{doc}-{version}-{i}", text=f"common word{i} v{version}", relationships=parent,
            metadata={"version": version, "order": i},
        )
        for i in range(count)
    ]  # fmt: skip
    rng = np.random.default_rng([*doc.encode(), version])

    def rows(space: Space, every: int) -> list[NDArray[np.float32] | None]:
        shape = (count, 3, space.dimension) if space.multi else (count, space.dimension)
        made = rng.normal(size=shape).astype(np.float32)
        return [made[i] if i % every == 0 else None for i in range(count)]

    text, visual, pages = SPACES
    return nodes, {"text": rows(text, 1), "visual": rows(visual, 2), "pages": rows(pages, 3)}


def record_of(doc: str, version: int, count: int) -> SourceRecord:
    """The ledger row of a version."""
    return SourceRecord(doc, "/kills", doc, "stored", sha256=str(version), live_sha256=str(version),
                        counts={"text": count})  # fmt: skip


def version_of(store: Store, doc: str) -> int:
    """The version that the ledger has of a source; 0 for none."""
    record = store.source(doc)
    return int(record.sha256) if record is not None else 0


def seen(ids: Sequence[str]) -> dict[int, int]:
    """How many nodes of which version there are among ids."""
    found: dict[int, int] = {}
    for one in ids:
        version = int(one.split("-")[1])
        found[version] = found.get(version, 0) + 1
    return found
