"""The connection to a Weaviate server: addresses, deadlines and errors that say what to do."""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import httpx
import weaviate
from weaviate.auth import Auth
from weaviate.classes.config import ConsistencyLevel
from weaviate.collections import Collection
from weaviate.config import AdditionalConfig, GrpcConfig, Timeout
from weaviate.exceptions import (
    InsufficientPermissionsError,
    ResponseCannotBeDecodedError,
    UnexpectedStatusCodeError,
    WeaviateBaseError,
    WeaviateClosedClientError,
    WeaviateConnectionError,
    WeaviateStartUpError,
)

from sensorium.errors import StoreError
from sensorium.stores._weaviate.login import Login

MINIMUM = (1, 33)
Consistency = Literal["one", "quorum", "all"]
_GRPC_PORT = 50051
_PAUSE_S = 0.2
# A server cancels a batch whose deadline has passed for the client.
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_CLOUD = (".weaviate.cloud", ".weaviate.network")
# gRPC waits up to two minutes before it looks for a lost server again; a restart takes three seconds.
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 500),
]
_LATE = ("Deadline Exceeded", "timed out while awaiting")
_LOGIN = "authorization"
_REFUSALS = (
    (("tenant not found",), "the tenant does not exist", "Index first."),
    (
        ("tenant not active",),
        "the tenant is not active",
        "Activate it in both collections, or switch on autoTenantActivation for them.",
    ),
    (("read-only", "read only"), "it is in read-only mode", "Its disk may be full; free some space."),
    (("could not find class",), "the collections are gone", "Open the store again."),
)
_REFUSED_KEY = re.compile("unauthenticated|unauthorized|invalid api key|anonymous access not enabled", re.IGNORECASE)


class UnreachableError(StoreError):
    """Nothing answers; whether a write arrived is not known."""


