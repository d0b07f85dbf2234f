# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the blocks of a repository are named and kept."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, Union

from . import paths
from .faults import DamagedError


class Blocks(Protocol):
    """How the blocks of a repository are named and kept. ``encryption`` is what pack records say;
    ``keyed`` is False where the name of a block is the SHA-256 of its plain bytes."""

    encryption: int
    keyed: bool

    def name(self, plain: Union[bytes, memoryview]) -> bytes: ...

    def seal(self, name: bytes, compression: int, length: int, payload: bytes) -> bytes: ...

    def open(self, name: bytes, compression: int, length: int, sealed: Any) -> bytes:
        """The payload. Raises DamagedError when it was changed or belongs to another record."""

    def seal_path(self, path: bytes) -> str:
        """A path as a manifest holds it."""

    def open_path(self, text: str) -> bytes: ...


class PlainBlocks:
    """Nothing is encrypted."""

    encryption = 0
    keyed = False

    def name(self, plain: Union[bytes, memoryview]) -> bytes:
        return hashlib.sha256(plain).digest()

    def seal(self, name: bytes, compression: int, length: int, payload: bytes) -> bytes:
        return payload

    def open(self, name: bytes, compression: int, length: int, sealed: Any) -> bytes:
        raise DamagedError("A block is encrypted in a repository that is not")

    def seal_path(self, path: bytes) -> str:
        return paths.encode(path)

    def open_path(self, text: str) -> bytes:
        return paths.decode(text)
