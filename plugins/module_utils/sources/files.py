# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, read so that a change under way is noticed."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Iterator

from ..source import Piece, plain

PIECE = 1024 * 1024
BLOCK = 128 * 1024
LARGEST_BLOCK = 8 * 1024 * 1024
MOST_BLOCKS = 65536
GRAIN = 50_000_000
"""Nanoseconds within which two changes may leave the same time stamp."""


class FileReading:
    """A regular file as it stands. Holes stay holes.

    Time stamps tell whether it changed while it was read, unless it had changed just before: then,
    and from the second attempt on, it is read twice and compared. So a file that only grows (a log) is
    settled when its beginning is still what was read.
    """

    kind = ""

    def __init__(self, path: bytes, attempt: int = 0, fault: str = "", block: int = BLOCK) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self.stat = os.fstat(self._file)
        self.size = self.stat.st_size
        self.block_size = block
        while self.size > self.block_size * MOST_BLOCKS and self.block_size < LARGEST_BLOCK:
            self.block_size *= 2
        self._fault = fault
        young = time.time_ns() - self.stat.st_ctime_ns < GRAIN
        self._digest = hashlib.sha256() if attempt or young else None

    def starts_with(self, beginning: bytes) -> bool:
        return os.pread(self._file, len(beginning), 0) == beginning

    def pieces(self) -> Iterator[Piece]:
        for piece in self._pieces():
            if self._digest is not None:
                for part in plain(piece):
                    self._digest.update(part)
            yield piece

    def _pieces(self) -> Iterator[Piece]:
        if self.stat.st_blocks * 512 >= self.size:
            yield from self._stretch(0, self.size)
            return
        position = 0
        while position < self.size:
            try:
                data = min(os.lseek(self._file, position, os.SEEK_DATA), self.size)
            except OSError:
                # ENXIO: nothing but a hole up to the end.
                data = self.size
            if data > position:
                yield data - position
            position = min(os.lseek(self._file, data, os.SEEK_HOLE), self.size) if data < self.size else self.size
            yield from self._stretch(data, position)

    def _stretch(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            piece = os.pread(self._file, min(max(PIECE, self.block_size), end - start), start)
            if not piece:
                return
            start += len(piece)
            yield piece

    def settled(self) -> bool:
        now = os.fstat(self._file)
        if self._digest is None:
            return _state(now) == _state(self.stat)
        again = hashlib.sha256()
        for piece in self._stretch(0, self.size):
            again.update(piece)
        return again.digest() == self._digest.digest()

    def fault(self) -> str:
        return self._fault

    def close(self) -> None:
        os.close(self._file)


def _state(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
