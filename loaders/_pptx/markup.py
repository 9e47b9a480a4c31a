"""The XML of slides: names, alternate content, text of paragraphs."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

# lxml-stubs name the element class with an underscore only.
Element = etree._Element

_OFFICE = "http://schemas.openxmlformats.org"
NAMESPACES = {
    "a": f"{_OFFICE}/drawingml/2006/main",
    "p": f"{_OFFICE}/presentationml/2006/main",
    "r": f"{_OFFICE}/officeDocument/2006/relationships",
    "c": f"{_OFFICE}/drawingml/2006/chart",
    "cx": "http://schemas.microsoft.com/office/drawing/2014/chartex",
    "dgm": f"{_OFFICE}/drawingml/2006/diagram",
    "dsp": "http://schemas.microsoft.com/office/drawing/2008/diagram",
    "mc": f"{_OFFICE}/markup-compatibility/2006",
    "m": f"{_OFFICE}/officeDocument/2006/math",
    "adec": "http://schemas.microsoft.com/office/drawing/2017/decorative",
    "svg": "http://schemas.microsoft.com/office/drawing/2016/SVG/main",
}
# What broken markup raises in python-pptx, in lxml and here.
BROKEN = (KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, etree.LxmlError)
# Kinds of graphic frame that the walker reads; of others (3-D models) the fallback picture is taken.
FRAMES = ("/table", "/chart", "/chartex", "/diagram", "/ole")
_DRAWN = ("p:sp", "p:grpSp", "p:pic")
_FIELDS_LEFT_OUT = {"slidenum"}


@dataclass(frozen=True)
class Paragraph:
    """A paragraph's text and its level in the list, from 0."""

    text: str
    level: int = 0


def qn(name: str) -> str:
    """`p:sp` in Clark notation."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def parse(data: bytes) -> Element:
    """Parse a part: no entities, no network, no huge trees.

    Raises:
        lxml.etree.XMLSyntaxError: no well-formed XML.
    """
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))


def find(element: Element, path: str) -> Element | None:
    """`element.find` with the prefixes of `NAMESPACES`."""
    return element.find(path, NAMESPACES)


def find_all(element: Element, path: str) -> list[Element]:
    """`element.findall` with the prefixes of `NAMESPACES`."""
    return element.findall(path, NAMESPACES)


def number(element: Element, attribute: str, default: int = 0) -> int:
    """An integer attribute."""
    return int(float(element.get(attribute) or default))


def children(tree: Element) -> Iterator[Element]:
    """Child elements; of alternate content the first choice that can be read, else the fallback.

    python-pptx leaves alternate content out without a word.
    """
    for element in tree:
        if not isinstance(element.tag, str):
            continue
        if element.tag == qn("mc:AlternateContent"):
            yield from _alternate(element)
        else:
            yield element


def _alternate(element: Element) -> Iterator[Element]:
    for choice in find_all(element, "mc:Choice"):
        content = list(children(choice))
        if any(_readable(child) for child in content):
            yield from content
            return
    fallback = find(element, "mc:Fallback")
    if fallback is not None:
        yield from children(fallback)


def _readable(element: Element) -> bool:
    if element.tag == qn("p:graphicFrame"):
        return frame_kind(element) != ""
    return any(element.tag == qn(name) for name in _DRAWN)


def frame_kind(frame: Element) -> str:
    """`table`, `chart`, `chartex`, `diagram`, `ole`, or nothing for a frame of another kind."""
    data = find(frame, "a:graphic/a:graphicData")
    uri = data.get("uri") or "" if data is not None else ""
    return next((kind[1:] for kind in FRAMES if uri.endswith(kind)), "")


def paragraphs(body: Element | None) -> list[Paragraph]:
    """Paragraphs with text: line breaks as newlines, slide numbers left out."""
    found = []
    for paragraph in find_all(body, "a:p") if body is not None else []:
        text = clean("".join(_pieces(paragraph)))
        properties = find(paragraph, "a:pPr")
        level = number(properties, "lvl") if properties is not None else 0
        if text:
            found.append(Paragraph(text, level))
    return found


def _pieces(element: Element) -> Iterator[str]:
    for child in children(element):
        if child.tag == qn("a:br"):
            yield "\n"
        elif child.tag in (qn("a:t"), qn("m:t")):
            yield child.text or ""
        elif not (child.tag == qn("a:fld") and child.get("type") in _FIELDS_LEFT_OUT):
            yield from _pieces(child)


def clean(text: str) -> str:
    """Vertical tabs (also as `_x000B_`) as line breaks, no-break and repeated spaces as one, tabs kept."""
    text = re.sub(r"_x000[BD]_|[\x0b\r\u2028\u2029]", "\n", text).replace("\xa0", " ")
    lines = (re.sub(r" {2,}", " ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
