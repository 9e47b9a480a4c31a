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
        headers: More HTTP headers (a bearer token of an identity provider, keys of a gateway).
        timeout_s: Seconds after which a question without an answer is an error.
        insert_timeout_s: Seconds that the server may take for one batch. Generous: a batch that is cut off is
            stored but not indexed, and has to be written again.

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
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._closed = False
        key = api_key or os.environ.get("WEAVIATE_API_KEY") or None
        self.client = weaviate.WeaviateClient(
            connection_params=weaviate.connect.ConnectionParams.from_params(
                address.host, address.port, address.secure, address.grpc_host, address.grpc_port, address.secure
            ),
            auth_client_secret=Auth.api_key(key) if key else None,
            additional_headers=dict(headers or {}),
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
                _guard(self.client, self.address, self.timeout_s)
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
                f"Weaviate at {where} refuses the API key.", "Set api_key, or the variable WEAVIATE_API_KEY."
            )
        if status == 403 or isinstance(error, InsufficientPermissionsError):
            return StoreError(f"The API key may not do this at {where}: {text}", "Use a key with more rights.")
        if "tenant not found" in text or "tenant not active" in text:
            return StoreError(f"The tenant does not exist or is not active at {where}: {_short(text)}", "Index first.")
        if "read-only" in text or "read only" in text:
            return StoreError(
                f"Weaviate at {where} is in read-only mode: {_short(text)}", "Its disk may be full; free some space."
            )
        if "could not find class" in text:
            return StoreError(f"The collections are gone from {where}: {_short(text)}", "Open the store again.")
        if isinstance(error, ResponseCannotBeDecodedError):
            return _no_weaviate(self.address)
        if any(word in text for word in _LATE) or isinstance(error, httpx.TimeoutException):
            return UnreachableError(
                f"Weaviate at {where} did not answer in time.",
                "Look at the server, or raise timeout_s or insert_timeout_s.",
            )
        if isinstance(error, (httpx.HTTPError, WeaviateConnectionError, WeaviateStartUpError)):
            return unreachable(self.address, "the connection failed")
        return StoreError(f"Weaviate at {where}: {_short(text)}")

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


def _check_version(version: str, address: Address) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < MINIMUM:
        needed = ".".join(map(str, MINIMUM))
        raise StoreError(
            f"Weaviate at {address.url} is version {version or 'unknown'}; Sensorium needs {needed} or newer.",
            "Update the server.",
        )


def _guard(client: weaviate.WeaviateClient, address: Address, timeout_s: float) -> None:
    """Put our deadlines in place of the client's retries, which let a query on a dead server hang for 63 s.

    They sleep inside the client, and no option shortens them. Where another version of the client keeps its stub
    elsewhere, its own times hold.
    """
    inner = client._connection
    stub = getattr(inner, "_grpc_stub", None)
    if stub is not None:
        inner._grpc_stub = _Guarded(stub, address, timeout_s)  # type: ignore[assignment]


class _Guarded:
    """The client's gRPC stub: reads and deletes wait for a lost server, but not beyond the deadline."""

    def __init__(self, stub: Any, address: Address, timeout_s: float) -> None:
        self._stub = stub
        for name in ("Search", "Aggregate", "TenantsGet", "BatchDelete"):
            setattr(self, name, _patient(getattr(stub, name), address, timeout_s))
        # Inserts are never repeated blindly: what was cut off has to be deleted first (`writing`).
        self.BatchObjects = _patient(stub.BatchObjects, address, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)


def _patient(method: Callable[..., Any], address: Address, timeout_s: float) -> Callable[..., Any]:
    def call(request: Any, *, metadata: Any, timeout: float) -> Any:
        end = time.monotonic() + timeout_s
        while True:
            try:
                return method(request, metadata=metadata, timeout=timeout)
            except grpc.RpcError as error:
                if error.code() not in _LOST:
                    raise
                if time.monotonic() + _PAUSE_S >= end:
                    raise unreachable(address, _short(str(error.details()))) from error
            time.sleep(_PAUSE_S)

    return call
