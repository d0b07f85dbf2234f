# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder in which secrets stand: found, locked, switched.

Everything is named relative to an open folder, and no link is followed on the way, so nothing that others put there
can lead elsewhere. The layout is described on the page ``docs/secret-files.md``.
"""

from __future__ import annotations

import errno
import fcntl
import hmac
import os
import re
import secrets
import stat
from contextlib import contextmanager
from typing import Callable, Iterator, Optional, Sequence

from ..effects import Clock
from ..errors import ContinuityError
from ..journal.durable import write_all
from . import discarding
from .faults import SecretError
from .memory_storage import Storage, storage_of
from .model import Hidden, fingerprint
from .secret_files import (
    DIRECTORY_MODE,
    FILE_MODE,
    Found,
    InstalledSecret,
    Plan,
    index_of,
    parsed_index,
)

DATA, INDEX, KEY = "..data", "..index", "..key"
LEASES = "..leases"
"""Where the leases of dynamic secrets are kept for the next run."""
GRACE_SECONDS = 0.2
"""How long an old set stays for those who were on their way through ``..data`` when it moved."""
LOCK_SECONDS = 30.0
_SET = re.compile(r"\.\.set-[0-9a-f]{12}")
_KEY_BYTES = 32
_LIMIT = 16 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class SecretDirectory:
    """An open folder of secrets. Raises SecretError where others could tamper with it."""

    def __init__(self, path: str, clock: Clock, *, create: bool) -> None:
        """``create`` makes the last folder of the path. Without it, and when it is not there, ``exists`` is False."""
        self.path = os.path.abspath(path)
        self._clock = clock
        self._held: Optional[int] = None
        with _told(self.path):
            parent = _safe_parent(self.path)
            try:
                self.parent_storage = storage_of(os.fstat(parent).st_dev)
                self._descriptor = _opened(os.path.basename(self.path), parent, self.path, create)
            finally:
                os.close(parent)

    @property
    def exists(self) -> bool:
        return self._descriptor is not None

    @property
    def storage(self) -> Storage:
        """That of the folder, or of the one in which it is to be made."""
        if self._descriptor is None:
            return self.parent_storage
        return storage_of(os.fstat(self._descriptor).st_dev)

    @property
    def empty(self) -> bool:
        return self._descriptor is None or not os.listdir(self._descriptor)

    @property
    def mounted(self) -> bool:
        """Whether something is mounted here."""
        if self._descriptor is None:
            return False
        above = os.stat(os.path.dirname(self.path)).st_dev
        return os.fstat(self._descriptor).st_dev != above

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> SecretDirectory:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other run changes the folder meanwhile. Raises SecretError ``busy``."""
        end = self._clock.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if self._clock.monotonic() >= end:
                    raise SecretError("busy", "another run holds this folder", where=self.path) from error
                self._clock.sleep(0.1)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def found(self) -> Found:
        """What stands here. Changes nothing."""
        if self._descriptor is None:
            return Found()
        with _told(self.path):
            return self._found()

    def key(self) -> Hidden:
        """That of the fingerprints, made where there is none."""
        with _told(self.path):
            key = self._key()
            if key is None:
                key = Hidden(secrets.token_bytes(_KEY_BYTES))
                aside = f"..new-{secrets.token_hex(6)}"
                _write_new(aside, key.reveal(), self._fd)
                os.rename(aside, KEY, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            return key

    def apply(self, plan: Plan, key: Hidden, gate: Optional[Callable[[], None]] = None) -> None:
        """Do what was decided. Killed anywhere, the old set stands or the new one.

        ``gate`` is asked after the switch, while the old set still stands: a ContinuityError of it takes the switch
        back, and is raised on.
        """
        with _told(self.path):
            if plan.narrow:
                os.fchmod(self._fd, DIRECTORY_MODE)
            before = self._current()
            if plan.switch:
                new = self._build(plan, key, before)
            for name in plan.link:
                os.symlink(f"{DATA}/{name}", name, dir_fd=self._fd)
            if plan.switch:
                self._point(DATA, new)
            for name in plan.replace:
                self._point(name, f"{DATA}/{name}")
        try:
            if gate is not None:
                gate()
        except ContinuityError:
            if before and plan.switch:
                self._take_back(plan, before, new)
            raise
        with _told(self.path):
            for name in plan.remove:
                discarding.discard(name, self._fd)
            self._discard_sets([*([before] if before and plan.switch else []), *plan.leftovers])

    def changed_at(self, name: str) -> Optional[float]:
        """When the value of a name became what it is (wall time); None where there is none."""
        try:
            return os.stat(name, dir_fd=self._fd).st_mtime
        except FileNotFoundError:
            return None

    def clear(self) -> None:
        """Remove everything of ours, the key too."""
        with _told(self.path):
            for name in sorted(os.listdir(self._fd), key=lambda name: name != DATA):
                discarding.discard_any(name, self._fd)

    @property
    def _fd(self) -> int:
        if self._descriptor is None:
            raise SecretError("unsafe_directory", "there is no such folder", where=self.path)
        return self._descriptor

    def _found(self) -> Found:
        info = os.fstat(self._fd)
        current, key = self._current(), self._key()
        occupied, leftovers = {}, []
        for name in sorted(os.listdir(self._fd)):
            if name in (DATA, KEY, LEASES):
                continue
            kind = self._kind(name, info.st_dev)
            if not name.startswith(".."):
                occupied[name] = kind
            elif name != current and (kind != "folder" or _SET.fullmatch(name)):
                leftovers.append(name)
        return Found(
            exists=True,
            ours=current is not None or key is not None,
            mode=stat.S_IMODE(info.st_mode),
            set=current,
            key=key,
            secrets=self._installed(current, key) if current else {},
            occupied=occupied,
            leftovers=tuple(leftovers),
        )

    def _kind(self, name: str, device: int) -> str:
        info = os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) or info.st_dev != device:
            return "folder"
        if stat.S_ISLNK(info.st_mode) and os.readlink(name, dir_fd=self._fd) == f"{DATA}/{name}":
            return "link"
        return "thing"

    def _current(self) -> Optional[str]:
        """The set that ``..data`` leads to, when it is one of ours."""
        try:
            target = os.readlink(DATA, dir_fd=self._fd)
            info = os.stat(target, dir_fd=self._fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
            # There is none, it leads nowhere, or it is no link.
            return None
        ours = _SET.fullmatch(target) and stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid()
        return target if ours and stat.S_IMODE(info.st_mode) == DIRECTORY_MODE else None

    def _key(self) -> Optional[Hidden]:
        key, info = _read(KEY, self._fd)
        fit = info is not None and stat.S_IMODE(info.st_mode) == FILE_MODE and info.st_uid == os.geteuid()
        return key if fit and key is not None and len(key.reveal()) == _KEY_BYTES else None

    def _installed(self, name: str, key: Optional[Hidden]) -> dict[str, InstalledSecret]:
        with _folder(name, self._fd) as inside:
            index, _info = _read(INDEX, inside)
            entries = parsed_index(index.reveal() if index else None)
            names = {*entries, *os.listdir(inside)} - {INDEX}
            return {name: _installed(name, entries.get(name, {}), inside, key) for name in sorted(names)}

    def _build(self, plan: Plan, key: Hidden, before: Optional[str]) -> str:
        """A new set, whole, aside. It is removed again when it cannot be made."""
        name = f"..set-{secrets.token_hex(6)}"
        os.mkdir(name, 0o700, dir_fd=self._fd)
        try:
            with _folder(name, self._fd) as inside:
                for secret in plan.write:
                    if secret.value is not None:
                        _write_new(secret.name, secret.value.reveal(), inside, secret.uid, secret.gid)
                if before and plan.keep:
                    with _folder(before, self._fd) as old:
                        for secret in plan.keep:
                            os.link(secret.name, secret.name, src_dir_fd=old, dst_dir_fd=inside, follow_symlinks=False)
                _write_new(INDEX, index_of((*plan.write, *plan.keep), key), inside)
                os.fchmod(inside, DIRECTORY_MODE)
        except OSError:
            discarding.discard_any(name, self._fd)
            raise
        return name

    def _take_back(self, plan: Plan, before: str, new: str) -> None:
        """The old set is the current one again. Values that were others meanwhile are as young as this moment, so
        that whoever has read those others is told."""
        with _told(self.path):
            with _folder(before, self._fd) as inside:
                for name in set(plan.changed_names) & set(os.listdir(inside)):
                    os.utime(name, dir_fd=inside)
            self._point(DATA, before)
            for name in plan.link:
                os.unlink(name, dir_fd=self._fd)
            self._discard_sets([new])

    def _discard_sets(self, names: Sequence[str]) -> None:
        if names:
            self._clock.sleep(GRACE_SECONDS)
        for name in names:
            discarding.discard_any(name, self._fd)

    def _point(self, name: str, target: str) -> None:
        """A link leads elsewhere from now on, or stands where something else stood."""
        aside = f"..new-{secrets.token_hex(6)}"
        os.symlink(target, aside, dir_fd=self._fd)
        discarding.replace(aside, name, self._fd)


def _installed(name: str, entry: dict[str, object], inside: int, key: Optional[Hidden]) -> InstalledSecret:
    value, info = _read(name, inside)
    uid, gid = (info.st_uid, info.st_gid) if info else (-1, -1)
    intact = (
        info is not None
        and value is not None
        and key is not None
        and stat.S_IMODE(info.st_mode) == FILE_MODE
        and (uid, gid) == (entry.get("uid"), entry.get("gid"))
        and hmac.compare_digest(fingerprint(key.reveal(), name, value), str(entry.get("fingerprint")))
    )
    version = entry.get("version")
    return InstalledSecret(
        name,
        value,
        uid,
        gid,
        None if version is None else str(version),
        intact=intact,
    )


def _read(name: str, folder: int) -> tuple[Optional[Hidden], Optional[os.stat_result]]:
    """A regular file of at most 16 MiB; anything else counts as not there."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None, None
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LIMIT:
            return None, info
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return Hidden(file.read()), info
    finally:
        os.close(descriptor)


def _write_new(name: str, content: bytes, folder: int, uid: int = -1, gid: int = -1) -> None:
    """A file that has its owner and its mode before it has a byte."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, FILE_MODE, dir_fd=folder)
    try:
        if (uid, gid) != (-1, -1):
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, FILE_MODE)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


