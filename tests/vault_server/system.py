# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers below ``sys/``, ``auth/token/`` and ``cubbyhole/``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Optional

from . import policies
from .core import INVALID_WRAP, WITHOUT_NAMESPACE, Core, Namespace, Node, Quota
from .kv import children
from .messages import Refusal, Reply, Request, answer, missing, names, nothing, seconds, timestamp, unsupported
from .tokens import Token

_Action = Callable[[Core, Request, Namespace, Optional[Token], str], Reply]


def is_open(path: str) -> bool:
    """Whether anybody may call it; internal/ui/mounts looks at the token by itself."""
    return path == "sys/wrapping/lookup"


def status(core: Core, request: Request, node: Node) -> Optional[Reply]:
    """What a server says of itself, sealed or not, with or without a token."""
    if (
        core.profile.namespaces
        and request.path in WITHOUT_NAMESPACE
        and request.headers.get("X-Vault-Namespace", "").strip("/")
    ):
        raise Refusal(400, "operation unavailable in namespaces")
    if request.path == "sys/health":
        return _health(core, request, node)
    if request.path == "sys/seal-status":
        return Reply(200, _seal_status(core, node))
    if request.path == "sys/leader":
        if node.sealed:
            raise Refusal(503, "Vault is sealed")
        leader = node.address if node.role == "active" else node.leader or ""
        return Reply(200, {"ha_enabled": True, "is_self": node.role == "active", "leader_address": leader})
    if request.path == "sys/init" and request.operation == "read":
        return Reply(200, {"initialized": node.initialized})
    if request.path == "sys/unseal" and request.operation == "update":
        if request.body.get("key") != core.unseal_key and not request.body.get("reset"):
            raise Refusal(400, "'key' must be a valid hex or base64 string")
        node.sealed = False
        return Reply(200, _seal_status(core, node))
    return None


def _health(core: Core, request: Request, node: Node) -> Reply:
    if request.method not in ("GET", "HEAD"):
        raise Refusal(405)
    codes = {"activecode": 200, "standbycode": 429, "drsecondarycode": 472, "performancestandbycode": 473}
    codes |= {"sealedcode": 503, "uninitcode": 501}
    for name in codes:
        if name in request.query:
            try:
                codes[name] = int(request.query[name])
            except ValueError:
                raise Refusal(400) from None
    standby = node.role in ("standby", "performance")
    fine = {name for name in ("standbyok", "perfstandbyok") if request.query.get(name) in ("true", "1", "")}
    if not node.initialized:
        code = codes["uninitcode"]
    elif node.sealed:
        code = codes["sealedcode"]
    elif node.role == "dr":
        code = codes["drsecondarycode"]
    elif node.role == "performance" and "perfstandbyok" not in fine:
        code = codes["performancestandbycode"]
    elif node.role == "standby" and "standbyok" not in fine:
        code = codes["standbycode"]
    else:
        code = codes["activecode"]
    body: dict[str, Any] = {
        "initialized": node.initialized,
        "sealed": node.sealed or not node.initialized,
        "standby": standby or node.sealed or not node.initialized,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "secondary" if node.role == "dr" else "disabled",
        "server_time_utc": int(core.now()),
        "version": core.profile.version,
    }
    if core.profile.performance_standby:
        body["performance_standby"] = node.role == "performance"
    if not body["sealed"]:
        body |= core.cluster
    return Reply(code, body)


def _seal_status(core: Core, node: Node) -> dict[str, Any]:
    body = {
        "type": "shamir",
        "initialized": node.initialized,
        "sealed": node.sealed,
        "t": node.threshold,
        "n": node.shares,
        "progress": node.progress,
        "nonce": "",
        "version": core.profile.version,
        "migration": False,
        "recovery_seal": False,
        "storage_type": "inmem",
    }
    return body if node.sealed else body | core.cluster


