# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making room: originals whose every line is in the archive.

The kernel vouches that nobody has a file open for writing: a read lease (fcntl(2), F_SETLEASE) is
granted only then, and is broken by whoever opens it for writing.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import stat
from contextlib import contextmanager
from typing import Callable, Iterator, Optional

from ..effects import Clock
from .files import LogFile
from .names import set_aside

_SETTLE = 0.05
"""Seconds for a process that found the file by its name just before the name was taken away."""
_COLLAPSE_RANGE = 0x08


@contextmanager
def read_lease(file: LogFile) -> Iterator[bool]:
    """Hold a lease; False when somebody writes to the file, or when that cannot be known."""
    # A broken lease is told by a signal; SIGURG is one that does no harm.
    fcntl.fcntl(file.descriptor, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(file.descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK):
            raise
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(file.descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def is_written(file: LogFile) -> bool:
    """Whether a process may have the file open for writing."""
    with read_lease(file) as quiet:
        return not quiet


class Removal:
    """Removes one file: it loses its name first, and only then, when nobody came to it by that name, goes."""

    def __init__(self, file: LogFile, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self.aside = set_aside(file.path)

    def run(self, note: Callable[[], object]) -> str:
        """Remove the file; empty when it is gone, else why it was left. ``note`` is called when it is about to
        go for good. The caller holds its lease."""
        os.rename(self._file.path, self.aside)
        reason = self._doubt()
        if reason:
            self._put_back()
            return reason
        note()
        os.unlink(self.aside)
        return ""

    def _doubt(self) -> str:
        moved = os.lstat(self.aside)
        if (moved.st_dev, moved.st_ino) != (self._file.stat.st_dev, self._file.stat.st_ino):
            return "it was rotated just now"
        self._clock.sleep(_SETTLE)
        now = os.fstat(self._file.descriptor)
        if fcntl.fcntl(self._file.descriptor, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
            return "it was opened for writing just now"
        if [now.st_size, now.st_mtime_ns] != self._file.seen[2:]:
            return "it was written to just now"
        return ""

    def _put_back(self) -> None:
        if self.aside == self._file.path:
            return
        try:
            os.link(self.aside, self._file.path)
        except FileExistsError:
            return  # A new log has the name already. Under the other one it is a rotated file.
        os.unlink(self.aside)


def cut_length(file: LogFile, archived: int) -> int:
    """How many bytes can be cut off the front: whole blocks, and never all that is archived."""
    block = os.fstatvfs(file.descriptor).f_bsize
    return (archived - 1) // block * block


def cannot_be_cut(file: LogFile) -> str:
    """Why a file that is open may not be cut; empty when all who write to it append."""
    if not is_written(file):
        return ""
    writers = list(_appending(file))
    if not writers:
        return "who writes to it cannot be seen"
    return "" if all(writers) else "a process writes to it without appending"


def cut(file: LogFile, length: int) -> str:
    """Cut the first bytes off in one step; empty when done, else why not."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/self/fd/{file.descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        if library.fallocate(descriptor, _COLLAPSE_RANGE, 0, length) == 0:
            return ""
        failed = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if failed in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ETXTBSY):
        return "its file system cannot cut off the front of a file"
    raise OSError(failed, os.strerror(failed), file.path)


def _appending(file: LogFile) -> Iterator[bool]:
    """For each process that has the file open for writing: whether it appends."""
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            descriptors = os.listdir(f"/proc/{process}/fd")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        for descriptor in descriptors:
            flags = _flags(f"/proc/{process}", descriptor, file)
            if flags is not None and flags & os.O_ACCMODE != os.O_RDONLY:
                yield bool(flags & os.O_APPEND)


def _flags(process: str, descriptor: str, file: LogFile) -> Optional[int]:
    try:
        found = os.stat(f"{process}/fd/{descriptor}")
        if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) != (file.stat.st_dev, file.stat.st_ino):
            return None
        with open(f"{process}/fdinfo/{descriptor}", encoding="ascii") as lines:
            return int(next(line.split()[1] for line in lines if line.startswith("flags:")), 8)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
