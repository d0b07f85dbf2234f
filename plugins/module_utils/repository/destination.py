# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder into which a snapshot is restored, and out of which nothing ever gets.

Every folder on the way is opened by its parent and never through a link, so neither a hostile
manifest nor a link that somebody put there meanwhile can lead elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import stat
import threading
from typing import Iterator, Optional

from . import paths
from .faults import RepositoryError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Destination:
    """``base`` (an existing folder) with paths relative to it; parents must be visited before children."""

    def __init__(self, base: str, aside: Optional[str]) -> None:
        """``aside`` is the name of a new folder in ``base`` that takes what is replaced; None: it is lost."""
        self._stack: list[tuple[bytes, int]] = [(b"", os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))]
        self._base = base
        self._aside = aside
        self._aside_folder: Optional[int] = None
        self._aside_folders: set[bytes] = set()
        self._guard = threading.Lock()
        self._made: set[bytes] = set()
        self.kept_aside: list[str] = []

    def close(self) -> None:
        while self._stack:
            os.close(self._stack.pop()[1])
        if self._aside_folder is not None:
            os.close(self._aside_folder)
            self._aside_folder = None

    def claim(self) -> None:
        """Be the only one who restores to this folder: two would build files under the same names. Waits for another
        one to end, as for hosts that restore to one place; a killed one holds nothing."""
        try:
            fcntl.flock(self._stack[0][1], fcntl.LOCK_EX)
        except OSError as error:
            # Network file systems that cannot lock a folder are no reason not to restore to them.
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
                raise

    def parent(self, path: bytes, make: bool) -> Optional[int]:
        """Descriptor of the folder that holds ``path``; missing ones are made, or None is returned.

        Raises RepositoryError when something on the way is not a folder.
        """
        folder = path.rpartition(b"/")[0]
        while len(self._stack) > 1 and not paths.inside(folder, self._stack[-1][0]):
            os.close(self._stack.pop()[1])
        done, descriptor = self._stack[-1]
        rest = folder[len(done) :].strip(b"/")
        for name in rest.split(b"/") if rest else ():
            done = done + b"/" + name if done else name
            if make:
                with contextlib.suppress(FileExistsError):
                    self.make(descriptor, done)
            try:
                descriptor = os.open(name, _FOLDER, dir_fd=descriptor)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise RepositoryError(
                        "Something that is not a folder stands in the way",
                        where=self.name(done),
                        fix="Move it away, or restore to another target",
                    ) from error
                raise
            self._stack.append((done, descriptor))
        return descriptor

    def make(self, parent: int, path: bytes) -> None:
        """A new folder, for its owner alone."""
        os.mkdir(_last(path), 0o700, dir_fd=parent)
        self._made.add(path)

    def _is_new(self, path: bytes) -> bool:
        """Whether the folder that holds ``path`` was made here, so that nothing is in it but what was put there."""
        return path.rpartition(b"/")[0] in self._made

    def status(self, parent: Optional[int], path: bytes) -> Optional[os.stat_result]:
        if parent is None or self._is_new(path):
            return None
        try:
            return os.stat(_last(path), dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def open(self, parent: int, path: bytes) -> int:
        return os.open(_last(path), _READ, dir_fd=parent)

    @contextlib.contextmanager
    def replacing(self, parent: int, path: bytes, found: Optional[os.stat_result]) -> Iterator[bytes]:
        """A name beside ``path`` (where ``found`` stands) to build its successor under; it takes the place at the end,
        or goes."""
        name = b".continuity-restore-" + hashlib.sha256(_last(path)).hexdigest()[:16].encode()
        if not self._is_new(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
        try:
            yield name
            self.put_aside(parent, path, found, keep_name=True)
            os.rename(name, _last(path), src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)
            raise

    def put_aside(self, parent: int, path: bytes, found: Optional[os.stat_result], keep_name: bool = False) -> None:
        """Keep what was ``found`` at ``path`` in the folder for replaced things, or remove it when there is none.

        With ``keep_name`` a file keeps its name until something is renamed over it, so that it is
        never missing.
        """
        if found is None:
            return
        is_folder = stat.S_ISDIR(found.st_mode)
        if self._aside is None:
            if is_folder:
                raise RepositoryError(
                    "A folder stands where the snapshot has something else",
                    where=self.name(path),
                    fix="Move it away, or restore to another target",
                )
            if not keep_name:
                os.unlink(_last(path), dir_fd=parent)
            return
        aside = self._open_aside(path)
        if is_folder or not keep_name:
            os.rename(_last(path), path, src_dir_fd=parent, dst_dir_fd=aside)
        else:
            os.link(_last(path), path, src_dir_fd=parent, dst_dir_fd=aside, follow_symlinks=False)
        self.kept_aside.append(os.fsdecode(os.path.join(os.fsencode(self._base), os.fsencode(self._aside), path)))

    def _open_aside(self, path: bytes) -> int:
        """Descriptor of the folder for replaced things, with the folders that ``path`` needs in it.

        It is made by nobody else: whoever may write beside a source may have put a link of that name there.
        """
        with self._guard:
            if self._aside_folder is None:
                base, name = self._stack[0][1], self._aside or ""
                for number in itertools.count(2):
                    try:
                        os.mkdir(name, 0o700, dir_fd=base)
                        break
                    except FileExistsError:
                        name = f"{self._aside}-{number}"
                self._aside, self._aside_folder = name, os.open(name, _FOLDER, dir_fd=base)
            names = path.split(b"/")[:-1]
            for depth in range(1, len(names) + 1):
                folder = b"/".join(names[:depth])
                if folder not in self._aside_folders:
                    os.mkdir(folder, 0o700, dir_fd=self._aside_folder)
                    self._aside_folders.add(folder)
            return self._aside_folder

    def sync_aside(self) -> None:
        """Make the names of what was kept durable."""
        if self._aside_folder is None:
            return
        for folder in self._aside_folders:
            descriptor = os.open(folder, _FOLDER, dir_fd=self._aside_folder)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(self._aside_folder)
        os.fsync(self._stack[0][1])

    def name(self, path: bytes) -> str:
        return os.path.join(self._base, paths.encode(path))


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
