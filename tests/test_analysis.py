"""Search terms: one way for the index and the answer."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

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
        ("part_5mm_hole 3b_ 3bxyz", ["part", "5", "mm", "hole", "3", "b", "3bxyz"]),
        ("a\x00b\u3000c\x85d\xa0e \ud800", ["a", "b", "c", "d", "e"]),
        ('"; DROP TABLE nodes; -- NEAR(x) *', ["drop", "tabl", "node", "near", "x"]),
    ],
)
def test_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


def test_offsets_point_at_the_words() -> None:
    text = "Visitors: 41,250 (2023)"
    assert [text[t.start : t.start + len(t.text)] for t in tokens(text)] == ["Visitors", "41,250", "2023"]


def test_terms_and_tokens_agree() -> None:
    text = "3b_ 25fps,x 1,000's「東京」 O'Neil's " + "東京都" * 40
    assert terms(text) == [token.term for token in tokens(text)]


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns after almost every step."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_get_the_stems_of_their_own_words(switching: None) -> None:
    texts = [[f"running{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10]}{of}nesses" for i in range(100)] for of in "uvwxyz"]
    with ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(lambda words: [terms(word) for word in words], texts))
    assert found == [[[word.removesuffix("nesses")] for word in words] for words in texts]
