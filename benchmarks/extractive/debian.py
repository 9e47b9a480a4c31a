"""Nodes and programmatic questions from Debian packages (see fetch.py), and the natural questions about them.

Part of the material is left out on purpose, so that questions about it have no answer in the index: entries and
rows (absent names), sentences (removed), columns (removed).
"""

import gzip
import html
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.extractive.documents import DATA
from benchmarks.extractive.material import Material, Question

SEED = 7
ENTRIES, ASKED_ENTRIES = 1500, 320

_RELEASED = "(?:released|introduced|developed|designed|invented|published|appeared|formed|founded|implemented|adopted)"
# What an entry says, and how one asks for it.
_PATTERNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (r"(?:developed|designed|written|invented|created) by ((?:[A-Z](?:\.|[\w-]+) )+[A-Z][\w-]+)",
     ("Who developed {h}?", "Who created {h}?", "{h} was designed by whom?"), "who"),
    (_RELEASED + r"[^.]{0,60}? in ((?:19|20)\d\d)",
     ("When was {h} developed?", "In what year was {h} introduced?", "When did {h} first appear?"), "when"),
    (r"country code for ([A-Z][\w, ()\'-]+?)\.",
     ("Which country uses the country code .{h}?", "What does the country code {h} stand for?"), "what"),
    (r"(RFC ?\d+)", ("Which RFC describes {h}?", "In what RFC is {h} defined?"), "what"),
    (r"port (?:number )?(\d+)", ("What port number does {h} use?",), "number"),
    (r"successor (?:to|of) ([A-Z][\w -]+?)[.,;]", ("What is {h} the successor of?",), "what"),
    (r"(?:runs|running|run) (?:on|under) ((?:the )?[A-Z][\w/ -]+?)[.,;]", ("What does {h} run on?",), "what"),
    (r"based on ((?:the )?[A-Z][\w/ +-]+?)[.,;]", ("What is {h} based on?", "On what is {h} based?"), "what"),
)  # fmt: skip
# What one may ask of an entry, and words without which it cannot answer.
_ATTRIBUTES = (
    ("Who invented {h} and in what city was that person born?", r"born"),
    ("How much does a licence for {h} cost?", r"cost|price|\$|licen"),
    ("How many employees worked on {h}?", r"employ|people|staff"),
    ("When was {h} discontinued?", r"discontinu|withdrawn|obsolete|end"),
    ("What is the telephone number for {h}?", r"phone|tel"),
    ("Which university teaches {h}?", r"universi|institute|college"),
    ("What percentage of users prefer {h}?", r"%|percent"),
    ("How fast is {h} in megabytes per second?", r"second|byte|bps|speed|fast"),
    ("Who is the current maintainer of {h}?", r"maintain"),
    ("What colour is the logo of {h}?", r"logo|colou?r"),
)


def add_debian(material: Material, root: Path) -> None:
    """Add everything.

    Args:
        material: Where to.
        root: Unpacked packages.
    """
    chance = random.Random(SEED)
    removed, questions = _natural()
    _dictionary(material, root, chance)
    _elements(material, root, chance)
    _books(material, root, removed)
    _tables(material, root, chance)
    material.questions += questions


def _read(path: Path) -> str:
    opened = gzip.open if path.suffix in (".gz", ".dz") else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as file:
        return str(file.read()).replace("\xa0", " ")


def _natural() -> tuple[list[str], list[Question]]:
    removed, questions = [], []
    for line in (DATA / "debian_questions.txt").read_text(encoding="utf-8").splitlines():
        mark, rest = line[:2], line[2:]
        text, _, answer = rest.partition(" => ")
        if mark == "- ":
            removed.append(rest)
        elif mark == "? ":
            questions.append(Question(text, answer, "", "natural, long texts", natural=True))
        elif mark in ("! ", "x ", "~ "):
            kind = {"! ": "near miss", "x ": "removed", "~ ": "off topic"}[mark]
            questions.append(Question(text, None, "", kind, natural=True))
    return removed, questions


