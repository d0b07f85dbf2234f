# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client certificate of the connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional

from ..faults import SecretError


@dataclass(frozen=True)
class Certificate:
    """``name`` is one role of the mount; None tries them all."""

    name: Optional[str] = None
    mount: str = "cert"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        if not client.adapter.transport.endpoint.client_certificate:
            fix = "Name its files at the source: client_certificate_file, client_key_file"
            raise SecretError("unreadable", "the auth method cert needs a client certificate", fix=fix)
        # hvac's own method wants the files again: the connection has them already.
        client.adapter.login(f"/v1/auth/{self.mount}/login", json={"name": self.name} if self.name else {})