@contextmanager
def _folder(name: str, above: int) -> Iterator[int]:
    descriptor = os.open(name, _FOLDER, dir_fd=above)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """What the kernel refuses, as our error. It names files, never what is in them."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else ""
        raise SecretError(
            "disk", f"{error.strerror}{f': {name}' if name and name != where else ''}", where=where
        ) from error


def _safe_parent(path: str) -> int:
    """The folder above, open; every folder on the way belongs to root or to us, and nobody else may rename in it."""
    descriptor = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    way = "/"
    for part in (None, *_parts(os.path.realpath(os.path.dirname(path)))):
        if part is not None:
            way = os.path.join(way, part)
            above = descriptor
            try:
                descriptor = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            finally:
                os.close(above)
        info = os.fstat(descriptor)
        writable = info.st_mode & 0o022 and not info.st_mode & stat.S_ISVTX
        if info.st_uid not in (0, os.geteuid()) or writable:
            os.close(descriptor)
            raise SecretError(
                "unsafe_directory",
                f"others than root and you may change what stands in {way}",
                where=path,
                fix="Choose a folder below one that is safe, such as /run or $XDG_RUNTIME_DIR",
            )
    return descriptor


def _parts(path: str) -> Sequence[str]:
    return [part for part in path.split("/") if part]


def _opened(name: str, parent: int, path: str, create: bool) -> Optional[int]:
    if not name:
        raise SecretError("unsafe_directory", "this is no folder for secrets alone", where=path)
    try:
        if create:
            os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
    except FileExistsError:
        pass
    info: Optional[os.stat_result] = None
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(info.st_mode):
        raise SecretError("unsafe_directory", "this is not a folder", where=path, fix="Remove what stands there")
    if info.st_uid != os.geteuid():
        raise SecretError(
            "unsafe_directory", "this folder belongs to somebody else", where=path, fix="Remove it, or choose another"
        )
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    opened = os.fstat(descriptor)
    if (opened.st_dev, opened.st_ino) != (info.st_dev, info.st_ino):
        os.close(descriptor)
        raise SecretError("unsafe_directory", "somebody puts other things in its place", where=path)
    return descriptor
