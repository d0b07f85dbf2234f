# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of files: one sorted walk, each file read as what it is."""

from __future__ import annotations

import errno
import os
import stat
from typing import Iterator, Mapping, Optional, Sequence, Union

from ..source import Found, Reading, Skipped
from . import sqlite
from .documents import LARGEST, DocumentReading
from .files import FileReading
from .patterns import Patterns

_Siblings = Mapping[bytes, Optional[os.stat_result]]
_Item = tuple[bytes, bytes, os.stat_result, _Siblings]
"""Path, name, status, and what stands beside it."""


class TreeSource:
    """Files, folders and links below the given roots, databases and documents recognised.

    ``roots`` are absolute and real (no link on the way); a root inside another one is left out.
    ``exclude`` and ``documents`` are patterns (see ``patterns.py``); ``skip`` are paths that are never
    entered (the repository itself); ``staging`` is a folder for copies of databases.
    Sockets are no data and are passed over.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        *,
        staging: str,
        exclude: Sequence[str] = (),
        documents: Sequence[str] = ("*.json",),
        skip: Sequence[bytes] = (),
    ) -> None:
        self._exclude = Patterns(exclude)
        self._documents = Patterns(documents)
        self._skip = frozenset(skip)
        self._staging = staging
        self.roots = outermost(roots)

    def walk(self) -> Iterator[Union[Found, Skipped]]:
        for root in self.roots:
            try:
                found = os.lstat(root)
            except OSError as error:
                yield _skipped(root, error)
                continue
            name = root.rpartition(b"/")[2]
            pending: list[Iterator[_Item]] = [iter([(root, name, found, {name: found})])]
            while pending:
                item = next(pending[-1], None)
                if item is None:
                    pending.pop()
                    continue
                yield self._describe(*item)
                path, _name, found, _siblings = item
                if stat.S_ISDIR(found.st_mode):
                    try:
                        pending.append(iter(self._inside(path)))
                    except OSError as error:
                        yield _skipped(path, error)

    def _inside(self, folder: bytes) -> list[_Item]:
        """What is wanted in a folder, in order. Raises OSError."""
        with os.scandir(folder) as listing:
            names = {entry.name: self._stat(entry) for entry in listing}
        beginning = folder.rstrip(b"/") + b"/"
        return [
            (beginning + name, name, found, names)
            for name, found in sorted(names.items())
            if found is not None and self._wanted(beginning + name, name, found, names)
        ]

    @staticmethod
    def _stat(entry: os.DirEntry[bytes]) -> Optional[os.stat_result]:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _wanted(self, path: bytes, name: bytes, found: os.stat_result, siblings: _Siblings) -> bool:
        if stat.S_ISSOCK(found.st_mode) or path in self._skip or self._exclude.match(path):
            return False
        if name.endswith(sqlite.COMPANIONS):
            base = name.rpartition(b"-")[0]
            return siblings.get(base) is None or not self._is_database(path[: len(base) - len(name)])
        return True

    @staticmethod
    def _is_database(path: bytes) -> bool:
        try:
            return sqlite.is_database(path)
        except OSError:
            # It cannot be opened, so its companion is an ordinary file.
            return False

    def _describe(self, path: bytes, name: bytes, found: os.stat_result, siblings: _Siblings) -> Union[Found, Skipped]:
        changed = found.st_ctime_ns
        seen = b"%d.%d.%d.%d" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        target = b""
        if stat.S_ISLNK(found.st_mode):
            try:
                target = os.readlink(path)
            except OSError as error:
                return _skipped(path, error)
        elif stat.S_ISREG(found.st_mode):
            if found.st_nlink > 1:
                seen += b".%d" % found.st_dev
            write_ahead = siblings.get(name + b"-wal")
            if write_ahead is not None and write_ahead.st_size:
                seen += b".%d.%d" % (write_ahead.st_size, write_ahead.st_mtime_ns)
                changed = max(changed, write_ahead.st_mtime_ns)
        elif not stat.S_ISDIR(found.st_mode) and not stat.S_ISFIFO(found.st_mode):
            return Skipped(path, "special", "a device is not stored")
        return Found(path, found, seen, changed, target)

    def read(self, found: Found, attempt: int) -> Reading:
        document = self._documents.match(found.path) and found.stat.st_size <= LARGEST
        reading = (DocumentReading if document else FileReading)(found.path, attempt)
        try:
            if not reading.starts_with(sqlite.HEADER):
                return reading
        except OSError:
            reading.close()
            raise
        reading.close()
        return sqlite.read(found.path, self._staging, attempt)

    def xattrs(self, found: Found) -> Optional[dict[bytes, bytes]]:
        try:
            return {
                os.fsencode(name): os.getxattr(found.path, name, follow_symlinks=False)
                for name in os.listxattr(found.path, follow_symlinks=False)
            }
        except OSError as error:
            if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENODATA):
                return None
            raise


def outermost(roots: Sequence[bytes]) -> tuple[bytes, ...]:
    """The roots in the order of a walk, without those that lie in another one."""
    kept: list[bytes] = []
    for root in sorted(set(roots), key=lambda path: path.replace(b"/", b"\0")):
        if not kept or not (root + b"/").startswith(kept[-1].rstrip(b"/") + b"/"):
            kept.append(root)
    return tuple(kept)


def _skipped(path: bytes, error: OSError) -> Skipped:
    gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
    return Skipped(path, "vanished" if gone else "unreadable", error.strerror or str(error))
