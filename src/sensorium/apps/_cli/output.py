"""What is printed: JSON for programs, text for people. Names and quotes from documents never reach a terminal raw."""

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from sensorium.clock import span

WIDTH = 100
SNIPPET = 240


def emit(value: Any, indent: int | None = None) -> None:
    """Print one JSON value on a line of its own.

    Half characters (file names that are no UTF-8) become JSON escapes, which readers take back.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    _write(text.encode("utf-8", "backslashreplace") + b"\n")


def say(text: str = "") -> None:
    """Print a line for people on stdout."""
    _write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def pour(text: str) -> None:
    """Print a piece of a line at once."""
    _write(printable(text, lines=True).encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def note(text: str) -> None:
    """Print a line on stderr."""
    raw = text.encode(sys.stderr.encoding or "utf-8", "backslashreplace") + b"\n"
    sys.stderr.buffer.write(raw)
    sys.stderr.flush()


def _write(raw: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def printable(text: str, lines: bool = False) -> str:
    """Text with control characters, and half characters, as escapes.

    Args:
        text: Anything from a document, a file name or the network.
        lines: Keep line breaks.
    """
    return "".join(c if c.isprintable() or (lines and c == "\n") else _escape(c) for c in text)


def _escape(character: str) -> str:
    if character in "\u00a0\u202f\u2009\u3000":
        return " "
    return character.encode("unicode_escape").decode()


def place(evidence: Mapping[str, Any]) -> str:
    """Evidence in words: `pdf/x.pdf, page 3, table (x 10-90 %, y 20-40 %)`."""
    parts = [printable(str(evidence["source"]))]
    parts += [f"{name} {evidence[name]}" for name in ("page", "slide") if evidence.get(name) is not None]
    parts.append(str(evidence["kind"]))
    text = ", ".join(parts)
    if evidence.get("bbox") and list(evidence["bbox"]) != [0, 0, 1, 1]:
        x0, y0, x1, y1 = (round(100 * value) for value in evidence["bbox"])
        text += f" (x {x0}-{x1} %, y {y0}-{y1} %)"
    if evidence.get("start_s") is not None:
        text += f" ({span(evidence['start_s'], evidence.get('end_s'))})"
    return text


def answer_text(answer: Mapping[str, Any], again: str) -> Iterable[str]:
    """Lines of an answer with its citations.

    Args:
        answer: `Answer.public()`.
        again: Options of this run that `show` needs too, e.g. ` --data kb`.
    """
    words = answer["answer"]
    if answer["abstained"] and answer["citations"]:
        words = words.split("\n", 1)[0]  # the passages follow below, with their places
    yield from _wrapped(words, "")
    yield from citations_text(answer, again)


def citations_text(answer: Mapping[str, Any], again: str) -> Iterable[str]:
    """Lines behind the words of an answer; arguments as of `answer_text`."""
    for remark in answer.get("notes", ()):
        yield ""
        yield from _wrapped(f"Note: {remark}", "")
    citations = answer["citations"]
    if answer["abstained"] and citations and not answer["answer"].split("\n", 1)[0].endswith(":"):
        yield ""
        yield "The closest passages, which do not confirm an answer:"
    for citation in citations:
        verdict = f" ({citation['verdict']})" if citation.get("verdict") else ""
        yield ""
        yield f"[{citation['marker']}] {place(citation['evidence'])}{verdict}"
        if citation["quote"]:
            yield from _wrapped(f'"{citation["quote"]}"', "    ")
        elif citation.get("described_by"):
            yield from _wrapped(f"a picture that {citation['described_by']} described", "    ")
        yield from links_text(citation, "    ")
    if citations:
        marker, node, evidence = citations[0]["marker"], citations[0]["node_id"], citations[0]["evidence"]
        yield ""
        yield f"To see [{marker}]: sensorium show {node} -o {shown_as(evidence)}{_at(evidence)}{again}"


def hits_text(hits: list[Mapping[str, Any]], again: str, filters: Mapping[str, Any] | None = None) -> Iterable[str]:
    """Lines of a list of hits; `again` as in `answer_text`, `filters` for the case that there are none."""
    if not hits:
        yield f"Nothing found with {_filters_text(filters)}." if filters else "Nothing found."
    for hit in hits:
        yield f"{hit['rank']}. {place(hit['evidence'])}, score {hit['score']:.4g}"
        text = " ".join(hit["text"].split())
        yield from _wrapped(text if len(text) <= SNIPPET else text[:SNIPPET].rstrip() + " …", "   ")
        yield from links_text(hit, "   ")
        times = _at(hit["evidence"]) if hit.get("neighbours") else ""
        yield f"   sensorium show {hit['node_id']} -o {shown_as(hit['evidence'])}{times}{again}"


def links_text(result: Mapping[str, Any], indent: str) -> Iterable[str]:
    """Lines that say in which recordings a slide is discussed, and what a recording shows."""
    times: dict[str, list[str]] = {}
    for moment in result.get("moments", ()):
        times.setdefault(moment["source"], []).append(span(moment["start_s"], moment["end_s"]))
    for recording, spans in times.items():
        yield from _wrapped(f"discussed in {recording} at {', '.join(spans)}", indent)
    for shown in result.get("shows", ()):
        name, number = ("slide", shown["slide"]) if shown["slide"] else ("page", shown["page"])
        yield from _wrapped(f"shows {shown['source']}, {name} {number}", indent)


def shown_as(evidence: Mapping[str, Any]) -> str:
    """A name of a file for `show` that fits the evidence."""
    if evidence.get("start_s") is None or evidence["kind"] not in ("speech", "caption"):
        return "crop.png"
    return "clip.m4a" if str(evidence.get("media_type", "")).startswith("audio/") else "clip.mp4"


def _at(evidence: Mapping[str, Any]) -> str:
    """The option of `show` for what may not be all that its node says: a few words of it, or what goes on after it."""
    if not shown_as(evidence).startswith("clip"):
        return ""
    start, end = evidence["start_s"], evidence.get("end_s")
    times = (start, start if end is None else end)
    return " --at " + "-".join(f"{time:.3f}".rstrip("0").rstrip(".") for time in times)


def _filters_text(filters: Mapping[str, Any]) -> str:
    return " and ".join(printable(f"{key}={value}") for key, value in filters.items())


def report_text(report: Mapping[str, Any]) -> Iterable[str]:
    """Lines of an indexing report: the counts, then everything that did not make it."""
    totals = report["totals"]
    for name, number in totals.items():
        if number or name == "nodes":
            yield f"{number:>7,} {name}" + (f", {report['seconds']:.1f} s" if name == "nodes" else "")
    for status in ("failed", "skipped"):
        for row in report["sources"]:
            if row["status"] == status:
                yield f"{status}: {printable(row['source'])}: {printable(row['reason'] or '')}"
    for row in report["sources"]:
        for warning in row["warnings"]:
            yield f"warning: {printable(row['source'])}: {printable(str(warning))}"
    yield from (f"removed: {printable(source)}" for source in report.get("removed", ()))
    yield from (f"note: {printable(str(text))}" for text in report.get("notes", ()))


def tree_text(value: Mapping[str, Any], indent: str = "") -> Iterable[str]:
    """Lines of a nested mapping (the status of an index)."""
    width = max((len(str(k)) for k in value), default=0)
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{printable(str(key))}"
            yield from tree_text(inner, indent + "  ")
        elif isinstance(inner, list | tuple):
            yield f"{indent}{key!s:<{width}}  {', '.join(printable(str(item)) for item in inner) or 'none'}"
        else:
            shown = "none" if inner in (None, {}) else inner
            yield f"{indent}{key!s:<{width}}  {printable(str(shown))}"


def problems_text(problems: list[Mapping[str, Any]]) -> Iterable[str]:
    """Lines of sources that failed, were skipped, or lack parts."""
    for row in problems:
        if row["status"] != "stored":
            kept = " (an older version is searchable)" if row.get("searchable") else ""
            yield f"{row['status']}: {printable(row['source'])}: {printable(row['reason'] or '')}{kept}"
    for row in problems:
        for warning in row["warnings"]:
            yield f"warning: {printable(row['source'])}: {printable(str(warning))}"


def verification_text(outcome: Mapping[str, Any]) -> Iterable[str]:
    """Lines of `Verification.public()`: what was looked at, what was wrong, what is left to do."""
    vectors = ", ".join(f"{printable(name)} {number:,}" for name, number in outcome["vectors"].items())
    yield f"verified: {outcome['nodes']:,} nodes (vectors: {vectors or 'none'}), {outcome['sources']:,} sources"
    for finding in outcome["found"]:
        state = "found" if not outcome["repaired"] else "left" if finding in outcome["left"] else "mended"
        yield f"{state}: {printable(finding['where'])}: {_finding(finding)}"
    for finding in (f for f in outcome["left"] if f not in outcome["found"]):
        yield f"left: {printable(finding['where'])}: {_finding(finding)}"
    yield from (f"hint: {hint}" for hint in dict.fromkeys(_hints(outcome)))
    if not outcome["found"]:
        yield "Everything that is stored is found."


def _finding(finding: Mapping[str, Any]) -> str:
    named = ", ".join(printable(one) for one in finding["examples"])
    return printable(finding["text"]) + (f" ({named})" if named else "")


def _hints(outcome: Mapping[str, Any]) -> Iterable[str]:
    if not outcome["repaired"] and any(not finding["hint"] for finding in outcome["left"]):
        yield "Mend it: sensorium status --repair"
    yield from (printable(finding["hint"]) for finding in outcome["left"] if finding["hint"])


def _wrapped(text: str, indent: str) -> Iterable[str]:
    for line in printable(text, lines=True).split("\n"):
        yield from textwrap.wrap(
            line, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
            break_on_hyphens=False,
        ) or [""]  # fmt: skip
