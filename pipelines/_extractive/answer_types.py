"""What kind of thing a question asks for, and whether a text has one to offer."""

import re
from typing import Literal

AnswerType = Literal[
    "date", "year", "percent", "money", "number", "temperature", "weight", "distance", "age", "speed", "electric",
    "quantity", "person", "place", "reason",
]  # fmt: skip

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_NUMBER_WORD = (
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|"
    r"fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|"
    r"fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|dozen|once|twice|single|both|half|several)\b"
)
_NUMBER_OR_WORD = rf"(?:{_NUMBER}|{_NUMBER_WORD})"
_YEAR = r"\b(?:1\d|20)\d\d\b"
_LONE_NUMBER = rf"(?<![\w.]){_NUMBER}(?!\w)"

_CALENDAR = (
    r"(?!(?:January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|"
    r"Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|The|This|These|In|At|"
    r"On|For|From|Table|Figure|Chapter|Section|Chart|Page|Note)\b)"
)
_CAPITALISED = rf"{_CALENDAR}[A-Z][\w'’-]+"

_AUXILIARY = r"(?:is|are|was|were|did|does|do|will|would|has|have|had|can|could|should|must|may)"


def _asks(word: str) -> str:
    """Of "when": in "When did ..." and "tell me when it closed", but not in "what do you do when it closes"."""
    return (
        rf"\b{word} {_AUXILIARY}\b|\b(?:by|since|until|from) {word}\b|"
        rf"^(?!.*\b(?:what|which|who|whom|whose|why|how)\b).*\b{word}\b"
    )


# In order: the first pattern that a question matches decides.
_ASKED: dict[AnswerType, str] = {
    "percent": r"\b(?:what|which) (?:percent|share|proportion|fraction)|percentage|per cent|how many percent",
    "year": r"\b(?:what|which) year\b",
    "date": (
        rf"{_asks('when')}|\b(?:what|which) (?:date|day|month)\b|"
        r"\bwhat(?:['’]s| is| was) [^?]*\bdate\b|\b(?:by|until|since|at|on|to) what (?:date|time|day)\b"
    ),
    "number": r"\bhow many\b|\b(?:what|which) (?:number|count)\b|\bhow often\b|\bpopulation\b",
    "money": (
        r"how much money|how much (?:is|was|did|does|do|will|would|are|were|has|have|money)[^?]*"
        r"(?:cost|pay|paid|price|charge|spend|spent|worth|owe)|"
        r"\b(?:price|cost|fee|salary|amount due|revenue|total due|subtotal|budget)\b"
    ),
    "temperature": r"\bwhat temperature\b|\bhow (?:hot|cold|warm)\b|\b(?:melting|boiling|freezing|flash) point\b",
    "weight": r"\bhow heavy\b|\bwhat weight\b|\bhow much (?:does|do|did|can) [^?]*\bweigh\b",
    "distance": (
        r"\bhow (?:far|tall|deep|wide|thick)\b|\b(?:what|which) (?:height|depth|width|distance|altitude|diameter)\b"
    ),
    "age": r"\bhow old\b|\bwhat age\b|\bthe age of\b",
    "speed": r"\bhow (?:fast|quickly)\b|\bwhat speed\b",
    "electric": r"\b(?:what|which) (?:voltage|wattage|current)\b",
    "quantity": (
        r"\bhow (?:much|long|high|large|big|low|loud)\b|"
        r"\b(?:what|which) (?:size|length|rate|capacity|level|version|port|dose|pressure|duration|frequency|power)\b"
    ),
    "person": (
        r"^\W*(?:by |to |with |from |for )?(?:who|whom|whose)\b|\bby whom\b|"
        r"\b(?:which|what) (?:person|author|company|organi[sz]ation|agency|institute|university|firm|supplier|"
        r"contractor|architect|painter|museum|team|club|bank|vendor)s?\b"
    ),
    "place": (
        rf"{_asks('where')}|"
        r"\b(?:what|which) (?:city|country|town|place|state|county|district|region|directory|file|location)\b"
    ),
    "reason": r"\bwhy\b|\bwhat (?:caused?|causes|prompted|led to|is the reason|was the reason)\b",
}
_ASKS = tuple((kind, re.compile(pattern)) for kind, pattern in _ASKED.items())

_ORDINAL = (
    r"(?:\d{1,2}(?:st|nd|rd|th)?|"
    r"(?:(?:twenty|thirty)[ -])?(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth)|"
    r"tenth|eleventh|twelfth|(?:thir|four|fif|six|seven|eigh|nine)teenth|twentieth|thirtieth)"
)
_DAY = (
    rf"\b{_MONTH}\.?\s+(?:the\s+)?{_ORDINAL}\b|\b{_ORDINAL}\s+(?:of\s+)?{_MONTH}\b|"
    r"\b\d{1,2}[/.]\d{1,2}[/.]\d{2,4}\b|\b\d{4}-\d\d-\d\d\b|\b\d{1,2}:\d\d\b|"
    r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|"
    rf"\b(?:in|by|since|until|before|after|every|each|last|next|early|late)\s+{_MONTH}\b|"
    rf"\b(?:\d{{1,2}}(?:[.:]\d\d)?|{_NUMBER_WORD})\s*(?:[ap]\.?m\b|o['’]clock\b)|\b(?:noon|midday|midnight)\b"
)


