# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user name and a password that Vault knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from .. import credential_files


@dataclass(frozen=True)
class Userpass:
    username: str
    password_file: str
    mount: str = "userpass"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        password = credential_files.text(self.password_file)
        client.auth.userpass.login(quote(self.username, safe=""), password.text(), mount_point=self.mount)
