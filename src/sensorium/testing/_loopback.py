"""What the scripted servers share: a server on this machine's loopback, its script, and its requests."""

import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Loopback(Generic[Request, Answer]):
    """A server that answers by a script; use it as a context manager.

    Args:
        handler: Takes requests; finds the server as `self.server.owner`.
        default: What is answered when the script has ended.

    Attributes:
        requests: Everything that was asked, in order.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler], default: Answer) -> None:
        self.requests: list[Request] = []
        self._script: deque[Answer] = deque()
        self._default = default
        self._lock = threading.Lock()
        self._http = Http(self, handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def base(self) -> str:
        """The address that a client asks, with the version of the API."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def script(self, *answers: Answer) -> None:
        """What is answered to the next requests, one each; behind them the default goes on."""
        self._script.extend(answers)

    def always(self, answer: Answer) -> None:
        """What is answered when the script has ended."""
        self._default = answer

    def next_answer(self, request: Request) -> Answer:
        """Record a request and take the next answer."""
        with self._lock:
            self.requests.append(request)
            return self._script.popleft() if self._script else self._default

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Http(ThreadingHTTPServer):
    """The HTTP server behind a `Loopback`, which is its `owner`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: Any, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
