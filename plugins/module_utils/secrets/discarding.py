# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of secrets that go: unlinked, then overwritten, unless somebody still reads them.

Whether somebody does is told by the kernel: a write lease (fcntl(2), F_SETLEASE) is granted only where no other
descriptor of the file is open, and once it is unlinked nobody can open it any more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Optional

_PIECE = 1 << 16


def discard(name: str, folder: int) -> None:
    """Remove what is no folder."""
    descriptor = _writable(name, folder)
    os.unlink(name, dir_fd=folder)
    _overwrite(descriptor)


def replace(aside: str, name: str, folder: int) -> None:
    """Put something in the place of what stands there, if anything does."""
    descriptor = _writable(name, folder)
    os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    _overwrite(descriptor)


def discard_any(name: str, folder: int) -> None:
    """Remove a file, a link, or a folder of those."""
    try:
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        discard(name, folder)
        return
    try:
        for entry in os.listdir(inside):
            discard(entry, inside)
    finally:
        os.close(inside)
    os.rmdir(name, dir_fd=folder)


def _writable(name: str, folder: int) -> Optional[int]:
    """The file open for writing; None for what is no file, and for a file with another name elsewhere: it stays."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        return None
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError:
        # Our own, without root: its mode 0400 binds us as well.
        os.chmod(name, 0o600, dir_fd=folder)
    return os.open(name, flags, dir_fd=folder)


def _overwrite(descriptor: Optional[int]) -> None:
    """Zeros over a file without a name, then let it go."""
    if descriptor is None:
        return
    try:
        info = os.fstat(descriptor)
        if info.st_nlink or not _alone(descriptor, info):
            return
        for start in range(0, info.st_size, _PIECE):
            os.pwrite(descriptor, bytes(min(_PIECE, info.st_size - start)), start)
    finally:
        os.close(descriptor)


def _alone(descriptor: int, info: os.stat_result) -> bool:
    """Whether nobody else has it open. Where the kernel does not tell, somebody may."""
    try:
        if info.st_uid != os.geteuid():
            # A lease is for the owner, or for CAP_LEASE, which containers do not have.
            os.fchown(descriptor, os.geteuid(), -1)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        # It has told what it is for; whoever broke it would have us killed by SIGIO.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
