# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mount a path belongs to, and of which version it is: asked once a mount."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Mapping, Optional
from urllib.parse import quote

from .answers import text
from .faults import SecretError


@dataclass(frozen=True)
class Mount:
    """``path`` without slashes around it; ``version`` 1 or 2."""

    path: str
    version: int


class Mounts:
    """``given`` are mounts whose version a user named: they are not asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._known: dict[str, Mount] = {}
        self._lock = threading.Lock()
        for path, version in given.items():
            if str(version) not in ("1", "2"):
                raise SecretError(
                    "unreadable", f"KV has the versions 1 and 2, not {version!r}", where=f"mounts: {path}"
                )
            self._known[path.strip("/")] = Mount(path.strip("/"), int(version))

    def of(self, path: str, client: Any) -> Mount:
        """Raises SecretError when Vault does not say, or the mount is no key-value engine."""
        # No mount lies below another: one that fits is the one.
        with self._lock:
            return self._found(path) or self._asked(path, client)

    def _found(self, path: str) -> Optional[Mount]:
        return next((mount for name, mount in self._known.items() if path.startswith(f"{name}/")), None)

    def _asked(self, path: str, client: Any) -> Mount:
        body = client.adapter.get(f"/v1/sys/internal/ui/mounts/{quote(path)}")
        name = (text(body, "data", "path") or "").strip("/")
        if not name or not path.startswith(f"{name}/"):
            raise SecretError("not_vault", "Vault does not say which mount this is", where=path)
        if text(body, "data", "type") not in ("kv", "generic"):
            raise SecretError(
                "refused",
                f"{name} is no key-value engine",
                where=path,
                fix="If it makes secrets when they are read, say `dynamic: true`",
            )
        version = text(body, "data", "options", "version") or "1"
        if version not in ("1", "2"):
            raise SecretError("not_vault", "Vault names a version of KV that nobody knows", where=path)
        self._known[name] = Mount(name, int(version))
        return self._known[name]
