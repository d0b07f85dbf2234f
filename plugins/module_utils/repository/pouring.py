# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the content of a file. That of a large one goes around the page cache, where the file system lets it: to be
copied there costs more than all else in a restore, and pushes out what running programs have in it."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from itertools import chain
from typing import Iterable, Optional

from ..source import Piece, plain
from .entries import Content

LARGE = 1024 * 1024
_GRAIN = 4096
"""Bytes: of this every direct write is a multiple, and its place in the file too."""
_DIRECT = getattr(os, "O_DIRECT", 0)


class Pouring(threading.local):
    """``pour`` may be used by several threads at once; each has memory of its own."""

    def __init__(self) -> None:
        self._memory: Optional[memoryview] = None

    def pour(self, file: int, wanted: Content, pieces: Iterable[Piece]) -> None:
        """Write all pieces to ``file``, which is empty. Raises OSError, and whatever the pieces raise."""
        if wanted.size >= LARGE and all(isinstance(part, str) for part in wanted.blocks) and _switch(file, _DIRECT):
            self._around(file, pieces)
        else:
            _through(file, wanted, pieces)

    def _around(self, file: int, pieces: Iterable[Piece]) -> None:
        if self._memory is None:
            # Direct writes need memory that begins at a page.
            self._memory = memoryview(mmap.mmap(-1, LARGE))
        memory, filled = self._memory, 0
        for stretch in chain.from_iterable(map(plain, pieces)):
            rest = memoryview(stretch)
            while rest:
                count = min(len(rest), LARGE - filled)
                memory[filled : filled + count] = rest[:count]
                rest, filled = rest[count:], filled + count
                if filled == LARGE:
                    _write(file, memory)
                    filled = 0
        direct = filled - filled % _GRAIN
        _write(file, memory[:direct])
        _switch(file, 0)
        _write(file, memory[direct:filled])


def _through(file: int, wanted: Content, pieces: Iterable[Piece]) -> None:
    piece: Piece = b""
    for piece in pieces:
        if isinstance(piece, int):
            os.lseek(file, piece, os.SEEK_CUR)
        else:
            _write(file, memoryview(piece))
    if isinstance(piece, int):
        os.ftruncate(file, wanted.size)


def _write(file: int, rest: memoryview) -> None:
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except OSError as error:
            # Some file systems let files be opened for direct writes that they then refuse.
            if error.errno != errno.EINVAL or not _switch(file, 0):
                raise


def _switch(file: int, direct: int) -> bool:
    """Begin or end to write around the page cache; False when it was so already or the file system refuses."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    if flags & _DIRECT == direct:
        return False
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags & ~_DIRECT | direct)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
        return False
    return True
