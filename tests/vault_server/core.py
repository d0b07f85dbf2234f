# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a server, and the way of a request through it: token, policy, mount, wrapping, audit."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Optional

from . import policies
from .cryptography_engines import Database, Pki, Transit
from .engine import Call, Engine
from .kv import KeyValue1, KeyValue2
from .logins import METHODS
from .messages import Refusal, Reply, Request, answer, seconds, several, timestamp
from .profiles import Profile
from .tokens import Token, TokenStore, random_id

ROOT_ONLY = ("sys/audit", "sys/seal", "sys/step-down", "sys/rotate", "sys/raw")
WITHOUT_NAMESPACE = ("sys/health", "sys/unseal", "sys/init")
INVALID_WRAP = "wrapping token is not valid or does not exist"


@dataclass
class Mount:
    kind: str
    engine: Engine
    options: Optional[dict[str, str]] = None
    description: str = ""
    accessor: str = field(default_factory=lambda: f"mount_{random_id(8)}")
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def described(self) -> dict[str, Any]:
        return {
            "accessor": self.accessor,
            "config": {"default_lease_ttl": 0, "force_no_cache": False, "max_lease_ttl": 0},
            "description": self.description,
            "external_entropy_access": False,
            "local": False,
            "options": self.options,
            "seal_wrap": False,
            "type": self.kind,
            "uuid": self.uuid,
        }


@dataclass
class Namespace:
    """``mounts`` and ``auths`` by path with the final slash."""

    path: str
    mounts: dict[str, Mount] = field(default_factory=dict)
    auths: dict[str, Mount] = field(default_factory=dict)
    policies: dict[str, str] = field(default_factory=lambda: {"default": policies.DEFAULT})


@dataclass
class Node:
    """One process: its seal and its part in the cluster. ``role`` is active, standby, dr or performance."""

    address: str = ""
    initialized: bool = True
    sealed: bool = False
    role: str = "active"
    forwards: bool = True
    leader: Optional[str] = None
    shares: int = 1
    threshold: int = 1
    progress: int = 0


@dataclass
class Wrapped:
    body: dict[str, Any]
    path: str
    created: float
    ttl: int


@dataclass
class Quota:
    path: str
    rate: float
    interval: float = 1.0
    began: float = 0.0
    count: int = 0


