# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine or auth method is given, and how it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .messages import Reply
from .profiles import Profile
from .tokens import Token, TokenStore


@dataclass
class Call:
    """A request that reached its mount. ``path`` is the rest below the mount, ``mount`` ends in a slash."""

    operation: str
    mount: str
    path: str
    body: dict[str, Any]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    token: Optional[Token]
    certificate: Optional[bytes]
    namespace: str
    now: float
    profile: Profile
    store: TokenStore


class Engine(ABC):
    @abstractmethod
    def handle(self, call: Call) -> Reply: ...

    def is_login(self, path: str) -> bool:
        """Whether a path needs no token."""
        return False