def management(core: Core, request: Request, namespace: Namespace, token: Optional[Token]) -> Optional[Reply]:
    """None for a path that a mount answers."""
    for pattern, action in _ROUTES:
        found = pattern.fullmatch(request.path)
        if found:
            return action(core, request, namespace, token, found.group(1) if found.groups() else "")
    if request.path.startswith(("sys/", "auth/token/")):
        raise Refusal(404, "unsupported path") if request.path.startswith("sys/") else missing()
    return None


def _mounts(core: Core, request: Request, namespace: Namespace, token: Optional[Token], path: str) -> Reply:
    is_auth = request.path.startswith("sys/auth")
    table = namespace.auths if is_auth else namespace.mounts
    name = path.strip("/") + "/"
    if not path.strip("/"):
        if request.operation != "read":
            raise unsupported()
        described = {mount: entry.described() for mount, entry in table.items()}
        return answer(described, **described)
    if request.operation == "update":
        if any(name.startswith(other) or other.startswith(name) for other in table):
            raise Refusal(400, f"path is already in use at {name}")
        kind = str(request.body.get("type"))
        table[name] = core.open_auth(kind) if is_auth else core.open(kind, request.body.get("options"))
        return nothing()
    if request.operation == "delete":
        table.pop(name, None)
        for lease in [lease for lease in core.tokens.leases.values() if lease.id.startswith(name)]:
            core.tokens.end(lease)
        return nothing()
    if name not in table:
        raise Refusal(400, f"No {'auth' if is_auth else 'secret'} engine at {name}")
    return answer(table[name].described())


def _policies(core: Core, request: Request, namespace: Namespace, token: Optional[Token], name: str) -> Reply:
    if request.operation == "update":
        policies.parse(str(request.body.get("policy", "")))
        namespace.policies[name] = str(request.body.get("policy", ""))
        return nothing()
    if request.operation == "delete":
        namespace.policies.pop(name, None)
        return nothing()
    if request.operation == "list" or not name:
        return answer({"keys": sorted({*namespace.policies, "root"})})
    if name not in namespace.policies:
        raise missing()
    return answer({"name": name, "policy": namespace.policies[name]})


def _capabilities(core: Core, request: Request, namespace: Namespace, token: Optional[Token], rest: str) -> Reply:
    if request.operation != "update" or token is None:
        raise unsupported()
    paths = names(request.body.get("paths") or request.body.get("path"))
    if not paths:
        raise Refusal(400, "paths must be supplied")
    found: dict[str, Any] = {}
    for path in paths:
        allowed = sorted(policies.capabilities(core.rules(token, namespace), path))
        found[path] = ["root"] if "root" in token.policies else allowed or ["deny"]
    if len(paths) == 1:
        found["capabilities"] = found[paths[0]]
    return answer(found, **found)


def _ui_mounts(core: Core, request: Request, namespace: Namespace, token: Optional[Token], path: str) -> Reply:
    if token is None:
        raise Refusal(*core.profile.without_token)
    if request.operation != "read":
        raise unsupported()
    rules = core.rules(token, namespace)
    root = "root" in token.policies

    def visible(table: dict[str, Any], prefix: str) -> dict[str, Any]:
        return {
            mount: {**entry.described()}
            for mount, entry in table.items()
            if root or policies.reaches(rules, prefix + mount)
        }

    if not path.strip("/"):
        return answer({"auth": visible(namespace.auths, "auth/"), "secret": visible(namespace.mounts, "")})
    mount = core.mount_of(path, namespace.mounts)
    if mount is None or mount not in visible(namespace.mounts, ""):
        text = "preflight capability check returned 403, please ensure client's policies grant access to path"
        raise Refusal(403, f'{text} "{path.strip("/")}/"')
    return answer({**namespace.mounts[mount].described(), "path": mount})


