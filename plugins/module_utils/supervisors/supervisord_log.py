# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a process of supervisord ended without being asked to.

supervisord has no such counter, but its log tells the two apart: ``stopped: NAME (…)`` after a
request, ``exited: NAME (…)`` without one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import BinaryIO

EXITED = re.compile(rb"^\S+ \S+ [A-Z]+ exited: (\S+) \(")


class Exits:
    """Counts over the log and its rotated predecessors; what was read once is not read again."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._counts: Counter[str] = Counter()
        self._inode = -1
        self._offset = 0

    def counts(self) -> Counter[str]:
        """Process name (without its group) to the number of its unasked ends."""
        try:
            with open(self._log, "rb") as stream:
                self._read_on(stream)
        except FileNotFoundError:
            pass  # never written, or just being rotated: what was counted stays
        return Counter(self._counts)

    def _read_on(self, stream: BinaryIO) -> None:
        state = os.fstat(stream.fileno())
        if state.st_ino != self._inode or state.st_size < self._offset:
            self._counts = Counter()
            self._inode, self._offset = state.st_ino, 0
            for number in range(1, 10):
                self._count_file(f"{self._log}.{number}")
        stream.seek(self._offset)
        for line in stream:
            if not line.endswith(b"\n"):
                break
            self._offset += len(line)
            self._count_line(line)

    def _count_file(self, path: str) -> None:
        try:
            with open(path, "rb") as stream:
                for line in stream:
                    self._count_line(line)
        except FileNotFoundError:
            return

    def _count_line(self, line: bytes) -> None:
        found = EXITED.match(line)
        if found:
            self._counts[found.group(1).decode("utf-8", "replace")] += 1
