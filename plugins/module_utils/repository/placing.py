# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts one entry of a snapshot in its place: content checked while it is written, then renamed to its name."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from functools import cache
from typing import Callable, NamedTuple, Optional

from . import paths
from .blocks import BlockReader, content
from .destination import Destination
from .entries import Content, Entry
from .faults import DamagedError
from .pouring import Pouring

_DATABASE_COMPANIONS = (b"-wal", b"-shm", b"-journal")
_PIECE = 1024 * 1024
FEW = 64
"""Up to so many files are made durable one by one at the end; more are cheaper all at once."""
_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}


class Placed(NamedTuple):
    """``created`` or else replaced; ``size`` is that of a file whose content was written."""

    created: bool
    size: Optional[int] = None


class Placer:
    """Places entries in one destination. ``base`` names it among those of one restore.

    Several threads may place files at once, when these have one name each. ``unsynced`` are descriptors of the
    first files and their folders, which whoever restores makes durable and closes; ``folders`` are directories
    that are described when everything is in them.
    """

    def __init__(self, reader: BlockReader, destination: Destination, base: str, linked: dict[str, tuple[str, bytes]]):
        self._reader, self.destination, self._base, self._linked = reader, destination, base, linked
        self._pouring = Pouring()
        self.unsynced: list[int] = []
        self.folders: list[tuple[Entry, bytes]] = []
        self.warnings: list[str] = []

    def place(self, parent: Optional[int], entry: Entry, path: bytes, apply: bool) -> Optional[Placed]:
        """Make ``path`` in the folder ``parent`` (None: it does not exist) what the entry says, or without ``apply``
        only say so; None when it is that already. Raises DamagedError, PermissionError."""
        found = self.destination.status(parent, path)
        if parent is None:
            return Placed(True)
        try:
            if found is not None and self._same(parent, path, entry, found):
                return None
            return Placed(found is None, self._write(parent, entry, path, found) if apply else None)
        finally:
            if entry.hard_link:
                self._linked.setdefault(_file_of(entry), (self._base, path))

    def _same(self, parent: int, path: bytes, entry: Entry, found: os.stat_result) -> bool:
        if _TYPES[entry.type] != stat.S_IFMT(found.st_mode):
            return False
        if entry.type == "symlink":
            return os.readlink(_last(path), dir_fd=parent) == entry.target and _owner_is(entry, found)
        if stat.S_IMODE(found.st_mode) != entry.mode or not _owner_is(entry, found):
            return False
        if entry.type == "directory" or entry.content is None:
            return True
        if entry.kind == "sqlite":
            companions = {suffix: self.destination.status(parent, path + suffix) for suffix in _DATABASE_COMPANIONS}
            if entry.seen == _seen(found, companions[b"-wal"]):
                # The copy in the snapshot is equal in content, not always in its bytes.
                return True
            if any(one is not None and one.st_size for one in (companions[b"-wal"], companions[b"-journal"])):
                # Equal bytes are not the same database: what is in its journal is read with them.
                return False
        if found.st_size != entry.content.size or found.st_mtime_ns != entry.mtime:
            return False
        digest = hashlib.sha256()
        descriptor = self.destination.open(parent, path)
        with open(descriptor, "rb") as stream:
            for piece in iter(lambda: stream.read(_PIECE), b""):
                digest.update(piece)
        return digest.hexdigest() == entry.content.sha256

    def _write(self, parent: int, entry: Entry, path: bytes, found: Optional[os.stat_result]) -> Optional[int]:
        """The size of the file that was written, if one was."""
        destination, size = self.destination, None
        if entry.type == "directory":
            if found is not None and not stat.S_ISDIR(found.st_mode):
                destination.put_aside(parent, path, found)
                found = None
            if found is None:
                destination.make(parent, path)
            self.folders.append((entry, path))
            return None
        if entry.kind == "sqlite":
            # The old database's journal would be applied to the new one.
            for suffix in _DATABASE_COMPANIONS:
                destination.put_aside(parent, path + suffix, destination.status(parent, path + suffix))
        with destination.replacing(parent, path, found) as name:
            if entry.type == "symlink":
                os.symlink(entry.target, name, dir_fd=parent)
                _own(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False))
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            elif entry.type == "fifo":
                os.mkfifo(name, 0o600, dir_fd=parent)
                _own(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False))
                os.chmod(name, entry.mode, dir_fd=parent)
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent)
            elif not self._link(parent, entry, name):
                size = self._fill(parent, name, entry, replaces=found is not None)
        if len(self.unsynced) < FEW:
            self.unsynced.append(os.dup(parent))
        return size

    def _link(self, parent: int, entry: Entry, name: bytes) -> bool:
        """Give a file that was restored under its first name another one."""
        first = self._linked.get(_file_of(entry)) if entry.hard_link else None
        if first is None or first[0] != self._base:
            return False
        other = Destination(self._base, None)
        try:
            folder = other.parent(first[1], make=False)
            if folder is None:
                return False
            os.link(_last(first[1]), name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            other.close()
        return True

    def _fill(self, parent: int, name: bytes, entry: Entry, replaces: bool) -> int:
        if entry.content is None:
            raise DamagedError("A file without content")
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            try:
                self._pour(file, entry.content, each_block=False)
            except DamagedError:
                # Again, block by block: another copy may be intact, and else the damaged block is named.
                os.lseek(file, 0, os.SEEK_SET)
                os.ftruncate(file, 0)
                self._pour(file, entry.content, each_block=True)
            self.describe(file, entry)
            if replaces:
                # What it replaces must not be gone before it is there.
                os.fsync(file)
            elif len(self.unsynced) < FEW:
                self.unsynced.append(os.dup(file))
        finally:
            os.close(file)
        return entry.content.size

    def _pour(self, file: int, wanted: Content, each_block: bool) -> None:
        self._pouring.pour(file, wanted, content(self._reader, wanted, each_block, with_md5=False))

    def describe(self, descriptor: int, entry: Entry) -> None:
        """Give a file or folder the owner, mode, attributes and time of its entry."""
        _own(entry, lambda uid, gid: os.chown(descriptor, uid, gid))
        os.fchmod(descriptor, entry.mode)
        for name, value in entry.xattrs.items():
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                self.warnings.append(
                    f"{paths.encode(entry.path)}: attribute {paths.encode(name)} cannot be set: {error.strerror}"
                )
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))


