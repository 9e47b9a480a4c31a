"""Stops an embedded server when its last user is gone, however it went (exit, crash, kill -9).

Run as a script of its own, without the rest of the package: `python -I -S guardian.py FOLDER`. It sleeps in a lock
until then. The locks are in the folder of the server:

* `users.lock` is held shared by every process that uses the server;
* `alive.lock` is held by the server process itself (it inherits the open file), so that it is free exactly when
  there is no server, and the process id in `server.json` is valid exactly while it is held.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

USERS, ALIVE, STATE = "users.lock", "alive.lock", "server.json"
PATIENCE_S = 60.0


def take(file: int, kind: int) -> bool:
    """Take a lock (`fcntl.LOCK_EX` or `LOCK_SH`) if that is possible at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def opened(file: Path) -> int:
    """Open (and create) a lock file for its owner only."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def alive(folder: Path) -> bool:
    """Whether a server runs on this folder."""
    file = opened(folder / ALIVE)
    try:
        return not take(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def stop(folder: Path, sig: signal.Signals = signal.SIGTERM) -> None:
    """End the server of a folder and wait until it is gone; one that does not obey is killed after a minute."""
    deadline = time.monotonic() + PATIENCE_S
    if not alive(folder):
        return
    pid = json.loads((folder / STATE).read_text(encoding="utf-8")).get("pid")
    if not pid:
        return
    os.kill(pid, sig)
    while alive(folder):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def main(folder: Path) -> None:
    """Wait for the last user, then stop the server."""
    users = opened(folder / USERS)
    fcntl.flock(users, fcntl.LOCK_EX)
    if folder.is_dir():
        stop(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
