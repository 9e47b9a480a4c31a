"""Which process writes, so that others can see whether it is alive."""

import json
import os
import socket
import time
from functools import cache
from pathlib import Path

ABANDONED_S = 3600.0
"""Age after which the work of another machine that gives no sign of life is cleared away."""

QUIET_S = 90.0
"""Age of a sign of life after which a process of another machine may be gone: one that writes gives one a minute."""


def owner() -> str:
    """This process, so that others of the same machine can see whether it is alive."""
    return json.dumps([_machine(), os.getpid(), _started(os.getpid())])


def is_gone(process: str, touched: float) -> bool:
    """Whether a process (`owner`) is dead, or gave no sign of life for long on another machine.

    Args:
        process: As `owner` names it; nobody when empty.
        touched: Its last sign of life, seconds since 1970.
    """
    machine, pid, started = _parsed(process)
    if machine == _machine():
        return bool(_started(pid) != started)
    return time.time() - touched > ABANDONED_S


def may_be_gone(process: str, touched: float) -> bool:
    """Whether a process of another machine has given no sign of life for a while: too early to undo its work."""
    return _parsed(process)[0] != _machine() and time.time() - touched > QUIET_S


def _parsed(process: str) -> tuple[str, int, str]:
    machine, pid, started = json.loads(process or '["", 0, ""]')
    return machine, pid, started


@cache
def _machine() -> str:
    """This machine since its last start; containers count as machines."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"


def _started(pid: int) -> str:
    """When a process was started, in the system's own count; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        return "alive"
    return "alive"
