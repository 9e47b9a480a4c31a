"""Starts worker processes: quickly, from scripts without a `__main__` guard, and never left behind.

On Linux one clean process imports what workers need and is forked for each of them (about 20 ms a worker, also
after a crash). `multiprocessing`'s own fork server would import the user's script again in every worker.
Elsewhere workers are spawned by `multiprocessing`.
"""

import ctypes
import gc
import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing import reduction, spawn
from multiprocessing.connection import Connection
from typing import Any, Protocol

from sensorium.errors import SensoriumError
from sensorium.loaders.mupdf import import_pymupdf
from sensorium.pipelines._ingest import lean


class Worker(Protocol):
    """A running worker process."""

    pid: int
    connection: Connection

    def end(self) -> str:
        """Kill it if it still runs; how it ended, in words ("signal 11, SIGSEGV")."""
        ...


class Launcher(Protocol):
    """Starts workers."""

    def launch(self) -> Worker:
        """Start one."""
        ...

    def close(self) -> None:
        """End what is left of it."""
        ...


def launcher(setup: Any, preload: Iterable[str] = ()) -> Launcher:
    """The quickest way to start workers on this system.

    Args:
        setup: What every worker gets (`messages.Setup`), and whose `serve` it runs; it is pickled.
        preload: Modules worth importing before workers are forked.
    """
    if sys.platform == "linux" and not getattr(sys, "frozen", False):
        return Forks(ForkHost(preload, whole=_whole(setup)), setup)
    return Spawner(setup)


def _whole(setup: Any) -> bool:
    """Whether all of LlamaIndex is needed: modules of readers may import parts that do not work alone."""
    return bool(setup.by_suffix)


class ForkHost:
    """A process that is forked for each worker (Linux).

    Args:
        preload: Modules worth importing before it is forked.
        whole: Import all of LlamaIndex.
    """

    def __init__(self, preload: Iterable[str] = (), whole: bool = False) -> None:
        ours, theirs = socket.socketpair()
        # Linux sends the signal of `_die_with_parent` when the thread ends that started the process.
        lasting = threading.current_thread() is threading.main_thread()
        arguments = f"{theirs.fileno()}, {sorted(preload)}, {whole}, {lasting}"
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import host; host({arguments})"
        python = spawn.get_executable()
        self._process = subprocess.Popen(
            [python, "-c", code], stdin=subprocess.DEVNULL, stdout=_stderr(), pass_fds=[theirs.fileno()],
            env=_FRUGAL | os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            process_group=0,  # Ctrl-C is the business of our process
        )  # fmt: skip
        theirs.close()
        self._control = Connection(ours.detach())

    def fork(self, setup: bytes) -> "Forked":
        """Start a worker with a pickled setup."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._send(setup)
            with suppress(BrokenPipeError, ConnectionResetError):  # the next answer tells
                reduction.send_handle(self._control, theirs.fileno(), self._process.pid)
            return Forked(self, self._receive(), Connection(ours.detach()))

    def reap(self, pid: int) -> int:
        """Wait for a worker that has died or been killed; its exit status, negative for a signal."""
        self._send(pid)
        return int(self._receive())

    def close(self) -> None:
        """End the host and, with it, all its workers."""
        self._control.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Any) -> None:
        with suppress(BrokenPipeError):  # the next answer tells
            self._control.send(message)

    def _receive(self) -> Any:
        try:
            return self._control.recv()
        except (EOFError, ConnectionResetError) as fault:
            raise SensoriumError(
                f"The process that starts workers has ended (exit status {self._process.wait()}).",
                "Its last words are on stderr.",
            ) from fault


def _stderr() -> int:
    """Where what a parser prints goes: never to stdout, which may carry the command line's JSON."""
    try:
        os.fstat(2)
    except OSError:  # a daemon that has closed it
        return subprocess.DEVNULL
    return 2


# Of glibc's allocator: models take and free blocks of some 50 MB for every picture and minute of speech, and between
# smaller ones that stay they would not go back to the system. One arena, and blocks of their own from 8 MB on, take
# 100 MB off the peak of a recording's worker and cost no time.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(8 << 20)}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