def _wrapping(core: Core, request: Request, namespace: Namespace, token: Optional[Token], action: str) -> Reply:
    if request.operation != "update" and not (action == "lookup" and request.operation == "read"):
        raise unsupported()
    if action == "wrap":
        return answer(request.body)
    wrapping = core.tokens.find(request.body.get("token")) or token
    entry = core.wrapped.get(wrapping.id) if wrapping else None
    if entry is None or wrapping is None:
        raise Refusal(400, INVALID_WRAP)
    if action == "lookup":
        data = {"creation_path": entry.path, "creation_time": timestamp(entry.created), "creation_ttl": entry.ttl}
        return answer(data)
    if action != "unwrap":
        raise missing()
    del core.wrapped[wrapping.id]
    core.tokens.revoke(wrapping)
    return Reply(200, dict(entry.body))


def _leases(core: Core, request: Request, namespace: Namespace, token: Optional[Token], rest: str) -> Reply:
    if request.operation != "update":
        raise unsupported()
    action, _slash, in_path = rest.partition("/")
    identifier = str(request.body.get("lease_id") or in_path)
    if action in ("revoke-prefix", "revoke-force"):
        for lease in [lease for lease in core.tokens.leases.values() if lease.id.startswith(in_path)]:
            core.tokens.end(lease)
        return nothing()
    if not identifier:
        raise Refusal(400, "lease_id must be specified")
    if action == "lookup":
        lease = core.tokens.lease(identifier, "invalid lease")
        return answer(
            {
                "expire_time": timestamp(lease.expires),
                "id": lease.id,
                "issue_time": timestamp(lease.issued),
                "last_renewal": timestamp(lease.renewed) if lease.renewed else None,
                "renewable": lease.renewable,
                "ttl": round(lease.expires - core.now()),
            }
        )
    if action == "renew":
        lease = core.tokens.lease(identifier, "lease not found")
        increment = seconds(request.body.get("increment") or 0)
        granted = core.tokens.prolong(lease, increment)
        warnings = None
        if granted < increment:
            capped = f'TTL of "{increment}s" exceeded the effective max_ttl of "{lease.max_ttl}s"'
            warnings = [f"{capped}; TTL value is capped accordingly"]
        return answer(None, lease_id=lease.id, renewable=True, lease_duration=granted, warnings=warnings)
    if action == "revoke":
        if identifier in core.tokens.leases:
            core.tokens.end(core.tokens.leases[identifier])
        return nothing() if request.body.get("sync", True) else Reply(202)
    raise missing()


def _namespaces(core: Core, request: Request, namespace: Namespace, token: Optional[Token], name: str) -> Reply:
    if not core.profile.namespaces:
        raise Refusal(404, "unsupported path")
    path = f"{namespace.path}{name.strip('/')}/"
    if request.operation == "update":
        core.namespaces.setdefault(path, Namespace(path))
        return answer({"custom_metadata": {}, "id": "ns1", "path": path})
    if request.operation == "delete":
        core.namespaces.pop(path, None)
        return nothing()
    if not name:
        return answer({"keys": children((key.rstrip("/") for key in core.namespaces if key), "")})
    if path not in core.namespaces:
        raise missing()
    return answer({"id": "ns1", "path": path})


def _quotas(core: Core, request: Request, namespace: Namespace, token: Optional[Token], rest: str) -> Reply:
    if rest == "config":
        core.quota_headers = bool(request.body.get("enable_rate_limit_response_headers"))
        return nothing()
    name = rest.removeprefix("rate-limit/")
    if request.operation == "update":
        interval = seconds(request.body.get("interval", 1))
        core.quotas[name] = Quota(str(request.body.get("path", "")), float(request.body["rate"]), interval)
        return nothing()
    if request.operation == "delete":
        core.quotas.pop(name, None)
        return nothing()
    raise unsupported()


def _audit(core: Core, request: Request, namespace: Namespace, token: Optional[Token], rest: str) -> Reply:
    if request.operation != "read":
        raise unsupported()
    return answer({})


