# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object store is, in five verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Optional, Protocol

BEGINNING = 4096


@dataclass(frozen=True)
class Peek:
    """The size of an object in bytes, and its first 4096 bytes (fewer when it is shorter)."""

    size: int
    beginning: bytes


class ObjectStore(Protocol):
    """Objects by name below one prefix. Names are relative, with ``/``; several threads may share a store.

    Everything raises OffsiteError or one of its kinds; no message holds a secret.
    """

    where: str
    """For people: what the operator named, without credentials."""
    can_list: bool

    def put(self, name: str, source: Path) -> None:
        """Store a file's content. It appears whole, as far as the endpoint can do that."""

    def get(self, name: str, target: Path) -> None:
        """Fetch an object into a file. Raises MissingObjectError."""

    def peek(self, name: str) -> Optional[Peek]:
        """The size and the beginning of an object, from the object itself; None when there is none."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of each object whose name starts with ``prefix`` (empty, or ending in ``/``)."""

    def delete(self, name: str) -> None:
        """Remove an object; none of this name is no error."""
