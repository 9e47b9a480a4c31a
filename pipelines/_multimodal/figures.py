"""Numbers and dates in one form: 14 April 2025 and 2025-04-14 are equal, and so are 1.2 million and 1,200,000."""

import re
from decimal import Decimal

_MONTHS = {
    name: number
    for number, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec"), 1,
    )
    for name in names.split()
}  # fmt: skip
_ANY = re.IGNORECASE
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DATES = (
    re.compile(rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<m>{_MONTH})\.?,?\s+(?P<y>\d{{4}})\b", _ANY),
    re.compile(rf"\b(?P<m>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b", _ANY),
    re.compile(r"\b(?P<y>\d{4})[-/.](?P<m>0?[1-9]|1[0-2])[-/.](?P<d>\d{1,2})\b"),
)
_SLASHED = re.compile(r"\b(\d{1,2})[/.](\d{1,2})[/.](\d{4})\b")
_SCALES = {"thousand": 3, "k": 3, "million": 6, "mio": 6, "m": 6, "billion": 9, "bn": 9, "trillion": 12}
_GAP = ",\u00a0\u202f’'"
_NUMBER = re.compile(
    rf"(?<![\d.,])(?P<n>\d{{1,3}}(?:[{_GAP}]\d{{3}})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?P<s>\s?(?:thousand|million|mio|billion|bn|trillion)\b|[kKM]\b)?"
)
_WORDS = "two three four five six seven eight nine ten eleven twelve".split()
_WORD = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)


def figures(text: str) -> list[frozenset[str]]:
    """Numbers and dates in order; each as the forms that it may have.

    A date of which it is open what is the day and what the month has two forms, everything else one: "2025-04-14",
    "1200000", "62", "3.5".
    """
    found: list[frozenset[str]] = []

    def take(match: re.Match[str]) -> str:
        month = match["m"].lower()
        found.append(frozenset({_date(match["y"], _MONTHS.get(month) or int(month), match["d"])}))
        return " "

    def take_slashed(match: re.Match[str]) -> str:
        first, second, year = match.groups()
        pairs = [(d, int(m)) for d, m in ((first, second), (second, first)) if 1 <= int(m) <= 12]
        found.append(frozenset(_date(year, month, day) for day, month in pairs))
        return " " if pairs else match[0]

    for pattern in _DATES:
        text = pattern.sub(take, text)
    text = _SLASHED.sub(take_slashed, text)
    found += [frozenset({_plain(match["n"], match["s"])}) for match in _NUMBER.finditer(text)]
    found += [frozenset({str(_WORDS.index(word.lower()) + 2)}) for word in _WORD.findall(text)]
    return [forms for forms in found if forms]


def missing(claim: str, evidence: str) -> tuple[str, ...]:
    """Numbers and dates of a statement that do not occur in its evidence."""
    there = forms(evidence)
    return tuple(dict.fromkeys(min(asked) for asked in figures(claim) if there.isdisjoint(asked)))


def forms(text: str) -> set[str]:
    """All forms of all numbers and dates of a text; a date's day and year also count alone."""
    found = set().union(*figures(text))
    for date in [value for value in found if value.count("-") == 2]:
        year, _, day = date.split("-")
        found |= {year, str(int(day))}
    return found


def _date(year: str, month: int, day: str) -> str:
    return f"{year}-{month:02}-{int(day):02}"


def _plain(digits: str, scale: str | None) -> str:
    value = Decimal(re.sub(f"[{_GAP}]", "", digits))
    if scale:
        value = value.scaleb(_SCALES[scale.strip().lower()])
    return f"{value.normalize():f}"
