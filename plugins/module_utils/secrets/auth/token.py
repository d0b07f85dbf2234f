# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token that somebody else made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .. import credential_files


@dataclass(frozen=True)
class TokenFile:
    token_file: str
    owned: ClassVar[bool] = False

    def login(self, client: Any) -> None:
        client.adapter.hidden_token = credential_files.text(self.token_file)
