"""Times as people write them."""

import pytest

from sensorium.clock import clock, seconds, span


@pytest.mark.parametrize(
    ("given", "text"), [(0, "0:00"), (21.4, "0:21"), (59.6, "1:00"), (754, "12:34"), (3599.7, "1:00:00")]
)
def test_seconds_as_a_clock(given: float, text: str) -> None:
    assert clock(given) == text


def test_spans() -> None:
    assert span(21.2, 27.4) == "0:21-0:27"
    assert span(21.2, None) == span(21.2, 21.4) == "0:21"


@pytest.mark.parametrize(("text", "given"), [("75", 75), ("75.5", 75.5), ("1:15", 75), ("1:02:03.5", 3723.5)])
def test_a_clock_as_seconds(text: str, given: float) -> None:
    assert seconds(text) == given


@pytest.mark.parametrize("text", ["", "soon", "1:75", "1:60:00", "-3", "1:2:3:4", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        seconds(text)
