# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring: compare with what stands there, write what differs, each file whole or not at all."""

from __future__ import annotations

import fnmatch
import grp
import hashlib
import os
import pwd
import stat
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Callable, Iterator, Optional, Sequence

from . import paths
from .blocks import BlockReader, content, entries_of
from .destination import Destination
from .entries import Entry
from .faults import DamagedError, RepositoryError
from .manifests import Manifest

_DATABASE_COMPANIONS = (b"-wal", b"-shm", b"-journal")
_PIECE = 1024 * 1024
_FEW = 64
"""Up to so many files are made durable one by one; many are cheaper all at once, at the end."""


@dataclass(frozen=True)
class Selection:
    """Which entries are wanted: paths (with what is in them) or shell patterns; none means all."""

    include: tuple[bytes, ...] = ()

    def wants(self, path: bytes) -> bool:
        return not self.include or any(
            paths.inside(path, wanted) or fnmatch.fnmatchcase(path, wanted) for wanted in self.include
        )


@dataclass
class Restored:
    """What a restore changed, or would change. Paths are encoded; ``kept_aside`` are real paths;
    ``failed`` maps a path to why it could not be restored; ``matched`` counts wanted entries."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept_aside: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    matched: int = 0
    files_written: int = 0
    bytes_written: int = 0

    def render(self) -> str:
        """One line a path: ``+`` created, ``~`` replaced."""
        marked = [(path, "+") for path in self.created] + [(path, "~") for path in self.changed]
        return "".join(f"{mark} {path}\n" for path, mark in sorted(marked))


Progress = Callable[[int, int], None]


class Restore:
    """One restore of one snapshot. ``target`` None is in place: every source goes back to where it came
    from, and what it replaces is kept beside the source in a folder ``.replaced-<snapshot>-<time>``."""

    def __init__(
        self,
        reader: BlockReader,
        manifest: Manifest,
        *,
        target: Optional[str],
        selection: Selection = Selection(),
        apply: bool = True,
        progress: Optional[Progress] = None,
    ) -> None:
        self._reader, self._manifest = reader, manifest
        self._target, self._selection = target, selection
        self._apply, self._progress = apply, progress
        self._linked: dict[str, tuple[str, bytes]] = {}
        self._late: list[tuple[Entry, bytes]] = []
        self.result = Restored()

    def run(self) -> Restored:
        """Restore everything that is selected. A damaged file is reported and the others are restored.

        Raises RepositoryError when nothing matches, DamagedError when the list of entries is damaged.
        """
        sources = [paths.decode(source) for source in self._manifest.sources]
        self._check(sources)
        base = ""
        destination: Optional[Destination] = None
        try:
            for entry in self._wanted():
                root = next(source for source in sources if paths.inside(entry.path, source))
                wanted = self._base(root)
                if destination is None or wanted != base:
                    self._finish(destination)
                    base, destination = wanted, self._open(wanted)
                relative = entry.path.strip(b"/") if self._target else _relative(entry.path, base)
                if destination is not None:
                    self._entry(destination, base, entry, relative)
                if self._progress and self.result.matched % 64 == 0:
                    self._progress(self.result.matched, self.result.bytes_written)
        finally:
            self._finish(destination)
        if not self.result.matched:
            raise RepositoryError(
                "Nothing in this snapshot matches",
                where=self._manifest.id,
                fix="`continuity snapshots ID` lists its paths",
            )
        if self.result.files_written > _FEW:
            os.sync()
        return self.result

    def _check(self, sources: Sequence[bytes]) -> None:
        for source in sources:
            paths.check(source)
        if self._target is not None and not os.path.isabs(self._target):
            raise RepositoryError("The target is not an absolute path", where=self._target)

    def _wanted(self) -> Iterator[Entry]:
        for entry in entries_of(self._reader, self._manifest):
            if self._selection.wants(entry.path):
                self.result.matched += 1
                yield entry

    def _base(self, root: bytes) -> str:
        return self._target if self._target is not None else os.fsdecode(os.path.dirname(root) or b"/")

    def _open(self, base: str) -> Optional[Destination]:
        if not os.path.isdir(base):
            if not self._apply:
                return None
            os.makedirs(base, mode=0o700, exist_ok=True)
        if self._target is not None:
            return Destination(base, None)
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return Destination(base, os.path.join(base, f".replaced-{self._manifest.id}-{when}"))

    def _finish(self, destination: Optional[Destination]) -> None:
        if destination is None:
            return
        for entry, path in reversed(self._late):
            parent = destination.parent(path, make=False)
            if parent is not None:
                descriptor = os.open(_last(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
                try:
                    self._describe(descriptor, entry)
                finally:
                    os.close(descriptor)
        self._late = []
        self.result.kept_aside += destination.kept_aside
        destination.close()

    def _entry(self, destination: Destination, base: str, entry: Entry, path: bytes) -> None:
        if not path:
            return
        name = paths.encode(entry.path)
        parent = destination.parent(path, make=self._apply)
        found = destination.status(parent, path)
        try:
            same = found is not None and parent is not None and self._same(destination, parent, path, entry, found)
            if not same:
                if self._apply and parent is not None:
                    self._write(destination, parent, base, entry, path, found)
                (self.result.created if found is None else self.result.changed).append(name)
        except DamagedError as error:
            self.result.failed[name] = str(error)
        except PermissionError as error:
            self.result.failed[name] = error.strerror or str(error)
        if entry.hard_link and parent is not None:
            self._linked.setdefault(entry.hard_link, (base, path))

    def _same(self, destination: Destination, parent: int, path: bytes, entry: Entry, found: os.stat_result) -> bool:
        if _TYPES[entry.type] != stat.S_IFMT(found.st_mode):
            return False
        if entry.type == "symlink":
            return os.readlink(_last(path), dir_fd=parent) == entry.target and _owner_is(entry, found)
        if stat.S_IMODE(found.st_mode) != entry.mode or not _owner_is(entry, found):
            return False
        if entry.type == "directory" or entry.content is None:
            return True
        if entry.kind == "sqlite" and entry.seen == _seen(found):
            # The copy in the snapshot is equal in content, never in its bytes.
            return True
        if found.st_size != entry.content.size or found.st_mtime_ns != entry.mtime:
            return False
        digest = hashlib.sha256()
        descriptor = destination.open(parent, path)
        with open(descriptor, "rb") as stream:
            for piece in iter(lambda: stream.read(_PIECE), b""):
                digest.update(piece)
        return digest.hexdigest() == entry.content.sha256

    def _write(
        self,
        destination: Destination,
        parent: int,
        base: str,
        entry: Entry,
        path: bytes,
        found: Optional[os.stat_result],
    ) -> None:
        if entry.type == "directory":
            if found is not None and not stat.S_ISDIR(found.st_mode):
                destination.put_aside(parent, path)
                found = None
            if found is None:
                os.mkdir(_last(path), 0o700, dir_fd=parent)
            self._late.append((entry, path))
            return
        if entry.kind == "sqlite":
            # The old database's journal would be applied to the new one.
            for suffix in _DATABASE_COMPANIONS:
                destination.put_aside(parent, path + suffix)
        with destination.replacing(parent, path) as name:
            if entry.type == "symlink":
                os.symlink(entry.target, name, dir_fd=parent)
                self._own(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False))
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            elif entry.type == "fifo":
                os.mkfifo(name, 0o600, dir_fd=parent)
                self._own(entry, lambda uid, gid: os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False))
                os.chmod(name, entry.mode, dir_fd=parent)
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent)
            elif not self._link(destination, parent, base, entry, name):
                self._fill(parent, name, entry, durable=found is not None or self.result.files_written < _FEW)
        if self.result.files_written <= _FEW:
            os.fsync(parent)

    def _link(self, destination: Destination, parent: int, base: str, entry: Entry, name: bytes) -> bool:
        """Give a file that was restored under its first name another one."""
        first = self._linked.get(entry.hard_link) if entry.hard_link else None
        if first is None or first[0] != base:
            return False
        other = Destination(base, None)
        try:
            folder = other.parent(first[1], make=False)
            if folder is None:
                return False
            os.link(_last(first[1]), name, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            other.close()
        return True

    def _fill(self, parent: int, name: bytes, entry: Entry, durable: bool) -> None:
        if entry.content is None:
            raise DamagedError("A file without content")
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        with open(descriptor, "wb") as stream:
            for piece in content(self._reader, entry.content):
                if isinstance(piece, int):
                    stream.seek(piece, os.SEEK_CUR)
                else:
                    stream.write(piece)
            stream.flush()
            os.ftruncate(stream.fileno(), entry.content.size)
            self._describe(stream.fileno(), entry)
            if durable:
                # What it replaces must not be gone before it is there.
                os.fsync(stream.fileno())
        self.result.files_written += 1
        self.result.bytes_written += entry.content.size

    def _describe(self, descriptor: int, entry: Entry) -> None:
        self._own(entry, lambda uid, gid: os.chown(descriptor, uid, gid))
        os.fchmod(descriptor, entry.mode)
        for name, value in entry.xattrs.items():
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                self.result.warnings.append(
                    f"{paths.encode(entry.path)}: attribute {paths.encode(name)} cannot be set: {error.strerror}"
                )
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))

    def _own(self, entry: Entry, change: Callable[[int, int], None]) -> None:
        """Give a file to its owner; only root may, so others keep what they restore."""
        if os.geteuid() == 0:
            change(*owner(entry))


def owner(entry: Entry) -> tuple[int, int]:
    """The owner on this host: by name where it is known, else by number."""
    return _uid(entry.user, entry.uid), _gid(entry.group, entry.gid)


def _seen(found: os.stat_result) -> str:
    return f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}.{found.st_ino}"


def _owner_is(entry: Entry, found: os.stat_result) -> bool:
    return os.geteuid() != 0 or owner(entry) == (found.st_uid, found.st_gid)


_TYPES = {"file": stat.S_IFREG, "directory": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO}


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


def _relative(path: bytes, base: str) -> bytes:
    return path[len(os.fsencode(base).rstrip(b"/")) + 1 :]
