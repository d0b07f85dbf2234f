# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of migrations share: a tree with credentials, keys, and somewhere to move them to."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any, Optional

import pyrage
from vault_server.bed import Bed

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Clock, SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import migration
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.migration_journal import Run
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.migration_report import plan_of, settings_of
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.model import declared
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import ScanBaseline
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.sources import opened

HUB = """# the hub
database: {host: db, password: "Kx82mdPq0aLz"}   # rotate it
token: Zr94kdWm2pQx
tls_key: |
  -----BEGIN PRIVATE KEY-----
  MC4CAQAwBQYDK2VwBCIEIK83kdl29skJw83kdl29sk02kdlsmQx93kdl29skJw8a
  -----END PRIVATE KEY-----

# end"""
COMPOSE = """services:\r
  db:\r
    environment:\r
      - POSTGRES_PASSWORD=Vm73hdKs9wPb\r
      - HUB_TOKEN=${HUB_TOKEN:-Gt65bcNw8rYe}\r
  web:\r
    environment: {POSTGRES_PASSWORD: 'Vm73hdKs9wPb', url: "redis://:Hs48fjCm3vXq@cache:6379/0"}\r
"""
VALUES = {
    "DATABASE_PASSWORD": "Kx82mdPq0aLz",
    "HUB_TOKEN": "Gt65bcNw8rYe",
    "HUB_TOKEN_2": "Zr94kdWm2pQx",
    "POSTGRES_PASSWORD": "Vm73hdKs9wPb",
    "WEB_URL": "redis://:Hs48fjCm3vXq@cache:6379/0",
    "TLS_KEY": HUB[HUB.index("-----") : HUB.index("\n\n# end")].replace("\n  ", "\n") + "\n",
}
MARKS = [b"Kx82mdPq0aLz", b"Zr94kdWm2pQx", b"Vm73hdKs9wPb", b"Gt65bcNw8rYe", b"Hs48fjCm3vXq", b"MC4CAQAwBQYDK2VwBC"]
"""What of the values is looked for everywhere."""

WRITER_POLICY = """
path "kv/data/fleet/*" { capabilities = ["create", "update"] }
path "kv/metadata/fleet/*" { capabilities = ["read"] }
path "kv/delete/fleet/*" { capabilities = ["update"] }
path "old/fleet/*" { capabilities = ["create", "update", "delete"] }
"""


class Moving:
    """A tree, an identity of the agents, one for backups, and the settings of a migration to an age file."""

    def __init__(self, folder: Path, vault: Optional[Bed] = None, prefix: str = "fleet") -> None:
        self.folder, self.tree, self.backup = folder, folder / "tree", folder / "backup"
        (self.tree / "conf").mkdir(parents=True)
        self.write("conf/hub.yaml", HUB.encode())
        self.write("docker-compose.yml", COMPOSE.encode())
        self.write("agent.py", b'import os\nTOKEN = os.environ.get("HUB_TOKEN", "Gt65bcNw8rYe")\n')
        self.originals = self.files()
        self.agents, self.operator = self.identity("agents.txt"), self.identity("operator.txt")
        self.options: dict[str, Any] = {
            "source": {
                "kind": "age",
                "file": str(folder / "secrets.age"),
                "identity_files": [str(folder / "agents.txt")],
            },
            "writer": {"recipients": [self.agents]},
            "prefix": prefix,
            "backup": {"folder": str(self.backup), "recipients": [self.operator]},
        }
        if vault is not None:
            vault.server.administer("PUT", "sys/policies/acl/writer", {"policy": WRITER_POLICY})
            made = vault.server.administer("POST", "auth/token/create", {"policies": ["writer"], "no_parent": True})
            token = vault.file("writer_token", made["auth"]["client_token"])
            self.options["source"] = vault.source()
            self.options["writer"] = {"auth": {"method": "token", "token_file": token}}

    def identity(self, name: str) -> str:
        """Make one, in a file; its public half."""
        identity = pyrage.x25519.Identity.generate()
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT, 0o400)
        os.write(descriptor, str(identity).encode())
        os.close(descriptor)
        return str(identity.to_public())

    def write(self, name: str, content: bytes, mode: int = 0o640) -> None:
        (self.tree / name).write_bytes(content)
        (self.tree / name).chmod(mode)

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.tree)): path.read_bytes() for path in self.tree.rglob("*") if path.is_file()}

    def settings(self, *, undo: bool = False) -> migration.Settings:
        return settings_of(self.options, [str(self.folder / "operator.txt")] if undo else [])

    def apply(self, clock: Optional[Clock] = None) -> Optional[Run]:
        plan, unread = plan_of(str(self.tree), ScanBaseline(), date(2030, 1, 1))
        assert unread == ()
        return migration.apply(str(self.tree), plan, self.settings(), clock or SystemClock())

    def undo(self, run: str) -> migration.Undone:
        return migration.undo(run, self.settings(undo=True), SystemClock())

    def unfinished(self) -> Optional[Run]:
        return migration.unfinished(self.settings(), SystemClock())

    def read(self, *names: str) -> dict[str, str]:
        """What the agents would read."""
        source = opened(self.options["source"], SystemClock())
        prefix = self.options["prefix"]
        found = source.read(declared([{"name": name, "path": f"{prefix}/{name}"} for name in names]))
        source.close()
        return {name: one.value.text() for name, one in found.items()}

    def traces(self, *, but: tuple[str, ...] = ()) -> list[str]:
        """Files of the whole folder in which a value stands, but for these of the tree."""
        skipped = {self.tree / name for name in but}
        return sorted(
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path not in skipped and any(mark in path.read_bytes() for mark in MARKS)
        )
