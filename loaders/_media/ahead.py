"""Work ahead of those who use it: a generator that runs in a thread of its own, a bounded number of items in advance.

Decoding, scaling, and running models leave Python's lock, so that two stages of one film use two processors. Each
stage gets what it would have got without, in the same order.
"""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    """There are no more items; they ended with this error."""

    fault: BaseException | None = None


def ahead(items: Generator[T, None, None], most: int) -> Generator[T, None, None]:
    """The items of a generator, which runs in a thread of its own while earlier ones are used.

    Closing this one closes the other, and its thread is over then. Use `contextlib.closing` where not all items are
    taken.

    Args:
        items: Nobody else may use it.
        most: Items that wait to be taken; one more is being made.

    Raises:
        BaseException: whatever the generator raises, after the items before it.
    """
    made: SimpleQueue[T | _End] = SimpleQueue()
    room, closed = threading.Semaphore(most), threading.Event()
    thread = threading.Thread(target=_make, args=(items, made, room, closed), daemon=True, name="sensorium-ahead")
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            room.release()
            yield item
        if item.fault is not None:
            raise item.fault
    finally:
        closed.set()
        room.release()
        thread.join()


def _make(items: Generator[T, None, None], made: "SimpleQueue[T | _End]", room: threading.Semaphore,
          closed: threading.Event) -> None:  # fmt: skip
    try:
        with closing(items):
            for item in items:
                room.acquire()
                if closed.is_set():
                    break
                made.put(item)
        made.put(_End())
    except BaseException as fault:  # noqa: BLE001 - raised by `ahead`
        made.put(_End(fault))