# The dictionary ------------------------------------------------------------------------------------------

_Entry = tuple[str, list[str]]


def _entries(root: Path) -> Iterator[_Entry]:
    text = _read(root / "usr/share/dictd/foldoc.dict.dz")
    for entry in re.split(r"\n(?=\S[^\n]{0,60}\n\n   )", text):
        head, _, body = entry.partition("\n")
        body = re.sub(r"\{\(?([^{}]*?)\)?\}", r"\1", body)
        body = re.sub(r"\(\d{4}-\d\d-\d\d\)|<[^<>]*>", "", body)
        paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", body)]
        paragraphs = [p for p in paragraphs if len(p) > 3]
        length = sum(map(len, paragraphs))
        if re.match(r"[A-Za-z][\w +/.-]{2,40}$", head.strip()) and 60 < length < 1500:
            yield head.strip(), paragraphs


def _dictionary(material: Material, root: Path, chance: random.Random) -> None:
    entries = list(_entries(root))
    chance.shuffle(entries)
    asked: list[tuple[str, str, str, str]] = []
    for head, paragraphs in entries[:ENTRIES]:
        source, text = f"dictionary/{head}", "\n".join(paragraphs)
        found = _matching(head, text) if len(asked) < ASKED_ENTRIES else None
        kind = "text"
        if found:
            answer, templates, about = found
            question = chance.choice(templates).format(h=head)
            asked.append((head, question, about, text))
            if len(asked) % 8 == 7:
                paragraphs = _without(paragraphs, answer)
                material.questions.append(Question(question, None, source, "removed"))
            else:
                pattern = re.escape(answer).replace(r"\ ", r"\s*")
                kind = "ocr" if len(asked) % 8 == 6 else "text"
                about = "ocr" if kind == "ocr" else about
                material.questions.append(Question(question, pattern, source, about))
        if kind == "ocr":
            material.add(source, _noisy(text, chance)[:1200], "ocr", head)
        else:
            material.pack(source, paragraphs, head)
    indexed = "\n".join(p for _, ps in entries[:ENTRIES] for p in ps).lower()
    absent = [h for h, _ in entries[ENTRIES:] if h.lower() not in indexed and len(h) > 4 and re.search("[a-z]", h)]
    _near_misses(material, asked, absent)


def _matching(head: str, text: str) -> tuple[str, Sequence[str], str] | None:
    for pattern, templates, about in _PATTERNS:
        match = re.search(pattern, text)
        if match and len(match.group(1)) > 1 and match.group(1).lower() not in head.lower():
            return match.group(1).strip(), templates, about
    return None


def _without(paragraphs: Sequence[str], answer: str) -> list[str]:
    kept = [" ".join(s for s in re.split(r"(?<=[.!?])\s+", p) if answer not in s) for p in paragraphs]
    return [p for p in kept if p]


def _noisy(text: str, chance: random.Random) -> str:
    """What OCR by lines does: lost blanks after stops and commas, rn read as m."""
    text = re.sub(r"\.\s+(?=[A-Z])", lambda m: "." if chance.random() < 0.5 else ". ", text)
    text = re.sub(r", ", lambda m: "," if chance.random() < 0.4 else ", ", text)
    return re.sub(r"rn", lambda m: "m" if chance.random() < 0.1 else "rn", text)


def _near_misses(material: Material, asked: Sequence[tuple[str, str, str, str]], absent: Sequence[str]) -> None:
    for i in range(40):
        head, question, _, _ = asked[i * 5 % len(asked)]
        material.questions.append(Question(question.replace(head, absent[i]), None, "", "absent name"))
    made = 0
    for head, _, _, text in asked[60:]:
        template, words = _ATTRIBUTES[made % len(_ATTRIBUTES)]
        if made < 40 and not re.search(words, text, re.IGNORECASE):
            question = template.format(h=head)
            material.questions.append(Question(question, None, f"dictionary/{head}", "absent attribute"))
            made += 1


