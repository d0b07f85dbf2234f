# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an auth method is."""

from __future__ import annotations

from typing import Any, Protocol


class AuthMethod(Protocol):
    """``owned``: the token was made for this task, and is revoked at its end."""

    owned: bool

    def login(self, client: Any) -> None:
        """Give an hvac client a token. Raises SecretError."""
