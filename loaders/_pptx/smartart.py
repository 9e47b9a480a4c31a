"""SmartArt: its text as an outline, from the data model; python-pptx knows nothing of it."""

from typing import Any

from lxml import etree

from sensorium.loaders._pptx.markup import Element, Paragraph, find, find_all, number, paragraphs, parse, qn

_TYPES = {"node", "asst"}


def read_diagram(frame: Element, part: Any) -> list[Paragraph]:
    """The diagram's texts with their level.

    Args:
        frame: `p:graphicFrame` of the diagram.
        part: The slide's part, which holds the relationships.

    Raises:
        KeyError: the package misses the part that the frame names.
    """
    ids = find(frame, ".//dgm:relIds")
    model_id = ids.get(qn("r:dm")) if ids is not None else None
    if model_id is None:
        return []
    model = parse(part.related_part(model_id).blob)
    return _outline(model) or _drawing(model, part)


def _outline(model: Element) -> list[Paragraph]:
    points = {p.get("modelId"): p for p in find_all(model, "dgm:ptLst/dgm:pt")}
    links: dict[str | None, list[tuple[int, str | None]]] = {}
    targets = set()
    for link in find_all(model, "dgm:cxnLst/dgm:cxn"):
        if link.get("type", "parOf") == "parOf":
            links.setdefault(link.get("srcId"), []).append((number(link, "srcOrd"), link.get("destId")))
            targets.add(link.get("destId"))
    found: list[Paragraph] = []
    seen: set[str | None] = set()

    def visit(key: str | None, level: int) -> None:
        point = points.get(key)
        if point is None or key in seen or len(seen) > 10_000:
            return
        seen.add(key)
        inner = level
        if point.get("type", "node") in _TYPES:
            text = " ".join(paragraph.text for paragraph in paragraphs(find(point, "dgm:t")))
            found.extend([Paragraph(text, level)] if text else [])
            inner = level + 1
        for _, child in sorted(links.get(key, []), key=lambda pair: pair[0]):
            visit(child, min(inner, 100))

    for key in points:
        if key not in targets:
            visit(key, 0)
    return found


def _drawing(model: Element, part: Any) -> list[Paragraph]:
    # The data model names its drawing by the relationship id that the slide has for it.
    named = [e.get("relId") for e in model.iter() if etree.QName(e).localname == "dataModelExt"]
    found: list[Paragraph] = []
    for relation_id in named:
        if relation_id in part.rels and not part.rels[relation_id].is_external:
            drawing = parse(part.related_part(relation_id).blob)
            found += [p for shape in drawing.iter(qn("dsp:sp")) for p in paragraphs(find(shape, "dsp:txBody"))]
    return found
