"""Names of properties and ids: the layout of the two collections.

`<Collection>` holds the nodes, one object each; `<Collection>_Ledger` what is known about them: the settings, one
row a source, updates under way. Both have the same tenants.
"""

import re
import uuid
from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b

from sensorium.errors import StoreError

FORMAT = 1
_NAMESPACE = uuid.UUID("0d3f9c0e-5b57-5a0c-8a86-1c3a4b0e9d11")

# Properties of a node.
NODE_ID = "node_id"
KEY = "node_key"
DOC = "doc_key"
GENERATION = "generation"
KIND = "kind"
TAGS = "tags"
METADATA = "metadata_json"
BODY = "node_json"
TERMS = "terms"
"""The analysed words of title, section, caption and text. In one property: BM25 over several counts lengths and
frequencies in each apart, which ranks otherwise than the embedded store does, and takes twice the time."""
PAYLOAD = [METADATA, BODY]
IDENTITY = [NODE_ID, GENERATION, DOC]

# Properties of a ledger row.
ROW = "row"
VALUE = "value"
STATE = "state"
ROW_DOC = "doc"
STATUS = "status"
ORDERED = "sort_key"

BARRIER = "barrier"
"""Generation of the objects that are written to flush the others; they are no nodes."""


def ledger_name(collection: str) -> str:
    """The ledger's collection."""
    return f"{collection}_Ledger"


def digest(text: str, size: int = 12) -> str:
    """A short, safe name for any text: Weaviate trims blanks of what it indexes, and takes no lone surrogates."""
    raw = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
    return urlsafe_b64encode(raw).decode()


@lru_cache(maxsize=4096)
def doc_key(doc: str) -> str:
    """A source's id as it is indexed."""
    return digest(doc)


def first_generation(key: str) -> str:
    """The generation of nodes that are added to a source (`doc_key`) that was never published."""
    return f"0{key}"


@lru_cache(maxsize=4096)
def node_uuid(node_id: str, generation: str) -> uuid.UUID:
    """The object of a node in one generation."""
    return uuid.uuid5(_NAMESPACE, f"{generation}\n{node_id}")


def row_uuid(kind: str, key: str = "") -> uuid.UUID:
    """The object of a ledger row."""
    return uuid.uuid5(_NAMESPACE, f"{kind}\n{key}")


@lru_cache(maxsize=1024)
def field_property(key: str) -> str:
    """The typed property of a declared metadata key."""
    return f"m_{_safe(key)}"


@lru_cache(maxsize=1024)
def folded_property(key: str) -> str:
    """The lower-case copy of a declared text key."""
    return f"f_{_safe(key)}"


@lru_cache(maxsize=1024)
def vector_name(space: str) -> str:
    """The named vector of a searchable space."""
    return _safe(space) if space[:1].isalpha() else f"s_{_safe(space)}"


@lru_cache(maxsize=1024)
def kept_property(space: str) -> str:
    """The property of a space that is only kept."""
    return f"k_{_safe(space)}"


def _safe(name: str) -> str:
    """A name that Weaviate takes; different names stay different."""
    if re.fullmatch(r"[A-Za-z0-9_]{1,60}", name):
        return name
    return f"{re.sub('[^A-Za-z0-9]', '_', name)[:40]}_{blake2b(name.encode(), digest_size=4).hexdigest()}"


def check_collection(name: str) -> str:
    """A collection's name.

    Raises:
        StoreError: Weaviate would refuse it, or change it silently.
    """
    if not re.fullmatch(r"[A-Z][A-Za-z0-9_]{0,200}", name):
        raise StoreError(
            f"{name!r} cannot name a collection of Weaviate.",
            "It starts with a capital letter; letters, digits and _ may follow.",
        )
    return name


def check_tenant(name: str | None) -> str | None:
    """A tenant's name.

    Raises:
        StoreError: Weaviate would refuse it.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise StoreError(f"{name!r} cannot name a tenant of Weaviate.", "Up to 64 letters, digits, - and _.")
    return name