# Elements ------------------------------------------------------------------------------------------------


def _elements(material: Material, root: Path, chance: random.Random) -> None:
    text = _read(root / "usr/share/dictd/elements.dict.dz")
    found = re.findall(
        r"\n([a-z]+)\nSymbol: (\w+)\nAtomic number: (\d+)\nAtomic weight: ([^\n]+)\n(.*?)(?=\n\n[a-z]+\nSymbol|\Z)",
        text, re.DOTALL,
    )  # fmt: skip
    for i, (name, symbol, number, weight, body) in enumerate(found):
        body = " ".join(body.split())
        who = re.search(r"(?:discovered|isolated|identified)[^.]*?by ((?:[A-Z][\w.]* ?)+)", body)
        when = re.search(r"(?:discovered|isolated|identified)[^.]*?in (\d{4})", body)
        source = f"elements/{name}"

        def ask(text: str, answer: str | None, kind: str, source: str = source) -> None:
            material.questions.append(Question(text, answer, source, kind))

        if i % 9 == 5:
            ask(f"What is the atomic weight of {name}?", None, "absent name")
            continue
        if i % 7 == 3:
            body = " ".join(s for s in re.split(r"(?<=[a-z\d]\.)\s+", body)
                            if not re.search("discovered|isolated|identified", s))  # fmt: skip
            if who:
                ask(f"Who discovered {name}?", None, "removed")
        elif who and i % 2:
            ask(chance.choice([f"Who discovered {name}?", f"By whom was {name} first found?"]),
                re.escape(who.group(1).strip()), "who")  # fmt: skip
        elif when and i % 3:
            ask(f"In which year was {name} discovered?", when.group(1), "when")
        elif i % 3 == 0:
            ask(f"What is the atomic weight of {name}?", re.escape(weight.strip("[]")), "number")
        elif i % 4 == 1:
            ask(chance.choice([f"What is the boiling point of {name}?", f"What is the density of {name}?"]),
                None, "absent attribute")  # fmt: skip
        head = f"Symbol: {symbol}\nAtomic number: {number}\nAtomic weight: {weight}"
        material.add(source, f"{head}\n{body}", title=name)


# Books ---------------------------------------------------------------------------------------------------


def _books(material: Material, root: Path, removed: Sequence[str]) -> None:
    history = _read(root / "usr/share/doc/debian-history/docs/project-history.en.txt.gz")
    history = history[history.rindex("Chapter 1. Introduction") :]
    for sentence in removed:
        pattern = r"\s+".join(map(re.escape, sentence.split()))
        history, count = re.subn(pattern, "", history)
        if not count:
            raise ValueError(f"The Debian history has no sentence {sentence!r}: another version of the package?")
    _sections(material, "debian/history", "A Brief History of Debian", history, r"(Chapter )?[\dA]+(\.\d+)*\.? \S")
    faq = _read(root / "usr/share/doc/debian/FAQ/debian-faq.en.txt.gz")
    faq = faq[faq.rindex("Chapter 1.") :]
    _sections(material, "debian/faq", "The Debian FAQ", faq, r"(Chapter )?\d+(\.\d+)*\.? \S")
    for path in sorted((root / "usr/share/doc/debian-handbook/html/en-US").glob("sect.*.html"))[::2]:
        page = re.sub(r"(?s)<(script|style|pre).*?</\1>", "", _read(path))
        title = re.search(r"<title>(.*?)</title>", page)
        section = _plain(title.group(1)) if title else ""
        parts = re.findall(r'(?s)<(?:p|div class="para"|td|li)[^>]*>(.*?)</(?:p|div|td|li)>', page)
        paragraphs = [p for p in map(_plain, parts) if len(p) > 30][:14]
        material.pack("debian/handbook", paragraphs, "The Debian Administrator's Handbook", section)
    for path in sorted(Path("/usr/share/common-licenses").glob("*")):
        if path.is_file() and not path.is_symlink():
            heading = r"(Section )?\d+\. [A-Z]|[A-Z][A-Z ]{6,}$"
            _sections(material, f"licences/{path.name}", path.name, _read(path)[:22000], heading)


