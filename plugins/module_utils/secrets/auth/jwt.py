# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A JWT that an identity provider signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional

from .. import credential_files


@dataclass(frozen=True)
class Jwt:
    jwt_file: str
    role: Optional[str] = None
    mount: str = "jwt"
    owned: ClassVar[bool] = True

    def login(self, client: Any) -> None:
        jwt = credential_files.text(self.jwt_file)
        client.auth.jwt.jwt_login(self.role, jwt.text(), path=self.mount)
