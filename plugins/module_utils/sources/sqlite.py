# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite databases: one transaction's state, while they are written.

One of moderate size that nobody is writing is read as it stands, at once, under SQLite's own lock. Every other one
is copied by SQLite's online backup interface, in rollback and in WAL mode alike. In rollback mode writers wait
meanwhile; in WAL mode they do not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
import struct
import tempfile
import time
from pathlib import Path
from typing import Iterator, Optional, Sequence
from urllib.parse import quote

from ..source import Piece, Reading
from .files import GRAIN, PIECE, FileReading

HEADER = b"SQLite format 3\0"
COMPANIONS = (b"-wal", b"-shm", b"-journal")
BLOCK = 64 * 1024
WAIT = 30.0
_PAUSE = 0.001
"""Short, because a busy writer leaves the database alone for no longer than that."""
_BUSY = (5, 6)
_ROLLBACK, _WAL = b"\1\1", b"\2\2"
AT_ONCE = 32 * 1024 * 1024
"""Bytes of a database that is read into memory while its writers wait."""
_SHARED = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, 0x40000002, 510, 0)
"""The lock of a reader, as ``struct flock``: https://www.sqlite.org/fileformat2.html, section 1.5."""


class HeldReading:
    """A database that was read at once."""

    kind = "sqlite"
    block_size = BLOCK

    def __init__(self, content: Sequence[bytes], stat: os.stat_result) -> None:
        self._content, self.stat, self.size = [*reversed(content)], stat, stat.st_size

    def pieces(self) -> Iterator[Piece]:
        while self._content:
            yield self._content.pop()

    def settled(self) -> bool:
        return True

    def fault(self) -> str:
        return ""

    def close(self) -> None:
        self._content.clear()


class SqliteReading(FileReading):
    """The copy of a database, read instead of the database. ``stat`` is the database's own."""

    kind = "sqlite"

    def __init__(self, copy: bytes, stat: os.stat_result) -> None:
        super().__init__(copy, block=BLOCK)
        self._copy, self.stat = self.stat, stat
        # Nobody writes to the copy, so it is not read twice.
        self._digest = None

    def settled(self) -> bool:
        return True


def is_database(path: bytes) -> bool:
    """Whether a file starts as a SQLite database does. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.pread(descriptor, len(HEADER), 0) == HEADER
    finally:
        os.close(descriptor)


def read(path: bytes, staging: str, attempt: int) -> Reading:
    """Read one transaction's state; where SQLite refuses, the file as it stands, with a fault that says so."""
    held = _held(path)
    if held is not None:
        return held
    stat = os.lstat(path)
    descriptor, name = tempfile.mkstemp(prefix="sqlite-", dir=staging)
    os.close(descriptor)
    copy = os.fsencode(name)
    try:
        try:
            if not _copied_at_rest(path, name):
                _backup(path, name)
        except sqlite3.OperationalError:
            # A journal that a killed writer left behind is rolled back in a copy, never in the original.
            _recover(path, staging, name)
        return SqliteReading(copy, stat)
    except sqlite3.Error as error:
        if "disk is full" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), staging) from error
        return FileReading(path, attempt, fault=f"SQLite cannot copy this database, taken as it stands: {error}")
    finally:
        os.unlink(copy)


def _held(path: bytes) -> Optional[Reading]:
    """The database as it stands, where that is one transaction's state for sure; None where a copy is needed.

    In rollback mode nobody can write to the file as long as it is locked as by a reader, and SQLite says that no
    journal waits to be rolled back. The lock belongs to the open file: one of the process would end when any
    thread closes the same file. In WAL mode, where that lock keeps nobody out, the log must be empty, and the time
    of the last change must be old enough to show another one.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with contextlib.suppress(sqlite3.Error, OSError):
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _SHARED)
            before = os.fstat(descriptor)
            version = os.pread(descriptor, 20, 0)[18:]
            if before.st_size > AT_ONCE or version not in (_ROLLBACK, _WAL):
                return None
            if version == _WAL and (_log_size(path) or time.time_ns() - before.st_ctime_ns < GRAIN):
                return None
            _check_readable(path, "mode=ro" if version == _ROLLBACK else "immutable=1")
            content = [os.pread(descriptor, PIECE, start) for start in range(0, before.st_size, PIECE)]
            if _state(os.fstat(descriptor)) == _state(before) == _state(os.stat(path)):
                return HeldReading(content, before)
        return None
    finally:
        os.close(descriptor)


def _check_readable(path: bytes, how: str) -> None:
    """Raises sqlite3.Error where the file is no database, or must be rolled back first."""
    with contextlib.closing(sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, timeout=0)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _state(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns


def _copied_at_rest(path: bytes, copy: str) -> bool:
    """Copy a database in WAL mode whose log is empty: opening it as usual would leave two new files beside it.
    False when it is no such database, or when somebody wrote to it meanwhile."""
    if _write_version(path) != _WAL or _log_size(path):
        return False
    before = os.stat(path)
    with contextlib.suppress(sqlite3.DatabaseError):
        # What is damaged, or was being written, is read again as usual, and then that says so.
        _backup(path, copy, "immutable=1")
        after = os.stat(path)
        return (before.st_ctime_ns, before.st_size) == (after.st_ctime_ns, after.st_size)
    return False


def _write_version(path: bytes) -> bytes:
    """https://www.sqlite.org/fileformat2.html, section 1.3: bytes 18 and 19."""
    with open(path, "rb") as stream:
        return stream.read(20)[18:]


def _log_size(path: bytes) -> int:
    try:
        return os.stat(path + b"-wal").st_size
    except FileNotFoundError:
        return 0


def _backup(path: bytes, copy: str, how: str = "mode=ro") -> None:
    deadline = time.monotonic() + WAIT

    def give_up(status: int, remaining: int, total: int) -> None:
        if status in _BUSY and time.monotonic() > deadline:
            raise sqlite3.DatabaseError(f"a writer held it for {WAIT:g} s")

    with (
        contextlib.closing(sqlite3.connect(f"file:{quote(path)}?{how}", uri=True, timeout=0)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        # A copy that was not finished is thrown away.
        target.execute("PRAGMA journal_mode=OFF")
        target.execute("PRAGMA synchronous=OFF")
        source.backup(target, progress=give_up, sleep=_PAUSE)


def _recover(path: bytes, staging: str, copy: str) -> None:
    with tempfile.TemporaryDirectory(prefix="sqlite-", dir=staging) as folder:
        base = os.fsencode(str(Path(folder) / "database"))
        shutil.copyfile(path, base)
        for suffix in (b"-wal", b"-journal"):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, base + suffix)
        _backup(base, copy, "mode=rw")
