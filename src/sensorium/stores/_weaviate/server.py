"""Weaviate Embedded: a server of our own on this machine, shared by every process that opens its folder.

weaviate-client brings the server and its settings. Its class for it (`EmbeddedV4`) is kept, but starts the process in
a way that does not do here: the server gets the whole environment (a variable of the user's silently wins over a
default), writes to our terminal, is hit by our Ctrl-C, ends with the one client that started it, and counts as up
when it listens, which is before it is ready. So `_Process` replaces how it is launched, and nothing else.

gRPC and the cluster API cannot be bound to loopback: Weaviate has no setting for that. Both need a secret here.
"""

import atexit
import fcntl
import http.client
import json
import logging
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from weaviate.embedded import EmbeddedOptions, EmbeddedV4
from weaviate.exceptions import WeaviateBaseError

from sensorium.errors import StoreError
from sensorium.stores._weaviate import guardian
from sensorium.stores._weaviate.binary import VERSION, ensure_binary

log = logging.getLogger("sensorium.weaviate")

HOST = "127.0.0.1"
NODE = "sensorium"
USER = "sensorium"
START_SECONDS = 120.0
# Below the range that systems take the ports of outgoing connections from.
PORTS = range(20_000, 32_000, 10)
BLOCK = 6
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "GOMAXPROCS", "GOMEMLIMIT", "GOGC")

_warned = False
_children: list[tuple[Path, "subprocess.Popen[bytes]"]] = []
"""Servers and guardians that this process launched, with their folder; they may outlive the object that did so."""


@dataclass(frozen=True)
class State:
    """What is kept in `server.json` (mode 0600).

    Attributes:
        api_key: The key that clients need; made once for a folder.
        cluster_password: Of the cluster API, which only the server itself uses.
        base: First of six consecutive ports: HTTP, gRPC, gossip, cluster API, Raft, Raft RPC.
        pid: Process of the server; valid while its `alive.lock` is held.
        version: Of the server that runs or ran last.
    """

    api_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    cluster_password: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    base: int = 0
    pid: int = 0
    version: str = ""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The state of a folder; a new one where there is none."""
        try:
            return cls(**json.loads((folder / guardian.STATE).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
        except (ValueError, TypeError) as fault:
            raise StoreError(f"{folder / guardian.STATE} is damaged: {fault}", "Remove it; the data stay.") from fault

    def write(self, folder: Path) -> None:
        """Replace the file in one step."""
        file = folder / f".{guardian.STATE}.new"
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(self), out)
        file.replace(folder / guardian.STATE)


def start(
    data: Path, version: str = VERSION, settings: Mapping[str, str] | None = None, timeout: float = START_SECONDS
) -> "EmbeddedServer":
    """Start the server of a folder, or join it where it runs already.

    Args:
        data: Folder of the server: its data, its key, its log.
        version: Release to run.
        settings: Further environment variables of the server; they win over ours.
        timeout: Seconds that it may take (a large index is read first).

    Raises:
        StoreError: no binary, it does not come up, or one of another version is in use on this folder.
    """
    return EmbeddedServer(data, version, settings, timeout)


class EmbeddedServer:
    """A running server on a folder of its own. It ends when the last process that uses it has closed it or is gone.

    Args:
        data: As for `start`.
        version: As for `start`.
        settings: As for `start`.
        timeout: As for `start`.
    """

    def __init__(
        self,
        data: Path,
        version: str = VERSION,
        settings: Mapping[str, str] | None = None,
        timeout: float = START_SECONDS,
    ) -> None:
        self.data = Path(data).absolute()
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._process: _Process | None = None
        self._user = os.getpid()
        self._users = guardian.opened(self.data / guardian.USERS)
        try:
            with _starting(self.data, timeout):
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self.state = self._joined(version, timeout) or self._launched(version, settings or {}, timeout)
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)

    @property
    def http_port(self) -> int:
        """Port of REST, on loopback."""
        return self.state.base

    @property
    def grpc_port(self) -> int:
        """Port of gRPC, on all interfaces."""
        return self.state.base + 1

    @property
    def url(self) -> str:
        """Address of REST."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def api_key(self) -> str:
        """Key for clients."""
        return self.state.api_key

    @property
    def version(self) -> str:
        """Release that runs."""
        return self.state.version

    @property
    def pid(self) -> int:
        """Process of the server."""
        return self.state.pid

    @property
    def started_here(self) -> bool:
        """Whether this object started the server, rather than joined a running one."""
        return self._process is not None

    def stop(self) -> None:
        """Leave the server; it ends if nobody else uses it. Harmless when called twice."""
        if self._users < 0 or os.getpid() != self._user:  # a forked worker shares the lock, but is no user
            return
        users, self._users = self._users, -1
        atexit.unregister(self.stop)
        try:
            _leave(users, self.data)
        finally:
            os.close(users)
        _reap(self.data)

    def kill(self) -> None:
        """End the server at once, as a crash would (for tests of recovery)."""
        guardian.stop(self.data, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _joined(self, version: str, timeout: float) -> State | None:
        """The running server's state, or None where none runs."""
        if not guardian.alive(self.data):
            return None
        state = State.read(self.data)
        deadline = time.monotonic() + timeout
        while guardian.alive(self.data):
            if _ready(state):
                if state.version != version:
                    raise StoreError(
                        f"A Weaviate {state.version} server is in use on {self.data}; {version} was asked for.",
                        "Close the programs that use it.",
                    )
                return state
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The Weaviate server of {self.data} (process {state.pid}) runs but does not answer.",
                    f"End that process and try again; its log is {self.data / 'server.log'}.",
                )
            time.sleep(0.05)
        return None

    def _launched(self, version: str, settings: Mapping[str, str], timeout: float) -> State:
        ensure_binary(version)
        state = State.read(self.data)
        deadline = time.monotonic() + timeout
        while True:
            state = replace(state, base=_free_block(state.base), pid=0, version=version)
            state.write(self.data)
            process = _Process(self.data, state, settings)
            process.start()
            self._process, state = process, replace(state, pid=process.pid)
            state.write(self.data)
            if process.wait_till_ready(state, deadline):
                break
            state = replace(state, base=0)  # somebody took one of the ports in between
        _guard(self.data)
        _warn(state)
        return state


