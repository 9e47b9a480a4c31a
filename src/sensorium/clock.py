"""Seconds of a recording as people write them: `0:21`, `1:02:03`."""

import re

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)")


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(start_s: float, end_s: float | None) -> str:
    """A time or a span of time, as `0:21-0:27`; a moment within one second as `0:21`."""
    first, last = clock(start_s), clock(start_s if end_s is None else end_s)
    return first if first == last else f"{first}-{last}"


def seconds(text: str) -> float:
    """`75`, `75.5`, `1:15` or `1:02:03` as seconds.

    Raises:
        ValueError: it is no such time.
    """
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no time; write seconds (75) or a clock (1:15, 1:02:03)")
    hours, minutes, rest = match.groups(default="0")
    if (match.group(2) and float(rest) >= 60) or (match.group(1) and int(minutes) >= 60):
        raise ValueError(f"{text!r} is no time: minutes and seconds behind a colon stay below 60")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)
