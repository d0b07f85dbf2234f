# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file read in pieces into memory that is used again: new memory for each piece costs as much as reading it."""

from __future__ import annotations

import os
from typing import Union

_NEAR = 64
"""Between two blocks of a pack file stand fewer bytes."""


class Window:
    """Pieces of the file ``descriptor`` through ``memory``. Where one piece follows another, as much is read as fits,
    since more will be asked for; ``read`` counts all bytes that were."""

    def __init__(self, descriptor: int, memory: memoryview) -> None:
        self._descriptor, self._memory = descriptor, memory
        self._begin, self._end = 0, 0
        self.read = 0

    def at(self, offset: int, size: int) -> Union[memoryview, bytes]:
        """``size`` bytes, fewer at the end of the file. They stand there until others are asked for."""
        if not self._begin <= offset <= offset + size <= self._end:
            if size > len(self._memory):
                self.read += size
                return os.pread(self._descriptor, size, offset)
            goes_on = self._begin < offset <= self._end + _NEAR
            self._fill(offset, len(self._memory) if goes_on else size)
        return self._memory[offset - self._begin : min(offset + size, self._end) - self._begin]

    def _fill(self, offset: int, size: int) -> None:
        self._begin = self._end = offset
        while self._end < offset + size:
            count = os.preadv(self._descriptor, [self._memory[self._end - offset : size]], self._end)
            if not count:
                break
            self._end += count
            self.read += count
