"""Properties that are made when they are first asked for."""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, Self, TypeVar, overload

_T = TypeVar("_T")
_LOCK = "_once"


class once(Generic[_T]):  # noqa: N801 - used like `property`
    """A property that is made when it is first asked for, once, whichever threads ask for it.

    Of one object only one is made at a time. (`functools.cached_property` has no lock from Python 3.12 on, and before
    that one for all objects.) The object holds the lock, so it cannot be pickled.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> _T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | _T:
        if instance is None:
            return self
        made: dict[str, Any] = instance.__dict__  # what is in it is found before this is asked
        with made.setdefault(_LOCK, RLock()):
            if self._name not in made:
                made[self._name] = self._make(instance)
        value: _T = made[self._name]
        return value