class Core:
    """Thread-safe: one request after the other."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.skew = 0.0
        self.tokens = TokenStore("s." if profile.name == "older" else "hvs.", self.now)
        self.root = self.tokens.create(["root"], "auth/token/root", display_name="root").id
        self.unseal_key = os.urandom(32).hex()
        self.cluster = {"cluster_name": "vault-cluster-tests", "cluster_id": str(uuid.uuid4())}
        self.namespaces = {"": Namespace("")}
        self.wrapped: dict[str, Wrapped] = {}
        self.quotas: dict[str, Quota] = {}
        self.quota_headers = False
        self.upgrading = 0
        self.audit: list[str] = []
        self._salt = os.urandom(32)
        self._lock = threading.RLock()

    def now(self) -> float:
        return time.time() + self.skew

    def handle(self, request: Request, node: Node) -> Reply:
        # Late: what answers below sys/ and auth/token/ works on a Core.
        from .system import status

        with self._lock:
            try:
                reply = status(self, request, node) or self._served(request, node)
            except Refusal as refusal:
                reply = refusal.reply()
            self._record(request, reply)
            return reply

    def _served(self, request: Request, node: Node) -> Reply:
        if node.sealed:
            raise Refusal(503, "Vault is sealed")
        if node.role != "active":
            self._forward(request, node)
        namespace = self._namespace(request)
        if ".." in request.path.split("/"):
            raise Refusal(400, several("relative paths not supported"))
        if request.operation == "update" and request.path.endswith("/"):
            raise Refusal(400, several("cannot write to a path ending in '/'"))
        wrap_ttl = self._wrap_ttl(request)
        self._limit(namespace, request.path)
        reply = self._authorized(request, namespace)
        if wrap_ttl and reply.status == 200 and reply.body and not request.path.startswith("sys/wrapping/lookup"):
            reply = self._wrap(request, reply, wrap_ttl)
        if reply.body is not None and "request_id" in reply.body and not reply.body["wrap_info"]:
            reply.body = {**reply.body, "request_id": request.id}
        if namespace.path:
            reply.headers["X-Vault-Namespace"] = namespace.path
        return reply

    def _forward(self, request: Request, node: Node) -> None:
        if node.role == "dr":
            raise Refusal(472)
        if node.role == "performance" and request.operation not in ("read", "list"):
            raise Refusal(473)
        if node.role != "standby":
            return
        if node.leader is None:
            raise Refusal(503, "no active Vault instance found")
        if request.headers.get("X-Vault-No-Request-Forwarding") or not node.forwards:
            raise Redirection(f"{node.leader}/v1/{request.path}")

    def _namespace(self, request: Request) -> Namespace:
        name = request.headers.get("X-Vault-Namespace", "").strip("/")
        if not self.profile.namespaces or name in ("", "root"):
            return self.namespaces[""]
        if f"{name}/" not in self.namespaces:
            raise Refusal(404, "namespace not found")
        if request.path.startswith(ROOT_ONLY):
            raise Refusal(400, "operation only available in root namespace")
        return self.namespaces[f"{name}/"]

    def _wrap_ttl(self, request: Request) -> int:
        text = request.headers.get("X-Vault-Wrap-TTL")
        if not text:
            return 0
        try:
            ttl = seconds(text)
        except ValueError as error:
            raise Refusal(400, f"error parsing X-Vault-Wrap-TTL header: {error}") from None
        if ttl < 0:
            raise Refusal(400, "error parsing X-Vault-Wrap-TTL header: requested wrap TTL cannot be negative")
        return ttl

    def _limit(self, namespace: Namespace, path: str) -> None:
        for quota in self.quotas.values():
            if quota.path and not (namespace.path + path).startswith(quota.path):
                continue
            if self.now() - quota.began >= quota.interval:
                quota.began, quota.count = self.now(), 0
            quota.count += 1
            if quota.count <= quota.rate:
                continue
            left = max(0, int(quota.began + quota.interval - self.now()))
            headers = {
                "Retry_After": str(left),
                "X_Ratelimit_Limit": f"{quota.rate:g}",
                "X_Ratelimit_Remaining": "0",
                "X_Ratelimit_Reset": str(left),
            }
            text = f'request path "{path}": rate limit quota exceeded'
            raise Refusal(429, text, **(headers if self.quota_headers else {}))

    def _authorized(self, request: Request, namespace: Namespace) -> Reply:
        from .system import is_open, management

        token = self._token(request, namespace)
        if not (is_open(request.path) or self._is_login(request.path, namespace)):
            if token is None:
                raise Refusal(*self.profile.without_token)
            self.tokens.use(token)
            self.allow(token, namespace, request)
        reply = management(self, request, namespace, token)
        return reply if reply is not None else self._routed(request, namespace, token)

    def _token(self, request: Request, namespace: Namespace) -> Optional[Token]:
        given = request.headers.get("X-Vault-Token", "")
        bearer = request.headers.get("Authorization", "")
        if not given and bearer.startswith("Bearer "):
            given = bearer[len("Bearer ") :]
        if not given:
            return self._inline(request, namespace)
        token = self.tokens.find(given)
        if token is None and request.path == "sys/wrapping/unwrap":
            raise Refusal(400, INVALID_WRAP)
        if token is None and not self._is_login(request.path, namespace):
            raise Refusal(403, "permission denied")
        if token is not None and not namespace.path.startswith(token.namespace):
            raise Refusal(403, "permission denied")
        return token

    def _inline(self, request: Request, namespace: Namespace) -> Optional[Token]:
        path = request.headers.get("X-Vault-Inline-Auth-Path", "").removeprefix("v1/")
        if not path or not self.profile.inline_auth:
            return None
        body = inline_parameters(request.headers)
        login = Request("POST", path, {}, {}, body, request.certificate)
        try:
            if not self._is_login(path, namespace):
                raise Refusal(400, "unsupported path for inline authentication")
            auth = (self._routed(login, namespace, None).body or {})["auth"]
        except Refusal as refusal:
            refusal.headers["X-Vault-Inline-Auth-Failed"] = "true"
            raise
        token = self.tokens.find(auth["client_token"])
        if token is not None:
            # It serves this request alone.
            token.num_uses = token.uses_left = 1
        return token

    def rules(self, token: Token, namespace: Namespace) -> list[policies.Rules]:
        known = self.namespaces.get(token.namespace, namespace).policies
        prefix = namespace.path[len(token.namespace) :]
        parsed = [policies.parse(known[name]) for name in token.policies if name in known]
        if not prefix:
            return parsed
        return [
            {path[len(prefix) :]: allowed for path, allowed in rules.items() if path.startswith(prefix)}
            for rules in parsed
        ]

    def allow(self, token: Token, namespace: Namespace, request: Request) -> None:
        if "root" in token.policies or (token.id in self.wrapped and request.path == "sys/wrapping/unwrap"):
            return
        if request.path.startswith("sys/internal/ui/mounts"):
            return
        if not policies.allows(self.rules(token, namespace), request.path, request.operation):
            raise Refusal(403, several("permission denied"))

    def mount_of(self, path: str, table: dict[str, Mount]) -> Optional[str]:
        fitting = [mount for mount in table if path.startswith(mount) or path + "/" == mount]
        return max(fitting, key=len, default=None)

    def _is_login(self, path: str, namespace: Namespace) -> bool:
        if not path.startswith("auth/"):
            return False
        mount = self.mount_of(path[len("auth/") :], namespace.auths)
        return mount is not None and namespace.auths[mount].engine.is_login(path[len("auth/" + mount) :])

    def _routed(self, request: Request, namespace: Namespace, token: Optional[Token]) -> Reply:
        is_auth = request.path.startswith("auth/")
        table = namespace.auths if is_auth else namespace.mounts
        below = request.path[len("auth/") :] if is_auth else request.path
        mount = self.mount_of(below, table)
        if mount is None:
            if token is None:
                raise Refusal(403, several("permission denied"))
            raise Refusal(404, self.profile.no_handler.format(request.path))
        full = f"auth/{mount}" if is_auth else mount
        return table[mount].engine.handle(
            Call(
                request.operation,
                full,
                below[len(mount) :],
                request.body,
                request.query,
                request.headers,
                token,
                request.certificate,
                namespace.path,
                self.now(),
                self.profile,
                self.tokens,
            )
        )

    def _wrap(self, request: Request, reply: Reply, ttl: int) -> Reply:
        token = self.tokens.create(["response-wrapping"], request.path, ttl=ttl, num_uses=1, no_default=True)
        self.wrapped[token.id] = Wrapped(reply.body or {}, request.path, self.now(), ttl)
        info = {
            "token": token.id,
            "accessor": token.accessor,
            "ttl": ttl,
            "creation_time": timestamp(self.now()),
            "creation_path": request.path,
        }
        auth = (reply.body or {}).get("auth")
        if auth:
            info["wrapped_accessor"] = auth["accessor"]
        return answer(None, wrap_info=info)

    def open(self, kind: str, options: Optional[dict[str, str]]) -> Mount:
        """A new engine of a kind. Raises Refusal for one that is not there."""
        if kind in ("kv", "kv-v2", "generic"):
            if kind == "kv-v2":
                options = {"version": "2"}
            if (options or {}).get("version") == "2":
                return Mount("kv", KeyValue2(self.upgrading), options)
            return Mount("kv", KeyValue1(), options)
        engines: dict[str, Any] = {"transit": Transit, "pki": Pki, "database": Database}
        if kind not in engines:
            raise Refusal(400, f"plugin not found in the catalog: {kind}")
        return Mount(kind, engines[kind](), options)

    def open_auth(self, kind: str) -> Mount:
        if kind not in METHODS:
            raise Refusal(400, f"plugin not found in the catalog: {kind}")
        return Mount(kind, METHODS[kind]())

    def _record(self, request: Request, reply: Reply) -> None:
        self.audit.append(
            json.dumps(
                {
                    "time": timestamp(self.now()),
                    "type": "response",
                    "request": {
                        "id": request.id,
                        "operation": request.operation,
                        "path": request.path,
                        "client_token": self._hashed(request.headers.get("X-Vault-Token")),
                        "data": self._hashed(request.body),
                    },
                    "response": {"status": reply.status, "data": self._hashed(reply.body)},
                }
            )
        )

    def _hashed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._hashed(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self._hashed(part) for part in value]
        if isinstance(value, str) and value:
            return "hmac-sha256:" + hmac.new(self._salt, value.encode(), hashlib.sha256).hexdigest()
        return value


class Redirection(Refusal):
    """307 to another node, with an empty body and no content type."""

    def __init__(self, location: str) -> None:
        super().__init__(307, Location=location)

    def reply(self) -> Reply:
        return Reply(307, None, self.headers, typed=False)


def inline_parameters(headers: Any) -> dict[str, Any]:
    """What ``X-Vault-Inline-Auth-Parameter-*`` carry: each a base64 of ``{"key": …, "value": …}``."""
    body = {}
    for name, text in headers.items():
        if name.lower().startswith("x-vault-inline-auth-parameter-"):
            try:
                pair = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
                body[pair["key"]] = pair["value"]
            except (ValueError, KeyError, TypeError):
                raise Refusal(400, "error parsing inline authentication parameters") from None
    return body
