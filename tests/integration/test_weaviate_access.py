"""Getting at a server: silent ports, other people's collections, tenants that sleep, identity providers."""

import http.client
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.integration.test_weaviate_errors import within
from tests.integration.weaviate_case import SPACES, open_store, proxied, publish, version, versions
from weaviate.classes.config import Configure, DataType, Property, Reconfigure
from weaviate.classes.tenants import Tenant, TenantActivityStatus

from sensorium.errors import StoreError
from sensorium.stores.base import SourceRecord
from sensorium.testing.stores.case import plain, raises
from sensorium.testing.weaviate import WeaviateServer


def test_a_server_that_never_answers(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """It takes connections, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with within(6), raises(StoreError, "did not answer in time", "timeout_s"):
            open_store(weaviate_server, collection_name, url=url, timeout_s=1)


def test_grpc_that_is_dropped_by_a_firewall(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """REST answers; on the gRPC port nothing comes back."""
    with proxied(weaviate_server) as proxy:
        proxy.frozen.set()
        with within(6), raises(StoreError, proxy.address, "grpc: host:port"):
            open_store(weaviate_server, collection_name, grpc=proxy.address, timeout_s=1)


def test_grpc_that_is_no_grpc(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """The REST port in place of the gRPC port, and the other way round."""
    http_port = urlsplit(weaviate_server.url).port
    swapped = f"http://127.0.0.1:{weaviate_server.grpc_port}"
    with within(6), raises(StoreError, "same address"):
        open_store(weaviate_server, collection_name, grpc=f"127.0.0.1:{http_port}", timeout_s=1)
    with within(6), raises(StoreError, swapped):
        open_store(weaviate_server, collection_name, url=swapped, grpc=f"127.0.0.1:{http_port}", timeout_s=1)


def test_collections_of_another_shape(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """With the names of ours, but as another program made them; nothing is changed in them."""
    text = [Property(name=name, data_type=DataType.TEXT) for name in ("text", "node_id", "tags")]
    with weaviate_server.client() as client:
        for name in (collection_name, f"{collection_name}_Ledger"):
            client.collections.create(name, properties=text, vector_config=Configure.Vectors.self_provided())
        before = client.collections.get(collection_name).config.get()
        with raises(StoreError, collection_name, "did not make", "collection: NAME"):
            open_store(weaviate_server, collection_name)
        assert client.collections.get(collection_name).config.get() == before
        client.collections.delete(f"{collection_name}_Ledger")


def test_a_tenant_that_sleeps(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """It is woken up by itself; where the collection forbids that, the error says what to do."""
    store = open_store(weaviate_server, collection_name, tenant="one", timeout_s=2)
    publish(store, "doc", 1)
    handles = [store.client.collections.get(n) for n in (collection_name, f"{collection_name}_Ledger")]
    asleep = [Tenant(name="one", activity_status=TenantActivityStatus.INACTIVE)]
    for handle in handles:
        handle.tenants.update(asleep)
    assert versions(store, "doc") == {1: 60}
    for handle in handles:
        handle.config.update(multi_tenancy_config=Reconfigure.multi_tenancy(auto_tenant_activation=False))
        handle.tenants.update(asleep)
    calls: list[Callable[[], object]] = [
        store.count, lambda: store.source("doc"), lambda: publish(store, "doc", 2), lambda: store.add([plain("a")]),
        lambda: open_store(weaviate_server, collection_name, tenant="one"),
    ]  # fmt: skip
    for call in calls:
        with within(6), raises(StoreError, "tenant is not active", "autoTenantActivation"):
            call()
    for handle in handles:
        handle.tenants.update([Tenant(name="one", activity_status=TenantActivityStatus.ACTIVE)])
    assert versions(store, "doc") == {1: 60}
    assert store.verify().sound
    store.close()


def test_a_full_disk_leaves_the_old_version(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Weaviate goes into read-only mode then: an update fails as a whole, and works when there is space again."""
    store = open_store(weaviate_server, collection_name, batch=20)
    publish(store, "doc", 1)
    config = store.client.collections.get(collection_name).config
    nodes, vectors = version("doc", 2, 60)
    with raises(StoreError, "read-only", "free some space"), store.stage("doc") as stage:
        stage.add(nodes[:30], {space: rows[:30] for space, rows in vectors.items()})
        stage.add([], {})
        config.update_shards("READONLY")
        stage.add(nodes[30:], {space: rows[30:] for space, rows in vectors.items()})
        stage.publish(SourceRecord("doc", "/r", "doc", "stored", counts={"text": 60}))
    assert versions(store, "doc") == {1: 60}
    config.update_shards("READY")
    publish(store, "doc", 3)
    assert versions(store, "doc") == {3: 60}
    store.close()


# An identity provider: the token that it gives out is the server's own key, which is a bearer token too. ---------


class Provider:
    """An identity provider, and the server's REST behind it. Takes the secret "s" and the password "p"."""

    def __init__(self, target: WeaviateServer, lasts: int = 3600) -> None:
        self._target = target
        self._lasts = lasts
        self.grants: list[dict[str, list[str]]] = []

    def answer(self, method: str, path: str, headers: Any, body: bytes, base: str) -> tuple[int, bytes]:
        if path == "/v1/.well-known/openid-configuration":
            return 200, json.dumps({"href": f"{base}/provider", "clientId": "me", "scopes": ["openid"]}).encode()
        if path == "/provider":
            facts = {"token_endpoint": f"{base}/token", "grant_types_supported": ["password", "client_credentials"]}
            return 200, json.dumps(facts).encode()
        if path == "/token":
            return self._token(parse_qs(body.decode()), headers)
        parts = urlsplit(self._target.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
        wanted = {k: v for k, v in headers.items() if k.lower() in ("authorization", "content-type")}
        connection.request(method, path, body or None, wanted)
        reply = connection.getresponse()
        return reply.status, reply.read()

    def _token(self, asked: dict[str, list[str]], headers: Any) -> tuple[int, bytes]:
        self.grants.append(asked)
        given = [*asked.get("client_secret", []), *asked.get("password", []), *asked.get("refresh_token", [])]
        if not {"s", "p", "again"} & set(given):
            return 401, json.dumps({"error": "invalid_client", "error_description": "wrong secret"}).encode()
        token = {"access_token": self._target.api_key, "token_type": "bearer", "expires_in": self._lasts}
        return 200, json.dumps(token | {"refresh_token": "again"}).encode()


@contextmanager
def providing(provider: Provider) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            base = f"http://127.0.0.1:{self.connection.getsockname()[1]}"
            code, answer = provider.answer(self.command, self.path, self.headers, body, base)
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    for verb in ("GET", "POST", "PUT", "DELETE", "HEAD"):
        setattr(Handler, f"do_{verb}", Handler._any)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("oidc", "grant"),
    [
        ({"client_secret": "s", "scope": "openid"}, "client_credentials"),
        ({"username": "me", "password": "p"}, "password"),
        ({"token": "KEY"}, None),
    ],
)
def test_login_with_an_identity_provider(
    weaviate_server: WeaviateServer, collection_name: str, oidc: dict[str, str], grant: str | None
) -> None:
    if not weaviate_server.api_key:
        pytest.skip("the server at WEAVIATE_URL takes everybody")
    provider = Provider(weaviate_server)
    given = {k: weaviate_server.api_key if v == "KEY" else v for k, v in oidc.items()}
    with providing(provider) as url:
        store = open_store(weaviate_server, collection_name, url=url, api_key=None, oidc=given)
        publish(store, "doc", 1)
        assert store.count() == 60
        store.close()
    assert [asked["grant_type"][0] for asked in provider.grants] == ([grant] if grant else [])


def test_tokens_are_renewed(weaviate_server: WeaviateServer, collection_name: str) -> None:
    """Before they end, with the refresh token where there is one."""
    if not weaviate_server.api_key:
        pytest.skip("the server at WEAVIATE_URL takes everybody")
    provider = Provider(weaviate_server, lasts=1)
    with providing(provider) as url:
        oidc = {"client_secret": "s", "scope": "openid"}
        store = open_store(weaviate_server, collection_name, url=url, api_key=None, oidc=oidc)
        assert store.count() == 0
        store.close()
    grants = [asked["grant_type"][0] for asked in provider.grants]
    assert grants[0] == "client_credentials"
    assert set(grants[1:]) == {"refresh_token"}
    assert provider.grants[0]["scope"] == ["openid"]


@pytest.mark.parametrize(
    ("oidc", "words"),
    [
        ({"client_secret": "wrong", "scope": "openid"}, ("refuses the login", "wrong secret", "oidc")),
        ({"username": "me", "password": "wrong"}, ("refuses the login", "oidc")),
        ({"token": "wrong"}, ("refuses", "oidc")),
        ({"username": "me"}, ("no way to log in", "client_secret")),
        ({}, ("no way to log in", "client_secret")),
    ],
)
def test_logins_that_fail(
    weaviate_server: WeaviateServer, collection_name: str, oidc: dict[str, str], words: tuple[str, ...]
) -> None:
    with providing(Provider(weaviate_server)) as url, within(10), raises(StoreError, *words):
        open_store(weaviate_server, collection_name, url=url, api_key=None, oidc=oidc)
    with raises(StoreError, "cannot both"):
        open_store(weaviate_server, collection_name, spaces=SPACES, api_key="k", oidc={"token": "t"})
