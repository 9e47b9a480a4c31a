"""Working ahead: the same items, a bounded number in advance, and no thread that is left behind."""

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing

import pytest

from sensorium.loaders._media.ahead import ahead


class Made:
    """Counts how many items were made, and whether the generator was closed."""

    def __init__(self, fails_at: int = -1) -> None:
        self.count, self.closed, self._fails_at = 0, False, fails_at

    def items(self, count: int) -> Generator[int, None, None]:
        try:
            for item in range(count):
                if item == self._fails_at:
                    raise ValueError("no more")
                self.count += 1
                yield item
        finally:
            self.closed = True


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_all_items_come_in_order() -> None:
    assert [*ahead(Made().items(500), 3)] == [*range(500)]
    assert [*ahead(Made().items(0), 3)] == []


def test_items_are_made_in_another_thread() -> None:
    def items() -> Generator[int, None, None]:
        yield threading.get_ident()

    assert next(ahead(items(), 1)) != threading.get_ident()


def test_a_few_items_are_made_in_advance_and_no_more() -> None:
    made = Made()
    with closing(ahead(made.items(100), 4)) as items:
        assert next(items) == 0
        until = time.monotonic() + 5
        while made.count < 6 and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.05)
        assert made.count == 6  # the one taken, four that wait, and one for which there is no room
    assert made.closed


@pytest.mark.parametrize("taken", [1, 7])
def test_closing_it_closes_what_it_takes_from(taken: int) -> None:
    made = Made()
    items = ahead(ahead(made.items(1000), 2), 2)
    assert [next(items) for _ in range(taken)] == [*range(taken)]
    items.close()
    assert made.closed
    assert made.count < taken + 10


def test_an_error_arrives_after_the_items_before_it() -> None:
    made, taken = Made(fails_at=5), list[int]()
    with pytest.raises(ValueError, match="no more"):
        taken.extend(ahead(ahead(made.items(10), 2), 2))
    assert taken == [*range(5)]
    assert made.closed


def test_an_error_of_the_one_who_takes_ends_it() -> None:
    made = Made()

    def use() -> None:
        with closing(ahead(made.items(1000), 2)) as items:
            for item in items:
                assert item < 3

    with pytest.raises(AssertionError):
        use()
    assert made.closed
