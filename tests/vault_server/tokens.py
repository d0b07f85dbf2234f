# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens and leases: what lives for a time, is renewed, and is revoked with what it came from."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from .messages import Refusal, timestamp

MAX_TTL = 32 * 86400


def random_id(length: int = 24) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _letter in range(length))


@dataclass
class Token:
    id: str
    policies: list[str]
    path: str
    created: float
    ttl: int = 0
    expires: Optional[float] = None
    explicit_max_ttl: int = 0
    period: int = 0
    renewable: bool = False
    num_uses: int = 0
    uses_left: int = 0
    orphan: bool = True
    parent: Optional[str] = None
    display_name: str = "token"
    meta: Optional[dict[str, str]] = None
    kind: str = "service"
    namespace: str = ""
    entity_id: str = ""
    renewed: Optional[float] = None
    accessor: str = field(default_factory=random_id)
    cubbyhole: dict[str, dict[str, Any]] = field(default_factory=dict)

    def lookup(self, now: float, with_namespace: bool) -> dict[str, Any]:
        """``data`` of lookup-self."""
        data: dict[str, Any] = {
            "accessor": self.accessor,
            "creation_time": int(self.created),
            "creation_ttl": self.ttl,
            "display_name": self.display_name,
            "entity_id": self.entity_id,
            "expire_time": timestamp(self.expires) if self.expires else None,
            "explicit_max_ttl": self.explicit_max_ttl,
            "id": self.id,
            "meta": self.meta,
            "num_uses": self.uses_left if self.num_uses else 0,
            "orphan": self.orphan,
            "path": self.path,
            "policies": self.policies,
            "ttl": max(0, round(self.expires - now)) if self.expires else 0,
            "type": self.kind,
        }
        if self.expires:
            data |= {"issue_time": timestamp(self.created), "renewable": self.renewable}
        if self.period:
            data["period"] = self.period
        if self.renewed is not None:
            data |= {"last_renewal": timestamp(self.renewed), "last_renewal_time": int(self.renewed)}
        if with_namespace:
            data["namespace_path"] = self.namespace
        return data

    def auth(self) -> dict[str, Any]:
        """``auth`` of a login or renewal."""
        return {
            "client_token": self.id,
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.policies,
            "metadata": self.meta,
            "lease_duration": self.ttl,
            "renewable": self.renewable,
            "entity_id": self.entity_id,
            "token_type": self.kind,
            "orphan": self.orphan,
        }


@dataclass
class Lease:
    id: str
    token: str
    issued: float
    expires: float
    ttl: int
    max_ttl: int
    renewable: bool
    renewed: Optional[float] = None
    revoke: Optional[Callable[[], None]] = None


class TokenStore:
    def __init__(self, prefix: str, clock: Callable[[], float]) -> None:
        self._prefix = prefix
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self.leases: dict[str, Lease] = {}

    def create(self, policies: list[str], path: str, *, ttl: int = 0, no_default: bool = False, **fields: Any) -> Token:
        now = self._clock()
        root = "root" in policies
        granted = min(ttl or fields.get("period") or (0 if root else MAX_TTL), MAX_TTL)
        if fields.get("explicit_max_ttl"):
            granted = min(granted or MAX_TTL, fields["explicit_max_ttl"])
        token = Token(
            self._prefix + random_id(),
            sorted({*policies, *([] if root or no_default else ["default"])}),
            path,
            now,
            ttl=granted,
            expires=now + granted if granted else None,
            **fields,
        )
        token.uses_left = token.num_uses
        self._tokens[token.id] = token
        return token

    def find(self, identifier: Optional[str]) -> Optional[Token]:
        """A token that lives; one that does not is dropped with all that came from it."""
        token = self._tokens.get(identifier or "")
        if token is None:
            return None
        if token.expires is not None and token.expires <= self._clock():
            self.revoke(token)
            return None
        return token

    def by_accessor(self, accessor: str) -> Optional[Token]:
        found = next((token for token in self._tokens.values() if token.accessor == accessor), None)
        return self.find(found.id) if found else None

    def use(self, token: Token) -> None:
        """Count one use. Raises Refusal when none is left."""
        if not token.num_uses:
            return
        if token.uses_left <= 0:
            self.revoke(token)
            raise Refusal(403, "permission denied")
        token.uses_left = token.uses_left - 1 or -1

    def renew(self, token: Token, increment: int) -> None:
        if not token.renewable:
            raise Refusal(400, "lease is not renewable")
        now = self._clock()
        granted = token.period or increment or token.ttl
        limit = token.explicit_max_ttl or MAX_TTL
        token.ttl = int(min(granted, token.created + limit - now))
        token.expires = now + token.ttl
        token.renewed = now

    def revoke(self, token: Token) -> None:
        self._tokens.pop(token.id, None)
        for lease in [lease for lease in self.leases.values() if lease.token == token.id]:
            self.end(lease)
        for child in [child for child in self._tokens.values() if child.parent == token.id]:
            self.revoke(child)

    def lend(
        self, path: str, token: Token, ttl: int, *, max_ttl: int, renewable: bool, revoke: Optional[Callable[[], None]]
    ) -> Lease:
        now = self._clock()
        lease = Lease(f"{path}/{random_id()}", token.id, now, now + ttl, ttl, max_ttl, renewable, revoke=revoke)
        self.leases[lease.id] = lease
        return lease

    def lease(self, identifier: str, text: str) -> Lease:
        """A lease that lives. Raises Refusal with this text otherwise."""
        lease = self.leases.get(identifier)
        if lease is not None and lease.expires <= self._clock():
            self.end(lease)
            lease = None
        if lease is None:
            raise Refusal(400, text)
        return lease

    def prolong(self, lease: Lease, increment: int) -> int:
        """Renew; returns the seconds granted."""
        if not lease.renewable:
            raise Refusal(400, "lease is not renewable")
        now = self._clock()
        lease.ttl = int(min(increment or lease.ttl, lease.issued + lease.max_ttl - now))
        lease.expires, lease.renewed = now + lease.ttl, now
        return lease.ttl

    def end(self, lease: Lease) -> None:
        if self.leases.pop(lease.id, None) and lease.revoke:
            lease.revoke()
