"""Evidence as a model gets to see it: a numbered label, and a text that cannot pass for anything else."""

import re
from dataclasses import dataclass, field

from sensorium.clock import span
from sensorium.nodes import CONTEXT_KEYS, Evidence, made_by
from sensorium.pipelines._multimodal.pictures import Prepared
from sensorium.pipelines.results import Hit

_MARKER = re.compile(r"[\[【［]\s*(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\s*[\]】］]")
_FENCE = re.compile(r"<(?=\s*/?\s*source)", re.IGNORECASE)
_PROTOCOL = re.compile(r"(?i)\b(ANSWERABLE)\s*:")
# Controls, marks that turn the direction of text, and tag characters, in which orders can be hidden.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_PICTURE_ROLES = {"crop": "the part of the document cited", "slide": "the slide", "page": "the whole page",
                  "photo": "the picture"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One numbered piece of evidence of a prompt.

    Attributes:
        number: Its marker.
        hit: What it is.
        text: As sent; shortened when it was too long.
        pictures: Shown with it, in order.
        shown_with: Number of the source whose picture shows this one too; 0 for none.
    """

    number: int
    hit: Hit
    text: str
    pictures: tuple[Prepared, ...] = field(default=(), repr=False)
    shown_with: int = 0

    @property
    def sees(self) -> bool:
        """Whether the model gets a picture of it."""
        return bool(self.pictures or self.shown_with)

    def head(self) -> str:
        """Label and text, as sent."""
        body = self.text or "(no text)"
        lines = [f"[{self.number}] {hit_label(self.hit)}", "<source>", body, "</source>"]
        if self.shown_with:
            lines.append(f"(The picture of [{self.shown_with}] shows [{self.number}] too.)")
        return "\n".join(lines) + "\n"

    def picture_label(self, picture: Prepared) -> str:
        """The line before a picture."""
        note = f"; {_one_line(picture.note)}" if picture.note else ""
        return f"Picture of [{self.number}]: {_PICTURE_ROLES[picture.role]}{note}.\n"


def label(evidence: Evidence) -> str:
    """Where evidence stands: "report.pdf, page 3, table"."""
    parts = [_one_line(evidence.source)]
    parts += [f"{name} {value}" for name, value in (("page", evidence.page), ("slide", evidence.slide)) if value]
    if evidence.start_s is not None:
        parts.append(span(evidence.start_s, evidence.end_s))
    return ", ".join([*parts, evidence.kind])


def hit_label(hit: Hit) -> str:
    """Where a hit stands; of a description, that it is one, and of what."""
    if not made_by(hit.node):
        return label(hit.evidence)
    place, _, _ = label(hit.evidence).rpartition(", ")
    return f"{place}, description of the {hit.node.metadata.get('picture_kind', 'picture')} by a model"


def shown_text(hit: Hit) -> str:
    """Title, section, caption and text of a hit, made harmless."""
    metadata = hit.node.metadata
    context = [f"{key.capitalize()}: {metadata[key]}" for key in CONTEXT_KEYS if metadata.get(key)]
    return neutral("\n".join([*context, hit.text.strip()]).strip())


def checked_text(hit: Hit) -> str:
    """The words that a statement about a hit may come from: those shown, as they stand in the source, and its place.

    The words of a model that described a picture are none of the source's.
    """
    metadata = hit.node.metadata
    context = [str(metadata[key]) for key in CONTEXT_KEYS if metadata.get(key)]
    return "\n".join([label(hit.evidence), *context, *([] if made_by(hit.node) else [hit.text])])


def neutral(text: str) -> str:
    """Text that cannot pass for a marker, the end of a source, a line of the reply's form, or hide characters."""
    text = _HIDDEN.sub("", text)
    text = _MARKER.sub(r"(\1)", text)
    return _PROTOCOL.sub(r"\1 :", _FENCE.sub("‹", text))


def _one_line(text: str) -> str:
    return " ".join(neutral(text).split())
