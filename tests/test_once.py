"""Properties that are made once, whichever threads ask."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sensorium.once import once


class Made:
    def __init__(self) -> None:
        self.count = 0

    @once
    def slow(self) -> list[int]:
        """Takes its time."""
        self.count += 1
        time.sleep(0.05)
        return [self.count]

    @once
    def other(self) -> list[int]:
        """Asks for another one."""
        return self.slow

    @once
    def failing(self) -> int:
        self.count += 1
        raise ValueError(self.count)


def test_threads_get_the_same() -> None:
    made = Made()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: made.slow if i % 2 else made.other, range(8)))
    assert all(one is found[0] for one in found)
    assert made.count == 1
    assert Made.slow.__doc__ == "Takes its time."


def test_what_fails_is_tried_again() -> None:
    made = Made()
    for number in (1, 2):
        with pytest.raises(ValueError, match=str(number)):
            _ = made.failing


def test_objects_do_not_wait_for_each_other() -> None:
    first, second = Made(), Made()
    assert first.slow is not second.slow
    assert (first.count, second.count) == (1, 1)
