"""The hand-written documents and questions of `data/documents.txt`.

Blocks are parted by blank lines. `# ` begins a document, `## ` a section, `@source @kind @caption @table` set
where and what the next blocks are, `@refer` how people call the document (each question is asked once as it is and
once with such a reference), `? question => pattern` asks what the document answers, `! question` what it
does not.
"""

import re
from dataclasses import replace
from pathlib import Path

from benchmarks.extractive.material import Material, Question

DATA = Path(__file__).parent / "data"


def add_documents(material: Material) -> None:
    """Add every document."""
    text = (DATA / "documents.txt").read_text(encoding="utf-8")
    for document in re.split(r"(?m)^# ", text)[1:]:
        _document(material, document)


def _document(material: Material, document: str) -> None:
    title, _, body = document.partition("\n")
    source, kind, section, caption = title, "text", "", ""
    references: list[str] = []
    for block in re.split(r"\n(?=\n|@|## |[?!] )", body):
        line, _, rest = block.strip().partition("\n")
        if line.startswith("@source "):
            source = line.removeprefix("@source ")
        elif line.startswith("@refer "):
            references = line.removeprefix("@refer ").split("|")
        elif line.startswith("@kind "):
            kind, caption = line.removeprefix("@kind "), ""
        elif line.startswith("@caption "):
            caption = line.removeprefix("@caption ")
        elif line.startswith("@table "):
            material.add(source, rest, "table", title, section, line.removeprefix("@table "))
            continue
        elif line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith(("? ", "! ")):
            question = _question(line, source)
            material.questions += [question, _located(question, references, len(material.questions) // 2)]
            continue
        elif not line.startswith("@"):
            rest = block.strip()
        if rest:
            material.add(source, rest, kind, title, section, caption)


def _question(line: str, source: str) -> Question:
    if line.startswith("? "):
        text, _, answer = line[2:].partition(" => ")
        return Question(text, answer, source, "natural", natural=True)
    return Question(line[2:], None, source, "near miss", natural=True)


_LOCATED = (
    "According to {place}, {question}?",
    "In {place}, {question}?",
    "{Question} according to {place}?",
    "{Question} in {place}?",
)


def _located(question: Question, references: list[str], n: int) -> Question:
    """The same question with the words by which people point at the document."""
    bare = question.text.rstrip("?")
    leads = bare.startswith(("In ", "According ", "Among "))
    text = _LOCATED[2 if leads else n % len(_LOCATED)].format(
        place=references[n % len(references)], question=bare[0].lower() + bare[1:], Question=bare
    )
    return replace(question, text=text, kind=question.kind + ", located")