@dataclass(frozen=True)
class Address:
    """Where a server answers HTTP and gRPC."""

    host: str
    port: int
    secure: bool
    grpc_host: str
    grpc_port: int

    @classmethod
    def parse(cls, url: str, grpc_address: str | None) -> "Address":
        """Read a URL and an optional gRPC address ("host:port").

        Raises:
            StoreError: no such URL or address.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreError(
                f"{url!r} is no address of a Weaviate server.", "Write it like this: http://localhost:8080"
            )
        secure = parts.scheme == "https"
        port = _port(url, lambda: parts.port) or (443 if secure else 8080)
        grpc_host, grpc_port = parts.hostname, 443 if secure else _GRPC_PORT
        if parts.hostname.endswith(_CLOUD):
            grpc_host = f"grpc-{parts.hostname}"
        if grpc_address:
            host, _, number = grpc_address.rpartition("://")[2].rpartition(":")
            if not host:
                raise StoreError(f"grpc: {grpc_address!r} is no address.", "Write it like this: localhost:50051")
            grpc_host, grpc_port = host, _port(grpc_address, lambda: int(number)) or _GRPC_PORT
        if (grpc_host, grpc_port) == (parts.hostname, port):
            raise StoreError(
                f"HTTP and gRPC cannot have the same address ({grpc_host}:{grpc_port}).",
                "Give that of gRPC: store: {weaviate: {grpc: HOST:PORT}}",
            )
        return cls(parts.hostname, port, secure, grpc_host, grpc_port)

    @property
    def url(self) -> str:
        """The HTTP address."""
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    @property
    def grpc(self) -> str:
        """The gRPC address."""
        return f"{self.grpc_host}:{self.grpc_port}"


def _port(address: str, read: Callable[[], int | None]) -> int | None:
    try:
        return read()
    except ValueError as error:
        raise StoreError(f"{address!r} has no valid port.") from error


class Connection:
    """A client of one server, with our deadlines instead of the client's minute of retries.

    Args:
        address: Where the server is.
        api_key: API key; the environment variable WEAVIATE_API_KEY when None.
        oidc: Login with the server's identity provider instead (`login`).
        headers: More HTTP headers (a bearer token of an identity provider, keys of a gateway).
        timeout_s: Seconds after which a question without an answer is an error.
        insert_timeout_s: Seconds that the server may take for one batch. Generous: a batch that is cut off is
            stored but not indexed, and has to be written again.

    Attributes:
        interruptions: How often the server was lost for a moment.

    Raises:
        StoreError: no server there, a wrong key, or a version that is too old.
    """

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        headers: Mapping[str, str] | None,
        timeout_s: float,
        insert_timeout_s: float,
        oidc: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.interruptions = 0
        self._closed = False
        if oidc is not None and api_key:
            raise StoreError("api_key and oidc cannot both be given.", "Choose one of them.")
        self._login = Login(address.url, oidc, timeout_s) if oidc is not None else None
        key = None if self._login else api_key or os.environ.get("WEAVIATE_API_KEY") or None
        self.client = weaviate.WeaviateClient(
            connection_params=weaviate.connect.ConnectionParams.from_params(
                address.host, address.port, address.secure, address.grpc_host, address.grpc_port, address.secure
            ),
            auth_client_secret=Auth.api_key(key) if key else None,
            additional_headers={**(headers or {}), **({_LOGIN: self._login.header()} if self._login else {})},
            additional_config=AdditionalConfig(
                timeout=Timeout(init=timeout_s, query=timeout_s, insert=insert_timeout_s),
                grpc_config=GrpcConfig(channel_options=_CHANNEL),
            ),
            skip_init_checks=True,
        )
        self.version = self._connect()

    def _connect(self) -> str:
        try:
            with self.translated():
                self.client.connect()
                version = str(self.client.get_meta().get("version", ""))
                _check_version(version, self.address)
                _guard(self.client, _Patience(self.address, self.timeout_s, self._interrupted, self._renewed))
                self._check_grpc()
                return version
        except KeyError as error:
            self.client.close()
            raise _no_weaviate(self.address) from error
        except BaseException:
            self.client.close()
            raise

    def _check_grpc(self) -> None:
        """One gRPC call before anything else, so that a blocked port is named as such."""
        channel = getattr(self.client._connection, "_grpc_channel", None)
        if channel is None:
            return
        try:
            grpc.channel_ready_future(channel).result(timeout=min(self.timeout_s, 10.0))
        except grpc.FutureTimeoutError as error:
            raise StoreError(
                f"Weaviate answers at {self.address.url}, but its gRPC port {self.address.grpc} does not.",
                "Open that port, or give the right address: store: {weaviate: {grpc: HOST:PORT}}",
            ) from error

    def _interrupted(self) -> None:
        """Count that the server was lost for a moment: it may have been restarted."""
        self.interruptions += 1

    def _renewed(self, metadata: Any) -> Any:
        """Headers of a gRPC call with the token as it is now."""
        if self._login is None:
            return metadata
        header = self._login.header()
        self.client._connection._headers[_LOGIN] = header  # for REST
        return (*((name, value) for name, value in metadata or () if name != _LOGIN), (_LOGIN, header))

    def term(self) -> str:
        """The server's term of office in its cluster, which changes when it starts; empty where it does not tell."""
        try:
            nodes = self.client.cluster.statistics().statistics
            return str(max(int(node.raft.term) for node in nodes))
        except (WeaviateBaseError, httpx.HTTPError, AttributeError, KeyError, TypeError, ValueError):
            return ""  # an older server, a key that may not ask, or nobody there

    def collection(self, name: str, tenant: str | None, consistency: Consistency | None) -> Collection[Any, Any]:
        """A handle; no request is made."""
        self.check_open()
        handle = self.client.collections.get(name)
        if tenant is not None:
            handle = handle.with_tenant(tenant)
        if consistency is not None:
            handle = handle.with_consistency_level(ConsistencyLevel[consistency.upper()])
        return handle

    def check_open(self) -> None:
        """Refuse to work on a closed store.

        Raises:
            StoreError: it was closed.
        """
        if self._closed:
            raise StoreError("The store was closed.", "Open it again.")

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the client's errors into ours.

        Raises:
            StoreError: what the server or the network said, and what to do.
        """
        try:
            yield
        except WeaviateClosedClientError as error:
            raise StoreError("The store was closed.", "Open it again.") from error
        except (WeaviateBaseError, httpx.HTTPError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> StoreError:
        text = said(error)
        status = error.status_code if isinstance(error, UnexpectedStatusCodeError) else 0
        where = self.address.url
        if status == 401 or _REFUSED_KEY.search(text):
            return StoreError(
                f"Weaviate at {where} refuses the API key.",
                "Set api_key, or the variable WEAVIATE_API_KEY; or oidc, where an identity provider decides.",
            )
        if status == 403 or isinstance(error, InsufficientPermissionsError):
            return StoreError(f"The API key may not do this at {where}: {text}", "Use a key with more rights.")
        if isinstance(error, ResponseCannotBeDecodedError):
            return _no_weaviate(self.address)
        if any(word in text for word in _LATE) or isinstance(error, httpx.TimeoutException):
            return UnreachableError(
                f"Weaviate at {where} did not answer in time.",
                "Look at the server, or raise timeout_s or insert_timeout_s.",
            )
        if isinstance(error, (httpx.HTTPError, WeaviateConnectionError, WeaviateStartUpError)):
            return unreachable(self.address, "the connection failed")
        return self.refusal(text)

    @staticmethod
    def concerns_all(reason: str) -> bool:
        """Whether what the server says of one object is true of all."""
        return any(word in reason for words, _, _ in _REFUSALS for word in words)

    def refusal(self, text: str, what: str = "") -> StoreError:
        """What the server said as an error that tells what to do.

        Args:
            text: Its words.
            what: What it refused, as the beginning of the message.
        """
        where = f"{what}{': ' if what else ''}Weaviate at {self.address.url}"
        for words, meaning, hint in _REFUSALS:
            if any(word in text for word in words):
                return StoreError(f"{where}: {meaning}: {_short(text)}", hint)
        return StoreError(f"{where}: {_short(text)}")

    def wait_ready(self) -> None:
        """Wait until the server answers, at most `timeout_s`.

        Raises:
            UnreachableError: it does not.
        """
        end = time.monotonic() + self.timeout_s
        while not self.client.is_ready():
            if time.monotonic() >= end:
                raise unreachable(self.address, "it does not become ready")
            time.sleep(_PAUSE_S)

    def close(self) -> None:
        """Close the client; harmless when it is closed."""
        self._closed = True
        self.client.close()


def unreachable(address: Address, reason: str) -> UnreachableError:
    """No answer from the server."""
    return UnreachableError(
        f"No Weaviate answers at {address.url} (gRPC {address.grpc}): {reason}.",
        "Start the server, or correct the address under store: in the configuration.",
    )


def _no_weaviate(address: Address) -> StoreError:
    return StoreError(f"What answers at {address.url} is no Weaviate server.", "Correct the address under store:.")


def said(error: Exception) -> str:
    """What the server said, without the client's wrapping."""
    text = str(getattr(error, "message", "") or error)
    details = re.search(r'details = "(.*?)"\s*debug_error_string', text, re.DOTALL)
    messages = re.findall(r"'message': [\"'](.*?)[\"']\}", text)
    return details.group(1) if details else "; ".join(messages) or text


