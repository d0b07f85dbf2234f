# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with something to read, and the files with which a host logs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

from .server import VaultServer

POLICY = """
path "kv/data/*" { capabilities = ["read"] }
path "kv/metadata/*" { capabilities = ["read"] }
path "old/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
"""


class Bed:
    """``kv`` is of version 2, ``old`` of version 1; the role ``agent`` of AppRole reads both. Options that a user
    would write are in ``approle`` and ``source``."""

    def __init__(self, server: VaultServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        server.administer("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        server.administer("POST", "sys/mounts/old", {"type": "kv"})
        server.administer("POST", "sys/auth/approle", {"type": "approle"})
        server.administer("PUT", "sys/policies/acl/agent", {"policy": POLICY})
        server.administer("POST", "auth/approle/role/agent", {"token_policies": "agent", "token_ttl": "1h"})
        self.role_id = server.administer("GET", "auth/approle/role/agent/role-id")["data"]["role_id"]
        self.secret_id = self.new_secret_id()
        self.approle = {
            "method": "approle",
            "role_id_file": self.file("role_id", self.role_id),
            "secret_id_file": self.file("secret_id", self.secret_id),
        }

    def source(self, auth: Optional[dict[str, Any]] = None, **options: Any) -> dict[str, Any]:
        return {"kind": "vault", "address": self.server.address, "auth": auth or self.approle, **options}

    def file(self, name: str, content: str, mode: int = 0o400) -> str:
        path = self.folder / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
        path.chmod(mode)
        return str(path)

    def new_secret_id(self) -> str:
        return str(self.server.administer("POST", "auth/approle/role/agent/secret-id")["data"]["secret_id"])

    def wrapped_secret_id(self, role: str = "agent") -> str:
        path = f"auth/approle/role/{role}/secret-id"
        return str(self.server.administer("POST", path, X_Vault_Wrap_TTL="60")["wrap_info"]["token"])

    def put(self, path: str, **fields: Any) -> None:
        """A new version of a secret in ``kv``."""
        self.server.administer("POST", f"kv/data/{path}", {"data": fields})

    def put_old(self, path: str, **fields: Any) -> None:
        self.server.administer("POST", f"old/{path}", fields)

    def database(self, **role: Any) -> None:
        """A role ``agent`` that lends accounts."""
        self.server.administer("POST", "sys/mounts/database", {"type": "database"})
        self.server.administer("POST", "database/roles/agent", {"default_ttl": "300s", "max_ttl": "900s", **role})

    @property
    def accounts(self) -> dict[str, str]:
        """The accounts that exist in the database."""
        engine: Any = self.server.core.namespaces[""].mounts["database/"].engine
        return dict(engine.accounts)

    def tokens(self) -> set[str]:
        """What tokens the server has handed out, besides that of the administrator."""
        return set(self.server.core.tokens._tokens) - {self.server.root_token}