def _plain(markup: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", "", markup).split()))


def _sections(material: Material, source: str, title: str, text: str, heading: str) -> None:
    section, paragraphs = "", list[str]()
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split())
        if re.match(heading, line) and len(line) < 110:
            material.pack(source, paragraphs, title, section)
            section, paragraphs = line, []
        elif line and not re.match(r"[-_=* ]{5,}$", line):
            paragraphs.append(line)
    material.pack(source, paragraphs, title, section)


# Tables --------------------------------------------------------------------------------------------------

ROWS = 14


def _tables(material: Material, root: Path, chance: random.Random) -> None:
    misc = root / "usr/share/misc"
    countries = [(r[3], r[4], r[1], r[2], r[0]) for r in _colon(misc / "countries.gz", r"\d{3}:", 5)]
    _table(
        material, chance, "tables/countries", "ISO 3166 country codes and capitals",
        ("Country", "Capital", "alpha-2", "alpha-3", "numeric code"), countries,
        ("What is the {c} of {r}?", "Which {c} belongs to {r}?"), ("Atlantis", "Ruritania", "Freedonia"),
    )  # fmt: skip
    airports = [(r[1], r[0], r[4], r[2]) for r in _colon(misc / "airport.gz", r"[A-Z]{3}:", 5) if len(r[1]) > 7][::6]
    _table(
        material, chance, "tables/airports", "Airport codes", ("Airport", "Code", "City", "Country"), airports,
        ("What is the {c} of {r} airport?", "Which {c} does {r} airport have?"), ("Zubrowka", "Wakanda"),
    )  # fmt: skip
    currencies = [(r[2], r[0], r[1]) for r in _colon(misc / "currency.gz", r"[A-Z]{3}:", 3)]
    _table(
        material, chance, "tables/currency", "ISO 4217 currency codes", ("Currency", "Code", "Number"), currencies,
        ("What is the currency {c} of the {r}?", "{c} of {r}"), ("Galactic credit", "Latinum"),
    )  # fmt: skip


def _colon(path: Path, start: str, fields: int) -> list[list[str]]:
    rows = [line.split(":")[:fields] for line in _read(path).splitlines() if re.match(start, line)]
    unique = {row[1 if fields == 5 else 2]: row for row in rows if len(row) == fields}
    return list(unique.values())


def _table(
    material: Material, chance: random.Random, source: str, caption: str, header: Sequence[str],
    rows: Sequence[tuple[str, ...]], templates: Sequence[str], absent: Sequence[str],
) -> None:  # fmt: skip
    """Add a table without its last column and some rows, and questions about what is and is not there."""
    order = list(rows)
    chance.shuffle(order)
    gone, known = order[: max(2, len(order) // 12)], order[max(2, len(order) // 12) :]
    columns = range(1, len(header) - 1)

    def ask(label: str, j: int) -> str:
        return chance.choice(templates).format(c=header[j], r=label)

    for row in gone[:4]:
        material.questions.append(Question(ask(row[0], 1), None, source, "removed row"))
    for n, row in enumerate(known[:11]):
        j = columns[n % len(columns)]
        if row[j]:
            answer = rf"(?<![\w.,]){re.escape(row[j])}(?!\w)"
            material.questions.append(Question(ask(row[0], j), answer, source, "table", row=row[0]))
    for row in known[11:14]:
        material.questions.append(Question(ask(row[0], len(header) - 1), None, source, "absent column"))
    for label in absent:
        material.questions.append(Question(ask(label, 1), None, source, "absent row"))
    kept = [row for row in rows if row not in gone]
    for at in range(0, len(kept), ROWS):
        lines = [header[:-1], ["---"] * (len(header) - 1), *(row[:-1] for row in kept[at : at + ROWS])]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        material.add(source, text, "table", caption=caption)
