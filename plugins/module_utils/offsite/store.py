# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object store is, in five verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Iterator, Optional, Protocol

from .faults import DamagedObjectError

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

    def get(self, name: str, target: Path, most: int) -> None:
        """Fetch an object into a file. Raises MissingObjectError, and DamagedObjectError when it has more than
        ``most`` bytes."""

    def peek(self, name: str) -> Optional[Peek]:
        """The size and the beginning of an object, from the object itself; None when there is none."""

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Name and size of each object whose name starts with ``prefix`` (empty, or ending in ``/``)."""

    def delete(self, name: str) -> None:
        """Remove an object; none of this name is no error."""


class Bounded:
    """A file that takes so many bytes and no more, whatever the endpoint goes on to send."""

    def __init__(self, file: BinaryIO, most: int, where: str) -> None:
        self._file, self._left, self._where = file, most, where

    def write(self, content: bytes) -> int:
        self._left -= len(content)
        if self._left < 0:
            raise DamagedObjectError("The object is larger than it can be", where=self._where)
        return self._file.write(content)
