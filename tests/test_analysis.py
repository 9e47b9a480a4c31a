"""Search terms: one way for the index and the answer."""

import pytest

from sensorium.analysis import terms, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The café's running costs", ["the", "cafe", "run", "cost"]),
        ("6,883 and 6883", ["6883", "and", "6883"]),
        ("$1,234.50", ["$", "1234.50"]),
        ("Q1/2018", ["q1", "2018"]),
        ("25fps, 25 fps", ["25", "fps", "25", "fps"]),
        ("code 5bda1dd6", ["code", "5bda1dd6"]),
        ("東京都", ["東京", "京都"]),
        ("a\x00b \ud800", ["a", "b"]),
        ('"; DROP TABLE nodes; -- NEAR(x) *', ["drop", "tabl", "node", "near", "x"]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_offsets_point_at_the_words() -> None:
    text = "Visitors: 41,250 (2023)"
    assert [text[t.start : t.start + len(t.text)] for t in tokens(text)] == ["Visitors", "41,250", "2023"]
