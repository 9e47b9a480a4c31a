"""Cached chart numbers as they are shown: number formats of Excel, in the part that charts use."""

import re
from datetime import datetime, timedelta

_EPOCH = datetime(1899, 12, 30)
_EPOCH_1904 = datetime(1904, 1, 1)
_CURRENCY = re.compile(r"\[\$([^\]-]*)[^\]]*\]")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)')
# Commas at the end of the digits divide by a thousand each.
_NUMBER = re.compile(
    r"(?P<before>[^0#?]*)(?P<whole>[0#?,]*[0#?])(?P<scale>,*)(?:\.(?P<decimals>[0#?]*)(?P<rest>,*))?(?P<after>.*)"
)


def shown(value: str, code: str, date1904: bool = False) -> str:
    """A cached value in its format: `0.256` with `0.0%` is `25.6%`, `110.0` with `General` is `110`.

    Args:
        value: Content of `c:v`: a number in XML notation, or text (kept).
        code: Excel's format code.
        date1904: Dates count from 1904.
    """
    try:
        number = float(value)
    except ValueError:
        return value
    section = _CURRENCY.sub(r"\1", code.split(";")[0])
    bare = re.sub(r"_.|\*.", "", re.sub(r"\[[^\]]*\]", "", section))
    pattern = _LITERAL.sub("", bare)
    if re.search(r"[yd]|mmm", pattern, re.IGNORECASE) and pattern.lower() != "standard":
        return _date(number, pattern.lower(), date1904)
    match = _NUMBER.fullmatch(bare)
    if match is None or re.search(r"[0#?/]|E[+-]", _LITERAL.sub("", match["after"])):
        return plain(number)
    return _formatted(number, match)


def plain(number: float) -> str:
    """At most ten significant digits, no exponent for everyday sizes, no trailing zeros."""
    text = f"{number:.10g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < 1e16 else text


def _formatted(number: float, match: re.Match[str]) -> str:
    before, after = (_LITERAL.sub(lambda m: m[1] or m[2] or "", match[key]) for key in ("before", "after"))
    scaled = number * (100 if "%" in before + after else 1) / 1000 ** len(match["scale"] + (match["rest"] or ""))
    decimals = match["decimals"] or ""
    comma = "," if "," in match["whole"] else ""
    text = f"{abs(scaled):{comma}.{len(decimals)}f}"
    if scaled and not float(text.replace(",", "")):
        return plain(number)  # the format would show a value that is there as nothing
    optional = len(decimals) - len(decimals.rstrip("#"))
    for _ in range(optional):
        text = text.removesuffix("0")
    return f"{'-' if scaled < 0 else ''}{before.lstrip()}{text.rstrip('.')}{after.rstrip()}"


def _date(number: float, pattern: str, date1904: bool) -> str:
    try:
        day = (_EPOCH_1904 if date1904 else _EPOCH) + timedelta(days=number)
    except (OverflowError, ValueError):
        return plain(number)
    if "d" in pattern:
        return day.strftime("%Y-%m-%d")
    if "m" in pattern:
        return day.strftime("%b %Y") if "y" in pattern else day.strftime("%B")
    return day.strftime("%Y")
