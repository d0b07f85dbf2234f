# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server under test, ours or a real one, spoken to in plain HTTP, and what a test made there."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import urlencode, urlsplit

import pytest
from vault_server.kv import UPGRADING
from vault_server.server import VaultServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.content)) if self.content else {}

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def text(self) -> str:
        """The errors, joined; no text where there are none."""
        return "; ".join(self.body.get("errors") or [])


ROOT = "root"


class Place:
    """``ours`` is None at a real server. What ``mount``, ``policy`` … made is gone after ``clean``."""

    def __init__(self, address: str, token: str, ours: Optional[VaultServer], ca_file: Optional[str] = None) -> None:
        self.address = address
        self.root = token
        self.ours = ours
        self.ca_file = ca_file
        self._undo: list[Callable[[], object]] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: Optional[str] = ROOT,
        headers: Optional[dict[str, str]] = None,
        address: Optional[str] = None,
        client: Optional[tuple[str, str]] = None,
        **query: Any,
    ) -> Answer:
        """One request on a connection of its own. ``token`` ROOT is that of the administrator, None is none."""
        sent = {"X-Vault-Request": "true", **(headers or {})}
        if token is not None:
            sent["X-Vault-Token"] = self.root if token == ROOT else token
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        target = f"/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        connection = self._connection(urlsplit(address or self.address), client)
        try:
            try:
                connection.request(method, target, content, sent)
            except (BrokenPipeError, ConnectionResetError):
                # The server said no before it had read everything: its answer is there.
                pass
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def _connection(self, parts: Any, client: Optional[tuple[str, str]]) -> http.client.HTTPConnection:
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        context = ssl.create_default_context(cafile=self.ca_file)
        if client:
            context.load_cert_chain(*client)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=30, context=context)

    def done(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """A request that must succeed."""
        answer = self.ask(method, path, body, **options)
        assert answer.status in (200, 204), f"{method} {path}: {answer.status} {answer.text}"
        return answer

    @staticmethod
    def name(start: str = "conformance") -> str:
        return f"{start}-{secrets.token_hex(5)}"

    def later(self, action: Callable[[], object]) -> None:
        self._undo.append(action)

    def clean(self) -> None:
        while self._undo:
            self._undo.pop()()

    def mount(self, kind: str, options: Optional[dict[str, str]] = None, **fields: Any) -> str:
        """A new engine; skips where this server has none of the kind. A KV engine of version 2 is ready."""
        path = self.name(kind)
        answer = self.ask("POST", f"sys/mounts/{path}", {"type": kind, "options": options, **fields})
        if answer.status == 400 and self.ours is None:
            pytest.skip(f"this server has no engine {kind}: {answer.text}")
        assert answer.status in (200, 204), answer.text
        self.later(lambda: self.ask("DELETE", f"sys/mounts/{path}"))
        if options == {"version": "2"}:
            self.ready(lambda: self.ask("GET", f"{path}/config"))
        return path

    @staticmethod
    def ready(attempt: Callable[[], Answer]) -> Answer:
        """Again while an engine of version 2 says that it is not ready yet."""
        end = time.monotonic() + 10
        while True:
            answer = attempt()
            if answer.status != 400 or UPGRADING not in answer.text or time.monotonic() > end:
                return answer
            time.sleep(0.05)

    def login_method(self, kind: str, **fields: Any) -> str:
        path = self.name(kind)
        answer = self.ask("POST", f"sys/auth/{path}", {"type": kind, **fields})
        if answer.status == 400 and self.ours is None:
            pytest.skip(f"this server has no auth method {kind}: {answer.text}")
        assert answer.status in (200, 204), answer.text
        self.later(lambda: self.ask("DELETE", f"sys/auth/{path}"))
        return path

    def policy(self, text: str) -> str:
        name = self.name("policy")
        self.done("PUT", f"sys/policies/acl/{name}", {"policy": text})
        self.later(lambda: self.ask("DELETE", f"sys/policies/acl/{name}"))
        return name

    def token(self, policy: Optional[str] = None, **fields: Any) -> str:
        """A token with this policy, or with the rights of the administrator."""
        policies = {"policies": [policy]} if policy else {}
        created = self.done("POST", "auth/token/create", {"ttl": "10m", **policies, **fields}).body["auth"]
        self.later(lambda: self.ask("POST", "auth/token/revoke-accessor", {"accessor": created["accessor"]}))
        return str(created["client_token"])

    def reader(self, mount: str) -> str:
        """A token that may read below a mount."""
        return self.token(self.policy(f'path "{mount}/*" {{ capabilities = ["read", "list"] }}'))

    def pass_time(self, seconds: float) -> None:
        if self.ours is not None:
            self.ours.advance(seconds)
        else:
            time.sleep(seconds)

    def own(self, reason: str) -> VaultServer:
        """Our server; skips at a real one, which would need a set-up for this."""
        if self.ours is None:
            pytest.skip(f"at a real server this needs {reason}")
        return self.ours

    def namespaces(self) -> bool:
        name = self.name("ns")
        answer = self.ask("POST", f"sys/namespaces/{name}", {})
        if answer.status != 200:
            return False
        self.ask("DELETE", f"sys/namespaces/{name}")
        return True
