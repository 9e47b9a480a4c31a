"""Markdown: headings as path, tables, code kept, links as text."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sensorium.loaders._text.html import html_text
from sensorium.loaders._text.parts import Headings, Part, linked, markdown_table, pieces

if TYPE_CHECKING:
    from markdown_it.tree import SyntaxTreeNode

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)


def markdown_parts(source: str) -> Iterator[Part]:
    """Passages and tables of a Markdown text."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    matter = _FRONT_MATTER.match(source)
    title = _front_title(matter.group(1)) if matter else ""
    skipped = source[: matter.end()].count("\n") if matter else 0
    body = source[matter.end() :] if matter else source
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(body))
    headings = Headings()
    for node in tree.children:
        line = (node.map[0] if node.map else 0) + 1 + skipped
        if node.type == "heading":
            heading = _inline(node)
            yield from headings.enter(int(node.tag[1]), heading, line)
            title = title or (heading if node.tag == "h1" else "")
        elif node.type == "table":
            rows = [[_inline(cell) for cell in row.children] for part in node.children for row in part.children]
            yield Part(markdown_table(rows), "table", headings.below(), line, title=title)
        else:
            for piece in pieces(_block(node)):
                yield Part(piece, section=headings.below(), line=line, title=title)
    yield from headings.end()


def _front_title(matter: str) -> str:
    found = re.search(r"^title:\s*[\"']?(.*?)[\"']?\s*$", matter, re.MULTILINE)
    return found.group(1) if found else ""


def _block(node: "SyntaxTreeNode", indent: str = "") -> str:
    """Text of a block: lists with their marks, code within fences."""
    if node.type in ("fence", "code_block"):
        return f"```{node.info.split()[0] if node.info.strip() else ''}\n{node.content.rstrip()}\n```"
    if node.type == "html_block":
        return html_text(node.content)
    if node.type in ("bullet_list", "ordered_list"):
        return "\n".join(_item(item, node, indent) for item in node.children)
    if node.type in ("paragraph", "heading"):
        return _inline(node)
    return "\n".join(filter(None, (_block(child, indent) for child in node.children)))


def _item(item: "SyntaxTreeNode", parent: "SyntaxTreeNode", indent: str) -> str:
    mark = f"{item.info}." if parent.type == "ordered_list" and item.info else "-"
    lines = [
        _block(child, indent + "  ") if child.type.endswith("_list") else indent + "  " + _block(child)
        for child in item.children
    ]
    first = lines[0].strip() if lines else ""
    return "\n".join([f"{indent}{mark} {first}", *lines[1:]])


def _inline(node: "SyntaxTreeNode") -> str:
    """Text of what stands in a line: links with their address, pictures by their description."""
    if node.type == "link":
        return linked("".join(map(_inline, node.children)), str(node.attrs.get("href", "")))
    if node.type == "image":
        return "".join(map(_inline, node.children)) if node.children else node.content
    if node.type == "softbreak":
        return " "
    if node.type == "hardbreak":
        return "\n"
    if node.type == "html_inline":
        return "\n" if re.match(r"(?i)<br", node.content) else ""
    if node.children:
        return "".join(map(_inline, node.children)).strip() if node.type != "inline" else _joined(node)
    return node.content if node.type in ("text", "code_inline", "text_special") else ""


def _joined(node: "SyntaxTreeNode") -> str:
    return "".join(map(_inline, node.children))