def _token(core: Core, request: Request, namespace: Namespace, token: Optional[Token], action: str) -> Reply:
    assert token is not None
    if action == "lookup-self" and request.operation == "read":
        return answer(token.lookup(core.now(), core.profile.namespaces))
    if action in ("lookup", "lookup-accessor") and request.operation == "update":
        found = _meant(core, request, action)
        return answer(found.lookup(core.now(), core.profile.namespaces))
    if request.operation != "update":
        raise unsupported()
    if action in ("create", "create-orphan"):
        return answer(None, auth=_created(core, request, namespace, token).auth())
    if action in ("renew-self", "renew"):
        found = token if action == "renew-self" else _meant(core, request, action)
        core.tokens.renew(found, seconds(request.body.get("increment") or 0))
        return answer(None, auth=found.auth())
    if action == "revoke-self":
        core.tokens.revoke(token)
        return nothing()
    if action in ("revoke", "revoke-accessor", "revoke-orphan"):
        core.tokens.revoke(_meant(core, request, action))
        return nothing()
    raise missing()


def _meant(core: Core, request: Request, action: str) -> Token:
    if action.endswith("accessor"):
        found = core.tokens.by_accessor(str(request.body.get("accessor")))
        text = "invalid accessor"
    else:
        found = core.tokens.find(str(request.body.get("token")))
        text = "bad token"
    if found is None:
        raise Refusal(403 if text == "bad token" else 404, text)
    return found


def _created(core: Core, request: Request, namespace: Namespace, parent: Token) -> Token:
    body = request.body
    wanted = names(body.get("policies")) or [name for name in parent.policies if name != "default"]
    if "root" not in parent.policies and not set(wanted) <= set(parent.policies):
        raise Refusal(400, "child policies must be subset of parent")
    orphan = bool(body.get("no_parent")) or request.path.endswith("orphan")
    return core.tokens.create(
        wanted,
        request.path,
        ttl=seconds(body.get("ttl", 0)),
        explicit_max_ttl=seconds(body.get("explicit_max_ttl", 0)),
        period=seconds(body.get("period", 0)),
        num_uses=int(body.get("num_uses", 0)),
        renewable=bool(body.get("renewable", True)) and bool(body.get("ttl") or "root" not in wanted),
        orphan=orphan,
        parent=None if orphan else parent.id,
        display_name="-".join(filter(None, ("token", body.get("display_name")))),
        meta=body.get("meta"),
        namespace=namespace.path,
        no_default=bool(body.get("no_default_policy")),
    )


def _cubbyhole(core: Core, request: Request, namespace: Namespace, token: Optional[Token], path: str) -> Reply:
    assert token is not None
    if request.operation == "update":
        token.cubbyhole[path] = request.body
        return nothing()
    if request.operation == "delete":
        token.cubbyhole.pop(path, None)
        return nothing()
    if request.operation == "list":
        return answer({"keys": children(token.cubbyhole, path)})
    if path not in token.cubbyhole:
        raise missing()
    return answer(token.cubbyhole[path])


_ROUTES: list[tuple[re.Pattern[str], _Action]] = [
    (re.compile(pattern), action)
    for pattern, action in (
        (r"sys/mounts/?(.*)", _mounts),
        (r"sys/auth/?(.*)", _mounts),
        (r"sys/policies/acl/?(.*)", _policies),
        (r"sys/policy/?(.*)", _policies),
        (r"sys/capabilities-self", _capabilities),
        (r"sys/internal/ui/mounts/?(.*)", _ui_mounts),
        (r"sys/wrapping/(\w+)", _wrapping),
        (r"sys/leases/(.*)", _leases),
        (r"sys/namespaces/?(.*)", _namespaces),
        (r"sys/quotas/(.*)", _quotas),
        (r"sys/audit(.*)", _audit),
        (r"auth/token/([a-z-]+)", _token),
        (r"cubbyhole/(.*)", _cubbyhole),
    )
]
