# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task leaves for the next one: a token and its leases, in a file of memory-backed storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ..journal.durable import write_file
from .faults import SecretError
from .model import Hidden, Lease


@dataclass(frozen=True)
class Held:
    """``owned``: whether the token was made for us, and is ours to revoke."""

    token: Hidden
    owned: bool
    leases: Mapping[str, Lease]

    def write(self, file: str) -> None:
        leases = [
            {
                "path": lease.path,
                "id": lease.id.text(),
                "seconds": lease.seconds,
                "renewable": lease.renewable,
                "granted_at": lease.granted_at,
            }
            for lease in self.leases.values()
        ]
        content = {"token": self.token.text(), "owned": self.owned, "leases": leases}
        write_file(file, json.dumps(content).encode(), 0o600)

    @classmethod
    def read(cls, file: str) -> Optional[Held]:
        """None when there is none. Raises SecretError when it cannot be understood."""
        try:
            with open(file, "rb") as opened:
                content = opened.read()
        except FileNotFoundError:
            return None
        held = _parsed(content)
        if held is None:
            fix = "Remove it: what it kept ends by itself"
            raise SecretError("unreadable", "this is not a file with kept leases", where=file, fix=fix)
        return held


def _parsed(content: bytes) -> Optional[Held]:
    try:
        fields: dict[str, Any] = json.loads(content)
        leases = [
            Lease(
                entry["path"],
                Hidden(entry["id"].encode()),
                int(entry["seconds"]),
                bool(entry["renewable"]),
                float(entry["granted_at"]),
            )
            for entry in fields["leases"]
        ]
        return Held(Hidden(fields["token"].encode()), bool(fields["owned"]), {lease.path: lease for lease in leases})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