def _file_of(entry: Entry) -> str:
    """Names with the same answer are one file. Its content belongs to it, lest one name pass for another's."""
    return f"{entry.hard_link} {entry.content.sha256 if entry.content else ''}"


def _own(entry: Entry, change: Callable[[int, int], None]) -> None:
    """Give a file to its owner; only root may, so others keep what they restore."""
    if os.geteuid() == 0:
        change(*owner(entry))


def owner(entry: Entry) -> tuple[int, int]:
    """The owner on this host: by name where it is known, else by number."""
    return _uid(entry.user, entry.uid), _gid(entry.group, entry.gid)


def _seen(found: os.stat_result, write_ahead: Optional[os.stat_result]) -> str:
    """What a snapshot notes of a database: also of its write-ahead log, which may hold all that is new."""
    seen = f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}.{found.st_ino}"
    if write_ahead is not None and write_ahead.st_size:
        seen += f".{write_ahead.st_size}.{write_ahead.st_mtime_ns}"
    return seen


def _owner_is(entry: Entry, found: os.stat_result) -> bool:
    return os.geteuid() != 0 or owner(entry) == (found.st_uid, found.st_gid)


@cache
def _uid(name: str, number: int) -> int:
    try:
        return pwd.getpwnam(name).pw_uid if name else number
    except KeyError:
        return number


@cache
def _gid(name: str, number: int) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else number
    except KeyError:
        return number


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