class _Process(EmbeddedV4):
    """weaviate-client's embedded server, with an environment, a session and a log of its own."""

    def __init__(self, folder: Path, state: State, settings: Mapping[str, str]) -> None:
        self.folder, self.log = folder, folder / "server.log"
        self.process = None
        try:
            super().__init__(
                EmbeddedOptions(
                    persistence_data_path=str(folder / "db"),
                    version=state.version,
                    port=state.base,
                    grpc_port=state.base + 1,
                    hostname=HOST,
                    additional_env_vars={**environment(state, folder / "db"), **settings},
                )
            )
        except WeaviateBaseError as fault:  # no such platform, no such version
            raise StoreError(f"Weaviate Embedded does not run here: {fault}") from fault

    @property
    def pid(self) -> int:
        """Process of the server; 0 before the start."""
        return self.process.pid if self.process else 0

    def start(self) -> None:
        """Launch the process; it inherits the lock that says that it lives."""
        self.ensure_weaviate_binary_exists()
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        arguments = ["--host", HOST, "--port", str(self.options.port), "--scheme", "http"]
        with ExitStack() as files:
            alive = guardian.opened(self.folder / guardian.ALIVE)
            files.callback(os.close, alive)
            fcntl.flock(alive, fcntl.LOCK_EX)
            log_file = files.enter_context(self.log.open("wb"))
            self.process = subprocess.Popen(
                [str(self._weaviate_binary_path), *arguments, "--read-timeout=600s", "--write-timeout=600s"],
                env={**inherited, **(self.options.additional_env_vars or {})},
                stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, pass_fds=(alive,), start_new_session=True,
            )  # fmt: skip
        _children.append((self.folder, self.process))

    def wait_till_ready(self, state: State, deadline: float) -> bool:
        """Wait for the first answer; False where it ended because a port was taken.

        Raises:
            StoreError: it ended for another reason, or is not ready in time.
        """
        assert self.process is not None
        while not _ready(state):
            if self.process.poll() is not None:
                tail = self._tail()
                if "address already in use" in tail:
                    return False
                raise StoreError(f"The Weaviate server ended with code {self.process.returncode}: {tail}")
            if time.monotonic() > deadline:
                raise StoreError(f"The Weaviate server is not ready in time: {self._tail()}", f"Its log is {self.log}.")
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        """Nothing: the last user stops the server, not the end of this object."""

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(lines[-3:]) or "it wrote nothing to its log"


