# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets from HashiCorp Vault or OpenBao: one login, few requests, and nothing left behind."""

from __future__ import annotations

import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import quote

from ..effects import Clock
from .answers import number, part, text
from .auth.method import AuthMethod
from .documents import value_of
from .endpoint import Endpoint
from .faults import SecretError, collected, tried
from .held import Held
from .model import DeclaredSecret, Hidden, Lease, ReadSecret
from .mounts import Mount, Mounts
from .patience import Patience
from .transport import client

_TTL = ("data", "ttl")
_LOGIN_FAULTS = frozenset({"refused", "denied", "missing"})
_Where = tuple[str, Optional[int], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class _Found:
    fields: Any = field(repr=False)
    version: Optional[str]


class VaultSource:
    """Logs in at the first request. ``leases`` are those of the dynamic secrets that were read, by path."""

    def __init__(
        self,
        endpoint: Endpoint,
        auth: AuthMethod,
        clock: Clock,
        *,
        mounts: Optional[Mapping[str, Any]] = None,
        randomness: Callable[[], float] = random.random,
    ) -> None:
        self.warnings = list(endpoint.warnings)
        self.leases: dict[str, Lease] = {}
        self._endpoint = endpoint
        self._auth = auth
        self._clock = clock
        self._mounts = Mounts(mounts or {})
        self._client = client(endpoint, Patience(endpoint.patience, clock, randomness))
        self._lock = threading.Lock()
        self._owned = False
        self._logged_in = False
        self._kept = False
        self._made_now: list[Lease] = []
        self._standing: dict[str, Lease] = {}

    @property
    def requests(self) -> int:
        """How many were made, repeated ones included."""
        return int(self._client.adapter.transport.requests)

    def read(self, secrets: Sequence[DeclaredSecret]) -> dict[str, ReadSecret]:
        found, failures = self._each(secrets, self._fetched)
        values: dict[str, ReadSecret] = {}
        for secret in secrets:
            if secret.name in failures:
                continue
            one = found[secret.name]
            value, error = tried(partial(value_of, one.fields, secret, secret.path, exact=False))
            if value is not None:
                values[secret.name] = ReadSecret(secret.name, value, one.version)
            elif error is not None:
                failures[secret.name] = error
        if failures:
            raise collected(failures)
        return values

    def versions(self, secrets: Sequence[DeclaredSecret]) -> dict[str, Optional[str]]:
        """Of secrets in KV v2, by their metadata; None for others, and where the policy does not show metadata."""
        found, failures = self._each(secrets, self._version)
        if failures:
            raise collected(failures)
        return found

    def renew(self, lease: Lease, seconds: Optional[int] = None) -> Lease:
        """Prolong a lease by so many seconds, or as long as it was; less may be granted.
        Raises SecretError ``lease_lost`` when it has ended, or cannot be renewed."""
        body = self._leased(lambda vault: vault.sys.renew_lease(lease.id.text(), seconds or lease.seconds), lease)
        seconds = number(body, "lease_duration") or 0
        return Lease(lease.path, lease.id, seconds, part(body).get("renewable") is True, self._clock.now())

    def revoke(self, lease: Lease) -> None:
        self._leased(lambda vault: vault.sys.revoke_lease(lease.id.text()), lease)
        for leases in (self.leases, self._standing):
            if leases.get(lease.path) == lease:
                del leases[lease.path]
        self._made_now = [made for made in self._made_now if made != lease]

    def hold(self, file: str) -> None:
        """Keep token and leases for the next run, in a file (0600); ``close`` then revokes nothing."""
        vault = self._ready()
        Held(vault.adapter.hidden_token, self._owned, self.leases).write(file)
        self._kept = True

    def resume(self, file: str) -> dict[str, Lease]:
        """Go on with what ``hold`` kept, instead of logging in: the token is renewed, and each lease that is due.
        Returns the leases that live; what is not among them must be read anew. Nothing was kept: no leases.

        What was kept serves somebody: unless each lease is revoked, ``close`` leaves its token alone.
        """
        held = Held.read(file)
        if held is None:
            return {}
        with self._lock:
            self._client.adapter.hidden_token, self._logged_in = held.token, True
        remaining, error = tried(lambda: self._token_remains(held))
        if error is not None and error.code not in _LOGIN_FAULTS:
            raise error
        longest = max((lease.seconds for lease in held.leases.values()), default=0)
        if remaining is None or remaining < longest / 3:
            # It has ended, or will soon, and its leases with it. Till then they may be in use.
            with self._lock:
                self._client.adapter.hidden_token, self._logged_in = None, False
            return {}
        self._owned = held.owned
        now = self._clock.now()
        self._standing = {path: lease for path, lease in held.leases.items() if not lease.over(now)}
        self.leases = self._renewed(held.leases)
        self._standing.update(self.leases)
        return dict(self.leases)

    def close(self) -> None:
        """Revoke the token that was made for this task, and with it every lease that came from it. Where others rely
        on the token, only the leases of this task are revoked."""
        given_back: list[tuple[str, Callable[[], Any]]] = []
        if self._owned and not self._kept and not self._standing:
            given_back = [("token of this task", self._client.auth.token.revoke_self)]
        elif not self._kept:
            given_back = [(f"lease of {made.path}", partial(self.revoke, made)) for made in self._made_now]
        for name, revoke in given_back:
            _done, error = tried(revoke)
            if error is not None:
                self.warnings.append(f"The {name} lives until its time is over: {error.what}")
        self._owned = False
        self._client.adapter.hidden_token = None
        self._client.adapter.close()

    def _token_remains(self, held: Held) -> float:
        """For how many seconds its token lives on; one of ours is renewed first."""
        token = self._client.auth.token
        body, keys = (token.renew_self(), ("auth", "lease_duration")) if held.owned else (token.lookup_self(), _TTL)
        seconds = number(body, *keys)
        if seconds is None:
            raise SecretError("not_vault", "Vault does not say how long the token lives")
        # A token that never ends says 0.
        return float(seconds) or math.inf

    def _ready(self) -> Any:
        """The client, logged in."""
        with self._lock:
            if not self._logged_in:
                self._login()
                self._logged_in = True
        return self._client

    def _login(self) -> None:
        _done, error = tried(lambda: self._auth.login(self._client))
        if error is not None and error.code in _LOGIN_FAULTS:
            raise SecretError(
                "login_refused",
                f"Vault refuses the login: {error.what}",
                where=error.where,
                fix="Check mount, role and credential; whether the credential has ended or was used before",
            )
        if error is not None:
            raise error
        self._owned = self._auth.owned

    def _each(
        self, secrets: Sequence[DeclaredSecret], work: Callable[[DeclaredSecret], Any]
    ) -> tuple[dict[str, Any], dict[str, SecretError]]:
        """The result or error of each, by name, worked out side by side and once for those that come from one answer.
        A login that fails is raised; after an outage nothing is begun."""
        self._ready()
        groups: dict[_Where, list[DeclaredSecret]] = {}
        for secret in secrets:
            groups.setdefault(_where(secret), []).append(secret)
        found: dict[str, Any] = {}
        failures: dict[str, SecretError] = {}
        outages: list[SecretError] = []

        def one(group: Sequence[DeclaredSecret]) -> None:
            done, error = (None, outages[0]) if outages else tried(lambda: work(group[0]))
            for secret in group:
                if error is None:
                    found[secret.name] = done
                else:
                    failures[secret.name] = error
            if error is not None and error.outage:
                outages.append(error)

        with ThreadPoolExecutor(max(1, min(self._endpoint.parallel, len(groups)))) as pool:
            for _done in pool.map(one, groups.values()):
                pass
        return found, {secret.name: failures[secret.name] for secret in secrets if secret.name in failures}

    def _fetched(self, secret: DeclaredSecret) -> _Found:
        if secret.dynamic:
            return self._made(secret)
        mount = self._mounts.of(secret.path, self._client)
        path = secret.path[len(mount.path) + 1 :]
        if mount.version == 2:
            return self._versioned(secret, mount, path)
        if secret.version is not None:
            raise SecretError("missing", "KV v1 keeps no versions", where=secret.path)
        body = self._client.secrets.kv.v1.read_secret(path, mount_point=mount.path)
        return _Found(_data(body, secret), None)

    def _versioned(self, secret: DeclaredSecret, mount: Mount, path: str) -> _Found:
        body = self._client.secrets.kv.v2.read_secret_version(
            path, secret.version, mount_point=mount.path, raise_on_deleted_version=False
        )
        data = _data(body, secret)
        metadata, version = part(data, "metadata"), number(data, "metadata", "version")
        if metadata.get("destroyed"):
            raise SecretError("destroyed", f"version {version} was destroyed", where=secret.path)
        if data.get("data") is None:
            raise SecretError(
                "deleted",
                f"version {version} was deleted",
                where=secret.path,
                fix="vault kv undelete brings it back, or pin another version",
            )
        if version is None:
            raise SecretError("not_vault", "Vault does not say which version this is", where=secret.path)
        return _Found(data["data"], str(version))

    def _made(self, secret: DeclaredSecret) -> _Found:
        url = f"/v1/{quote(secret.path)}"
        adapter = self._client.adapter
        body = adapter.post(url, json=dict(secret.parameters)) if secret.parameters else adapter.get(url)
        data = _data(body, secret)
        identifier, seconds = text(body, "lease_id"), number(body, "lease_duration") or 0
        if identifier:
            renewable = part(body).get("renewable") is True
            lease = Lease(secret.path, Hidden(identifier.encode()), seconds, renewable, self._clock.now())
            self.leases[secret.path] = lease
            self._made_now.append(lease)
        return _Found(data, None)

    def _version(self, secret: DeclaredSecret) -> Optional[str]:
        if secret.version is not None:
            return str(secret.version)
        if secret.dynamic:
            return None
        mount = self._mounts.of(secret.path, self._client)
        if mount.version == 1:
            return None
        path = secret.path[len(mount.path) + 1 :]
        body, error = tried(lambda: self._client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount.path))
        if error is not None and error.code == "denied":
            return None
        if error is not None:
            raise error
        current = number(body, "data", "current_version")
        return None if current is None else str(current)

    def _leased(self, work: Callable[[Any], Any], lease: Lease) -> Any:
        vault = self._ready()
        body, error = tried(lambda: work(vault))
        if error is not None and error.code in _LOGIN_FAULTS:
            raise SecretError("lease_lost", "the lease has ended, or cannot be renewed", where=lease.path)
        if error is not None:
            raise error
        return body

    def _prolonged(self, lease: Lease) -> tuple[Optional[Lease], Optional[SecretError]]:
        return tried(lambda: self.renew(lease))

    def _renewed(self, leases: Mapping[str, Lease]) -> dict[str, Lease]:
        living: dict[str, Lease] = {}
        for path, lease in leases.items():
            now = self._clock.now()
            if not lease.due(now):
                living[path] = lease
            elif lease.renewable and not lease.over(now):
                renewed, error = self._prolonged(lease)
                if error is not None and error.code != "lease_lost":
                    raise error
                # What was granted may end before the next run: a new one is better then.
                if renewed is not None and renewed.seconds >= lease.seconds / 3:
                    living[path] = renewed
        return living


def _where(secret: DeclaredSecret) -> _Where:
    """Secrets that are equal in this come from one answer."""
    return secret.path, secret.version, tuple(sorted(secret.parameters.items()))


def _data(body: Any, secret: DeclaredSecret) -> Mapping[str, Any]:
    data = part(body, "data")
    if not data:
        raise SecretError("not_vault", "the answer holds no data", where=secret.path)
    return data