def _short(text: str) -> str:
    return re.sub(r"\s+", " ", text)[:400]


def version_numbers(version: str) -> tuple[int, ...]:
    """Major and minor number of a version; empty when there is none."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _check_version(version: str, address: Address) -> None:
    if version_numbers(version) < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise StoreError(
            f"Weaviate at {address.url} is version {version or 'unknown'}; Sensorium needs {needed} or newer.",
            "Update the server.",
        )


@dataclass(frozen=True)
class _Patience:
    """How calls are made.

    Attributes:
        address: Of the server, for messages.
        timeout_s: Seconds for which a lost server is waited for.
        interrupted: Told when it is lost.
        renewed: Gives the headers of a call as they have to be now.
    """

    address: Address
    timeout_s: float
    interrupted: Callable[[], None]
    renewed: Callable[[Any], Any]

    def around(self, method: Callable[..., Any], timeout_s: float | None = None) -> Callable[..., Any]:
        """A method of the stub that waits for a lost server, but not beyond the deadline."""
        patience = self.timeout_s if timeout_s is None else timeout_s

        def call(request: Any, *, metadata: Any, timeout: float) -> Any:
            end = time.monotonic() + patience
            while True:
                try:
                    return method(request, metadata=self.renewed(metadata), timeout=timeout)
                except grpc.RpcError as error:
                    if error.code() not in _LOST:
                        raise
                    self.interrupted()
                    if time.monotonic() + _PAUSE_S >= end:
                        raise unreachable(self.address, _short(str(error.details()))) from error
                time.sleep(_PAUSE_S)

        return call


def _guard(client: weaviate.WeaviateClient, patience: _Patience) -> None:
    """Put our deadlines in place of the client's retries, which let a query on a dead server hang for 63 s.

    They sleep inside the client, and no option shortens them. Where another version of the client keeps its stub
    elsewhere, its own times hold.
    """
    inner = client._connection
    stub = getattr(inner, "_grpc_stub", None)
    if stub is not None:
        inner._grpc_stub = _Guarded(stub, patience)  # type: ignore[assignment]


class _Guarded:
    """The client's gRPC stub: reads and deletes wait for a lost server, but not beyond the deadline."""

    def __init__(self, stub: Any, patience: _Patience) -> None:
        self._stub = stub
        for name in ("Search", "Aggregate", "TenantsGet", "BatchDelete"):
            setattr(self, name, patience.around(getattr(stub, name)))
        # Inserts are never repeated blindly: what was cut off has to be deleted first (`writing`).
        self.BatchObjects = patience.around(stub.BatchObjects, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)