def _measure(units: str) -> re.Pattern[str]:
    return re.compile(rf"(?i){_NUMBER_OR_WORD}\s*-?\s*(?:{units})")


_OFFERS: dict[AnswerType, re.Pattern[str]] = {
    "date": re.compile(rf"(?i){_YEAR}|{_DAY}"),
    "year": re.compile(_YEAR),
    "percent": re.compile(rf"(?i){_NUMBER_OR_WORD}\s*(?:%|percent|per cent|pct)"),
    "money": re.compile(
        rf"(?i)[$€£¥]\s*{_NUMBER}|{_NUMBER_OR_WORD}\s*(?:dollars?|euros?|pounds?|usd|eur|gbp|chf|million|billion|cents)\b|"
        r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\w.])|(?<![\w.])\d[\d,]*\.\d\d(?![\w.])"
    ),
    "temperature": _measure(r"°|degrees?\b|celsius|fahrenheit|kelvin|[CFK]\b"),
    "weight": _measure(r"(?:k|m|μ|µ)?g\b|grams?|kilo\w*|lbs?\b|pounds?|ton(?:ne)?s?\b|oz\b|ounces?|carats?"),
    "distance": _measure(r"(?:k|c|m|n|μ|µ)?m\b|\w*met(?:er|re)s?\b|miles?|ft\b|feet|foot|in\b|inch\w*|yards?|[\"”″′']"),
    "age": re.compile(rf"(?i)\baged?:? +{_NUMBER}|{_NUMBER_OR_WORD}[\s-]*(?:years?|months?|weeks?|days?)\b"),
    "speed": _measure(r"\w+/\w+|\wph\b|knots?|\w*bps|mach|[a-z]+ (?:per|an?) \w+|\w*seconds?|minutes?|hours?|days?"),
    "electric": _measure(r"[kmM]?[VWA]\b|volts?|\w*watts?|amp\w*|hp\b|horsepower"),
    "number": re.compile(rf"(?i){_LONE_NUMBER}|{_NUMBER_WORD}"),
    "quantity": re.compile(rf"(?i){_NUMBER}\s*-?\s*[a-z°\"%]+|{_NUMBER_WORD}\s+[a-z]+"),
    "person": re.compile(
        rf"\b{_CALENDAR}[A-Z][\w.'’-]*[a-z.]?\s+(?:(?:van|von|de|der|la|of|and|&)\s+)?{_CAPITALISED}|"
        rf"\b{_CALENDAR}[A-Z][a-z]{{2,}}\b|\b[A-Z]{{2,}}\b"
    ),
    "place": re.compile(rf"\b{_CAPITALISED}(?:\s+{_CAPITALISED})*|/[\w.-]+/[\w./-]+"),
    "reason": re.compile(
        r"(?i)\b(?:because|due to|owing to|since|so that|as a result|thanks to|caused|in order to|therefore|reason|"
        r"prompted|resulted?|to (?:avoid|prevent|ensure|protect|allow|reduce))\b"
    ),
}
NUMERIC_TYPES = frozenset(
    {"percent", "money", "number", "quantity", "temperature", "weight", "distance", "age", "speed", "electric"}
)
"""In a table their unit stands in the header."""
_NAMED_ROLE = re.compile(
    r"\b(?:by|author|director|president|chair\w*|manager|secretary|leader|founder|inventor|officer)\b[^.]{0,25}[A-Z]"
)

FOUND, LONE_NAME, NAMED_ROLE = 1.0, 0.6, 1.3


def expected_type(question: str) -> AnswerType | None:
    """The kind of thing that a question asks for; None when it cannot be told."""
    asked = question.lower()
    return next((kind for kind, pattern in _ASKS if pattern.search(asked)), None)


def offered_by_cell(kind: AnswerType, cell: str, question: str) -> float:
    """`offered`, for the cell of a table, whose unit may stand in the header."""
    return min(FOUND, offered("number" if kind in NUMERIC_TYPES else kind, cell, question))


def offered(kind: AnswerType, text: str, question: str) -> float:
    """How well a text offers something of a kind that the question does not already contain.

    Returns:
        0: nothing; 1: found; .6: only one capitalised word for a person or place; 1.3: a name beside a role or "by".
    """
    asked = question.lower()
    best = 0.0
    name = kind in ("person", "place")
    for match in _OFFERS[kind].finditer(text):
        found = match.group(0).strip()
        if found.lower() in asked:
            continue  # "in 2010" asked, 2010 found: no answer
        lone = name and " " not in found
        if lone and match.start() == 0 and len(text) > 30:
            continue  # the first word of a sentence is capitalised anyway
        best = max(best, LONE_NAME if lone else FOUND)
        if best == FOUND:
            break
    if best and kind == "person" and _NAMED_ROLE.search(text):
        return NAMED_ROLE
    return best
