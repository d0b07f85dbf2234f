# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite databases: copied by SQLite itself, while they are written.

The online backup interface reads one transaction's state, in rollback and in WAL mode alike. In
rollback mode writers wait while it copies; in WAL mode they do not.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from ..source import Reading
from .files import FileReading

HEADER = b"SQLite format 3\0"
COMPANIONS = (b"-wal", b"-shm", b"-journal")
BLOCK = 64 * 1024
WAIT = 30.0
_PAUSE = 0.001
"""Short, because a busy writer leaves the database alone for no longer than that."""
_BUSY = (5, 6)
_WAL = b"\2\2"


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
    """Read a consistent copy; where SQLite refuses, the file as it stands, with a fault that says so."""
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