def environment(state: State, data: Path) -> dict[str, str]:
    """The server's settings: our key, nothing anonymous, nothing sent home, loopback where it can be."""
    base = state.base
    return {
        "PERSISTENCE_DATA_PATH": str(data),
        "GRPC_PORT": str(base + 1),
        "CLUSTER_HOSTNAME": NODE,
        "CLUSTER_IN_LOCALHOST": "true",
        "CLUSTER_ADVERTISE_ADDR": HOST,
        "CLUSTER_BIND_ADDR": HOST,
        "CLUSTER_GOSSIP_BIND_PORT": str(base + 2),
        "CLUSTER_DATA_BIND_PORT": str(base + 3),
        "CLUSTER_BASIC_AUTH_USERNAME": USER,
        "CLUSTER_BASIC_AUTH_PASSWORD": state.cluster_password,
        "RAFT_PORT": str(base + 4),
        "RAFT_INTERNAL_RPC_PORT": str(base + 5),
        "RAFT_BOOTSTRAP_EXPECT": "1",
        "RAFT_JOIN": f"{NODE}:{base + 4}",
        # One node has nobody to wait for: ready in 2-3 s rather than 7.
        "RAFT_TIMEOUTS_MULTIPLIER": "1",
        "AUTHENTICATION_ANONYMOUS_ACCESS_ENABLED": "false",
        "AUTHENTICATION_APIKEY_ENABLED": "true",
        "AUTHENTICATION_APIKEY_ALLOWED_KEYS": state.api_key,
        "AUTHENTICATION_APIKEY_USERS": USER,
        "AUTHORIZATION_ADMINLIST_ENABLED": "true",
        "AUTHORIZATION_ADMINLIST_USERS": USER,
        "GO_PROFILING_DISABLE": "true",
        "ENABLE_MODULES": "",
        "API_BASED_MODULES_DISABLED": "true",
        "DEFAULT_VECTORIZER_MODULE": "none",
        "DISABLE_TELEMETRY": "true",
        "AUTOSCHEMA_ENABLED": "false",
        "LOG_LEVEL": "error",
    }


@contextmanager
def _starting(folder: Path, timeout: float) -> Iterator[None]:
    """One process at a time starts or joins the server of a folder."""
    file = guardian.opened(folder / "start.lock")
    deadline = time.monotonic() + timeout
    try:
        while not guardian.take(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise StoreError(f"Another process has been starting the Weaviate server of {folder} for too long.")
            time.sleep(0.05)
        yield
    finally:
        os.close(file)


def _leave(users: int, folder: Path) -> None:
    """Give the user's lock back; the last one stops the server, unless the guardian is doing so."""
    fcntl.flock(users, fcntl.LOCK_UN)
    while not guardian.take(users, fcntl.LOCK_EX):
        if guardian.take(users, fcntl.LOCK_SH):  # others use it
            return
        time.sleep(0.02)
    guardian.stop(folder)


def _reap(folder: Path) -> None:
    """Take note of children that have ended; those of a server that has just been stopped are given the time to."""
    over = not guardian.alive(folder)
    for entry in list(_children):
        where, child = entry
        with suppress(subprocess.TimeoutExpired, ValueError):  # another thread may have removed it
            child.wait(1.0 if over and where == folder else 0.0)
            _children.remove(entry)


def _guard(folder: Path) -> None:
    """Have the server stopped when its last user is killed."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(guardian.__file__)), str(folder)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    _children.append((folder, child))


def _ready(state: State) -> bool:
    """Whether our server answers on its ports: another one would not know the key."""
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(HOST, state.base, timeout=5)
        try:
            for path in ("/v1/.well-known/ready", "/v1/meta"):
                connection.request("GET", path, headers={"Authorization": f"Bearer {state.api_key}"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    return False
        finally:
            connection.close()
        with socket.create_connection((HOST, state.base + 1), timeout=5):
            return True
    return False


def _free_block(preferred: int) -> int:
    """First of six consecutive free ports; the folder's last ones where they are free."""
    for base in [preferred, *random.sample(PORTS, len(PORTS))]:
        if base and all(_free(base + offset) for offset in range(BLOCK)):
            return base
    raise StoreError(f"There are no {BLOCK} free ports in a row between {PORTS.start} and {PORTS.stop}.")


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:  # a port that was just left may be taken again, as the server does
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True


def _warn(state: State) -> None:
    """Say once in a process what cannot be shut."""
    global _warned
    if not _warned:
        _warned = True
        log.warning(
            "Weaviate Embedded listens on all network interfaces with two of its ports: %d (gRPC, needs our key) and "
            "%d (cluster API, needs a password). Weaviate has no setting for that; shut them with a firewall.",
            state.base + 1,
            state.base + 3,
        )
