# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source of a snapshot is: the contract between ``sources/`` and ``repository/``."""

from __future__ import annotations

import os
from typing import Iterator, NamedTuple, Optional, Protocol, Union

Piece = Union[bytes, int]
"""A stretch of content: bytes, or the length of a hole that reads as zeros."""

_ZEROS = bytes(1 << 20)


def plain(piece: Piece) -> Iterator[bytes]:
    """The bytes of a piece, a hole as zeros."""
    if isinstance(piece, bytes):
        yield piece
        return
    whole, rest = divmod(piece, len(_ZEROS))
    for _number in range(whole):
        yield _ZEROS
    yield _ZEROS[:rest]


class Found(NamedTuple):
    """One name that a walk came across. ``path`` is absolute, ``seen`` changes whenever the content
    or the metadata may have changed, ``changed`` is when that was last (nanoseconds since 1970).
    ``target`` belongs to links."""

    path: bytes
    stat: os.stat_result
    seen: bytes
    changed: int
    target: bytes = b""


class Skipped(NamedTuple):
    """A name that cannot be taken. ``kind`` is ``unreadable vanished special``."""

    path: bytes
    kind: str
    message: str


class Reading(Protocol):
    """One read of one file's content, from the first byte to the last.

    ``kind`` is that of an entry (docs/snapshot-format.md, section 6), ``block_size`` is how the
    content is best cut, ``size`` and ``stat`` are what was there at the start.
    """

    kind: str
    block_size: int
    size: int
    stat: os.stat_result

    def pieces(self) -> Iterator[Piece]:
        """The content in order, in pieces of at most a few MB: whole multiples of ``block_size``,
        except the last one before a hole and before the end."""

    def settled(self) -> bool:
        """After the last piece: whether what was read is one state of the file."""

    def fault(self) -> str:
        """After the last piece: why the content is not what its name or header promises; else empty."""

    def close(self) -> None: ...


class Source(Protocol):
    """Something on this host that can be read consistently."""

    def walk(self) -> Iterator[Union[Found, Skipped]]:
        """Everything in the source, sorted by path, ``/`` before every other byte."""

    def read(self, found: Found, attempt: int) -> Reading:
        """Open one file for reading; ``attempt`` counts from 0. Raises OSError."""

    def xattrs(self, found: Found) -> Optional[dict[bytes, bytes]]:
        """Extended attributes; None where they cannot be read."""
