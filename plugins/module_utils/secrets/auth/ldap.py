# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user name and a password that a directory knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import credential_files


@dataclass(frozen=True)
class Ldap:
    username: str
    password_file: str
    mount: str = "ldap"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        password = credential_files.text(self.password_file)
        client.auth.ldap.login(self.username, password.text(), mount_point=self.mount)
