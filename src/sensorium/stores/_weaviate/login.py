"""Logging in with the server's identity provider (OpenID Connect).

| oidc | flow |
|---|---|
| `{client_secret: ..., scope: ...}` | client credentials |
| `{username: ..., password: ..., scope: ...}` | resource owner's password |
| `{token: ..., refresh_token: ..., expires_in: seconds}` | a token that was got elsewhere |

`scope` may be left out where the server or the provider has a default. weaviate-client has these flows too, but through
Authlib, whose newer versions hand the requests to another HTTP library than the client's and fail. So tokens are got
here (RFC 6749, sections 4.3, 4.4 and 6), and go out as an ordinary header.
"""

import time
from collections.abc import Mapping
from threading import Lock
from typing import Any

import httpx

from sensorium.errors import StoreError

_FLOWS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "client_credentials": (frozenset({"client_secret"}), frozenset({"scope"})),
    "password": (frozenset({"username", "password"}), frozenset({"scope"})),
    "token": (frozenset({"token"}), frozenset({"refresh_token", "expires_in"})),
}
_HINT = "oidc: {client_secret}, {username, password} or {token}; with scope, or refresh_token and expires_in."
_EARLY_S = 30.0
"""Seconds before its end at which a token is renewed."""


class Login:
    """Tokens, got when they are needed and renewed before they end.

    Args:
        url: Of the server.
        oidc: As in the table above.
        timeout_s: For each request.

    Raises:
        StoreError: settings of no flow, or of several.
    """

    def __init__(self, url: str, oidc: Mapping[str, Any], timeout_s: float) -> None:
        self._url = url
        self._given = {name: str(value) for name, value in oidc.items() if value not in (None, "")}
        self._flow = _flow_of(self._given)
        self._timeout_s = timeout_s
        self._lock = Lock()
        self._token = self._given.get("token", "")
        self._refresh = self._given.get("refresh_token", "")
        lasts = float(self._given.get("expires_in", "inf" if not self._refresh else "0"))
        self._ends = time.monotonic() + lasts if self._token else 0.0

    def header(self) -> str:
        """The value of the authorization header.

        Raises:
            StoreError: the provider refuses the login, or cannot be reached.
        """
        with self._lock:
            renewable = self._flow != "token" or self._refresh
            if renewable and time.monotonic() > self._ends - _EARLY_S:
                self._renew()
            return f"Bearer {self._token}"

    def _renew(self) -> None:
        try:
            config = self._json(httpx.get(f"{self._url}/v1/.well-known/openid-configuration", timeout=self._timeout_s))
            provider = self._json(httpx.get(str(config["href"]), timeout=self._timeout_s))
            asked = {"client_id": str(config["clientId"]), **self._grant(config.get("scopes") or [])}
            endpoint = str(provider["token_endpoint"])
            answer = self._json(httpx.post(endpoint, data=asked, timeout=self._timeout_s))
            self._token = str(answer["access_token"])
        except (httpx.HTTPError, KeyError, ValueError) as error:
            what = f"{type(error).__name__}: {error}"
            raise StoreError(
                f"The identity provider of {self._url} cannot be asked: {what}", "Look at oidc."
            ) from error
        self._refresh = str(answer.get("refresh_token") or self._refresh)
        self._ends = time.monotonic() + float(answer.get("expires_in") or 60.0)

    def _grant(self, scopes: list[str]) -> dict[str, str]:
        if self._refresh:
            return {"grant_type": "refresh_token", "refresh_token": self._refresh}
        secrets = {name: value for name, value in self._given.items() if name != "scope"}
        scope = self._given.get("scope") or " ".join(scopes)
        return {"grant_type": self._flow, **secrets, **({"scope": scope} if scope else {})}

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code == 404:
            raise StoreError(f"{self._url} has no identity provider.", "Give api_key in place of oidc.")
        if response.status_code in (400, 401, 403):
            said = " ".join(response.text.split())[:300]
            raise StoreError(f"The identity provider of {self._url} refuses the login: {said}", "Correct oidc.")
        response.raise_for_status()
        value: dict[str, Any] = response.json()
        return value


def _flow_of(given: Mapping[str, str]) -> str:
    for flow, (needed, allowed) in _FLOWS.items():
        if needed <= given.keys() <= needed | allowed:
            return flow
    raise StoreError(f"oidc has {', '.join(sorted(given)) or 'nothing'}, which is no way to log in.", _HINT)
