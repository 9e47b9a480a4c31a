"""How every verb ends: exit codes, one-line errors with a hint, no traceback unless it is asked for.

0 done; 1 unexpected error; 2 wrong usage or invalid configuration; 3 finished, but some sources failed,
or something is wrong with the index.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from sensorium.apps._cli.output import note, printable
from sensorium.errors import ConfigError, LoadError, MissingExtraError, MissingIndexError, QueryError, SensoriumError

P = ParamSpec("P")

UNEXPECTED, USAGE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130
_WRONG_USE = (ConfigError, LoadError, MissingExtraError, MissingIndexError, QueryError)


def guarded(verb: Callable[P, int | None]) -> Callable[P, None]:
    """Turn what a verb returns or raises into an exit code."""

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = verb(*args, **kwargs) or 0
        except BrokenPipeError:
            code = _reader_left()
        except KeyboardInterrupt:
            note("interrupted")
            code = INTERRUPTED
        except SensoriumError as error:
            code = _explain(error, bool(kwargs.get("debug")))
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:  # noqa: BLE001  # the last resort: a short line instead of a traceback
            code = _unexpected(error, bool(kwargs.get("debug")))
        raise typer.Exit(code)

    return run


def _reader_left() -> int:
    """The reader of our output (`| head`) has what it wanted."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _explain(error: SensoriumError, debug: bool) -> int:
    if debug:
        _traceback(error)
    note(f"error: {_masked(error.message)}")
    for fault in getattr(error, "faults", ()):
        note(f"  {_masked(str(fault))}")
    if error.hint:
        note(f"hint: {_masked(error.hint)}")
    return USAGE if isinstance(error, _WRONG_USE) else UNEXPECTED


def _unexpected(error: Exception, debug: bool) -> int:
    if debug:
        _traceback(error)
    first = (str(error).strip().splitlines() or [""])[0]
    note(f"error: unexpected {type(error).__name__}: {_masked(first[:300])}")
    if not debug:
        note("hint: run it again with --debug for the traceback")
    return UNEXPECTED


def _traceback(error: BaseException) -> None:
    import traceback

    for line in "".join(traceback.format_exception(error)).splitlines():
        note(_masked(line))


def _masked(text: str) -> str:
    """Text without values of the environment that the configuration took."""
    masking: Any = sys.modules.get("sensorium.pipelines._spec.env")
    return printable(masking.mask(text) if masking else text, lines=True)
