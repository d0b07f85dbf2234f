# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared, what was read, and what a source of secrets is."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Protocol, Sequence

from .faults import SecretError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f?#%\\]")
WHOLE = "*"
"""As a field: all of a path, as JSON."""


class Hidden:
    """Bytes that are shown to nobody who does not ask for them: not printed, not pickled, compared in equal time."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def reveal(self) -> bytes:
        return self._content

    def text(self) -> str:
        return self._content.decode()

    def __repr__(self) -> str:
        return "<hidden>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and hmac.compare_digest(self._content, other._content)

    def __hash__(self) -> int:
        raise TypeError("hidden content has no hash")

    def __reduce__(self) -> Any:
        raise TypeError("hidden content is not pickled")


@dataclass(frozen=True)
class DeclaredSecret:
    """A name, and where its value is found. ``parameters`` are sent to an engine that makes something (PKI)."""

    name: str
    path: str
    field: str = "value"
    version: Optional[int] = None
    dynamic: bool = False
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Lease:
    """What Vault lent. ``granted_at`` is wall time, ``seconds`` what was granted then."""

    path: str
    id: Hidden
    seconds: int
    renewable: bool
    granted_at: float

    def due(self, now: float) -> bool:
        """Whether two thirds of its life are over."""
        return now >= self.granted_at + self.seconds * 2 / 3

    def over(self, now: float) -> bool:
        return now >= self.granted_at + self.seconds


@dataclass(frozen=True)
class ReadSecret:
    """``version`` is None where the source has none."""

    name: str
    value: Hidden
    version: Optional[str] = None


class Source(Protocol):
    """Where values come from. ``warnings`` are for people, complete after ``close``."""

    warnings: list[str]

    def read(self, secrets: Sequence[DeclaredSecret]) -> dict[str, ReadSecret]:
        """All of them, by name, or SecretError with every failure."""

    def versions(self, secrets: Sequence[DeclaredSecret]) -> dict[str, Optional[str]]:
        """Which version ``read`` would find, without reading a value where the source can tell. None: not known."""

    def close(self) -> None:
        """Give back what was taken: tokens, connections."""


def declared(options: Sequence[Mapping[str, Any]]) -> list[DeclaredSecret]:
    """Secrets as a user declares them. Raises SecretError for what cannot be meant."""
    secrets = [_declared(entry) for entry in options]
    names = [secret.name for secret in secrets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refused(f"declared twice: {', '.join(twice)}")
    return secrets


def _declared(entry: Mapping[str, Any]) -> DeclaredSecret:
    name = str(entry.get("name", ""))
    if not _NAME.fullmatch(name):
        raise _refused(f"{name!r} is no name of a secret", "Letters, digits, dot, dash and underscore, 128 at most")
    path = str(entry.get("path") or "").strip("/")
    if not path or _UNSAFE.search(path) or {"", ".", ".."} & set(path.split("/")):
        raise _refused(f"{name}: {path!r} is no path of a secret")
    version = entry.get("version")
    if version is not None and int(version) < 1:
        raise _refused(f"{name}: versions are counted from 1")
    parameters = entry.get("parameters") or {}
    dynamic = bool(entry.get("dynamic"))
    if (parameters or dynamic) and version is not None:
        raise _refused(f"{name}: what is made anew has no versions")
    return DeclaredSecret(
        name,
        path,
        str(entry.get("field") or "value"),
        None if version is None else int(version),
        dynamic or bool(parameters),
        {str(key): str(value) for key, value in parameters.items()},
    )


def _refused(what: str, fix: Optional[str] = None) -> SecretError:
    return SecretError("unreadable", what, where="secrets", fix=fix)


def fingerprint(key: bytes, name: str, value: Hidden) -> str:
    """Names a value to those who know it, and to nobody else: 16 hexadecimal digits of HMAC-SHA-256 under a key that
    stays on its host, over the name, a zero byte and the value."""
    return hmac.new(key, name.encode() + b"\0" + value.reveal(), hashlib.sha256).hexdigest()[:16]