class Forks:
    """Forks workers of one setup.

    Args:
        host: What is forked; `close` ends it.
        setup: What every worker gets.
    """

    def __init__(self, host: ForkHost, setup: Any) -> None:
        self._host = host
        self._setup = pickle.dumps(setup)

    def launch(self) -> "Forked":
        """Start a worker."""
        return self._host.fork(self._setup)

    def close(self) -> None:
        """End the host and what is left of its workers."""
        self._host.close()


class Forked:
    """A forked worker."""

    def __init__(self, home: ForkHost, pid: int, connection: Connection) -> None:
        self._home = home
        self.pid = pid
        self.connection = connection

    def end(self) -> str:
        """See `Worker.end`."""
        self.connection.close()
        # Its whole group: a parser may have started programs of its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return in_words(self._home.reap(self.pid))


class Spawner:
    """Workers by `multiprocessing`'s spawn method, for systems where forking is unsafe or unknown."""

    def __init__(self, setup: Any) -> None:
        self._setup = pickle.dumps(setup)
        self._whole = _whole(setup)
        self._context = multiprocessing.get_context("spawn")

    def launch(self) -> "Spawned":
        """Start a worker."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=spawned, args=(theirs, self._setup, self._whole), daemon=True)
        process.start()
        theirs.close()
        return Spawned(process, ours)

    def close(self) -> None:
        """Nothing is left: every worker is ended by itself."""


class Spawned:
    """A spawned worker."""

    def __init__(self, process: Any, connection: Any) -> None:
        self._process = process
        self.pid = int(process.pid)
        self.connection = connection

    def end(self) -> str:
        """See `Worker.end`."""
        self.connection.close()
        self._process.join(0.2)
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join()
        return in_words(self._process.exitcode)


def in_words(status: int) -> str:
    """An exit status for a person: "signal 11, SIGSEGV" or "exit status 3"."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status}, {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def host(handle: int, preload: Sequence[str], whole: bool, lasting: bool = True) -> None:
    """Main loop of the process that is forked for workers; ends when its other end closes.

    Args:
        handle: File descriptor of its end.
        preload: See `ForkHost`.
        whole: See `ForkHost`.
        lasting: Whether the thread that started it lasts as long as its process.
    """
    if lasting:
        _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = Connection(handle)
    if not whole:
        lean.install()
    _prepare(preload)
    workers: set[int] = set()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            command = control.recv()
            if isinstance(command, bytes):
                workers.add(_fork(control, command))
            else:
                control.send(_reap(command, workers))
    for pid in workers:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _prepare(preload: Iterable[str]) -> None:
    """Import and load once what every worker would import and load."""
    for module in preload:
        with suppress(ImportError):  # a missing package is the business of the sources that need it
            import_pymupdf() if module == "pymupdf" else importlib.import_module(module)
    from sensorium.pipelines._ingest import worker

    worker.prepare()
    gc.freeze()


def _fork(control: Connection, setup: bytes) -> int:
    handle = reduction.recv_handle(control)
    pid = os.fork()
    if pid:
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # here and in the child, so that it holds whoever comes first
        os.close(handle)
        control.send(pid)
        return pid
    status = 1
    try:
        control.close()
        os.setpgid(0, 0)
        _die_with_parent()
        pickle.loads(setup).serve(Connection(handle))
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the other end has gone
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        # No clean-up: nothing of the host's may run a second time here.
        os._exit(status)


def _reap(pid: int, workers: set[int]) -> int:
    _, status = os.waitpid(pid, 0)
    workers.discard(pid)
    return os.waitstatus_to_exitcode(status)


def spawned(connection: Connection, setup: bytes, whole: bool) -> None:
    """Main function of a spawned worker; see `host`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not whole:
        lean.install()
    with suppress(BrokenPipeError, ConnectionResetError):
        pickle.loads(setup).serve(connection)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however that comes about."""
    parent = os.getppid()
    set_death_signal = 1  # PR_SET_PDEATHSIG
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
