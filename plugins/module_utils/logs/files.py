# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of one log, opened together: a rename after that changes nothing any more."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Iterator, Optional, Sequence

from ..errors import ContinuityError
from . import names
from .compression import SUFFIXES, expanded

if TYPE_CHECKING:
    from hashlib import _Hash

PIECE = 1024 * 1024
_PACKED_PIECE = 16 * 1024
"""Small, because what it holds may be a thousand times as long."""
_LOOKS = 5
_HEAD = 4096


class LogError(ContinuityError):
    """A log that cannot be archived as it stands."""


class UnsettledError(LogError):
    """A file was cut or replaced while it was read."""


class LogFile:
    """One file of a log, held open. ``live`` is the one that bears the log's own name."""

    def __init__(self, path: str, live: bool, number: int) -> None:
        self.path, self.live, self.number = path, live, number
        self.packing: Optional[str] = None if live else SUFFIXES.get(os.path.splitext(path)[1])
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self.stat = os.fstat(self.descriptor)
        if not stat.S_ISREG(self.stat.st_mode):
            self.close()
            raise LogError("This is not a regular file", where=path, fix="Leave it out")
        self._head = os.pread(self.descriptor, _HEAD, 0)

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    @property
    def seen(self) -> list[int]:
        """Device, inode, size and time of the last write, as they were when it was opened."""
        return [self.stat.st_dev, self.stat.st_ino, self.stat.st_size, self.stat.st_mtime_ns]

    def pieces(self, start: int = 0, end: Optional[int] = None) -> Iterator[bytes]:
        """The plain bytes from ``start`` to ``end``. A file that was cut meanwhile ends early."""
        if self.packing is None:
            stop = self.stat.st_size if end is None else end
            yield from self._raw(start, stop, PIECE)
            return
        position = 0
        for piece in expanded(self._raw(0, self.stat.st_size, _PACKED_PIECE), self.packing, self.path):
            position += len(piece)
            if position > start:
                yield piece[max(0, len(piece) - (position - start)) :]

    def _raw(self, start: int, end: int, size: int) -> Iterator[bytes]:
        while start < end:
            piece = os.pread(self.descriptor, min(size, end - start), start)
            if not piece:
                return
            start += len(piece)
            yield piece

    def beginnings(self, lengths: Sequence[int]) -> dict[int, _Hash]:
        """SHA-256 of the first bytes, for each length that the content reaches."""
        wanted = sorted({length for length in lengths if self.packing or length <= self.stat.st_size})
        found: dict[int, _Hash] = {}
        state, position = hashlib.sha256(), 0
        if wanted and wanted[0] == 0:
            found[wanted.pop(0)] = state.copy()
        if not wanted:
            return found
        for piece in self.pieces(0, None if self.packing else wanted[-1]):
            while wanted and wanted[0] <= position + len(piece):
                cut = wanted[0] - position
                state.update(piece[:cut])
                found[wanted.pop(0)] = state.copy()
                piece, position = piece[cut:], position + cut
            if not wanted:
                break
            state.update(piece)
            position += len(piece)
        return found

    def whole(self) -> tuple[int, str]:
        """Length and SHA-256 of the plain content."""
        state, length = hashlib.sha256(), 0
        for piece in self.pieces():
            state.update(piece)
            length += len(piece)
        return length, state.hexdigest()

    def end_of_lines(self, start: int) -> int:
        """Where the last whole line ends; ``start`` when there is none after it."""
        position = self.stat.st_size
        while position > start:
            begin = max(start, position - PIECE)
            newline = b"".join(self._raw(begin, position, PIECE)).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            position = begin
        return start

    def stands(self) -> bool:
        """Whether it still has its name, and was not cut since it was opened (nor cut and written anew)."""
        try:
            named = os.lstat(self.path)
        except FileNotFoundError:
            return False
        now = os.fstat(self.descriptor)
        same = (named.st_dev, named.st_ino) == (now.st_dev, now.st_ino) and now.st_size >= self.stat.st_size
        return same and os.pread(self.descriptor, len(self._head), 0) == self._head

    def grew(self) -> bool:
        return os.fstat(self.descriptor).st_size > self.stat.st_size

    def close(self) -> None:
        os.close(self.descriptor)


def open_log(log: str, stack: ExitStack) -> list[LogFile]:
    """All files of a log, the oldest first and the live one last, each inode once. Looked at again until
    no rotation came in between."""
    for _look in range(_LOOKS):
        listed = _listed(log)
        with ExitStack() as opened:
            files: dict[tuple[int, int], LogFile] = {}
            for path, number in listed:
                try:
                    file = LogFile(path, path == log, number)
                except FileNotFoundError:
                    continue
                opened.callback(file.close)
                files.setdefault((file.stat.st_dev, file.stat.st_ino), file)
            if unmoved(log, list(files.values())):
                stack.push(opened.pop_all())
                return sorted(files.values(), key=lambda file: (file.live, file.stat.st_mtime_ns, -file.number))
    raise UnsettledError("The files of this log do not stop being renamed", where=log, fix="Run again")


def unmoved(log: str, files: Sequence[LogFile]) -> bool:
    """Whether no rotation came in between since these files were opened."""
    there = set()
    for path, _number in _listed(log):
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return False
        there.add((found.st_dev, found.st_ino))
    return all(file.stands() for file in files) and there == {(file.stat.st_dev, file.stat.st_ino) for file in files}


def _listed(log: str) -> list[tuple[str, int]]:
    folder, name = os.path.split(log)
    try:
        there = os.listdir(folder)
    except FileNotFoundError as error:
        raise LogError("This folder does not exist", where=folder, fix="Correct the list of logs") from error
    found = [(os.path.join(folder, member), number) for member, number in names.members(there, name)]
    return sorted([*found, *([(log, 0)] if name in there else [])], reverse=True)
