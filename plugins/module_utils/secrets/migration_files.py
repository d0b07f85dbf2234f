# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a tree that are read and replaced in one step, without following a link on the way to them."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import Iterator

from ..errors import ContinuityError
from ..fleet.yaml_document import MAX_BYTES
from ..journal.durable import write_all

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class MigrationError(ContinuityError):
    """A migration stops. No value and nothing of a file's content is part of it."""


def read(root: str, file: str) -> bytes:
    """Raises MigrationError for what cannot be read, or is no file."""
    with errors_of_files(os.path.join(root, file)), _folder(root, file) as (folder, name):
        return _content(folder, name, file)


def check_replaceable(root: str, file: str) -> None:
    """Raises MigrationError when ``replace`` could not keep what the file is."""
    with errors_of_files(os.path.join(root, file)), _folder(root, file) as (folder, name):
        _check(os.stat(name, dir_fd=folder, follow_symlinks=False), file)
        if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder, effective_ids=True):
            raise MigrationError("nothing can be written beside the file", where=file, fix="Run as the folder's owner")


def replace(root: str, file: str, old: bytes, new: bytes, run: str) -> None:
    """Give a file that holds ``old`` the content ``new``, at once; mode, owner and attributes stay.

    The new content is written aside under a name made from ``run``, which ``sweep`` removes when we are killed.
    """
    with errors_of_files(os.path.join(root, file)), _folder(root, file) as (folder, name):
        aside = _aside(name, run)
        _remove(folder, aside)
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            _check(status, file)
            _write(folder, name, aside, new, status)
            if _content(folder, name, file) != old:
                raise MigrationError("somebody changed the file at the same time", where=file, fix="Run again")
            os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except (OSError, MigrationError):
            _remove(folder, aside)
            raise
        os.fsync(folder)


def sweep(root: str, file: str, run: str) -> None:
    """Remove what a killed ``replace`` of this run left beside a file."""
    try:
        with _folder(root, file) as (folder, name):
            _remove(folder, _aside(name, run))
    except FileNotFoundError:
        return


def read_whole(path: str) -> bytes:
    """A file of ours, however large."""
    with errors_of_files(path), open(path, "rb") as opened:
        return opened.read()


@contextmanager
def errors_of_files(where: str) -> Iterator[None]:
    """Errors of the system as ours; ``where`` is told of those that name no file."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) and "/" in error.filename else where
        reason = error.strerror
    else:
        return
    raise MigrationError(f"this cannot be read or written: {reason}", where=where)


@contextmanager
def _folder(root: str, file: str) -> Iterator[tuple[int, str]]:
    """The folder of a file below the root, opened, and the file's name in it."""
    *folders, name = file.split("/")
    descriptor = os.open(root, _FOLDER)
    try:
        for folder in folders:
            below = os.open(folder, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


def _content(folder: int, name: str, file: str) -> bytes:
    with open(os.open(name, _FILE, dir_fd=folder), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise MigrationError("this is no file", where=file)
        # One byte more than is ever taken as YAML tells that there is more.
        return opened.read(MAX_BYTES + 1)


def _check(status: os.stat_result, file: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise MigrationError("this is no file", where=file)
    if status.st_nlink > 1:
        fix = "The value would stay under its other name: make it one file, with one name"
        raise MigrationError("the file has several names (hard links)", where=file, fix=fix)
    ours = os.geteuid() == 0 or (status.st_uid == os.geteuid() and status.st_gid in (os.getegid(), *os.getgroups()))
    if not ours:
        raise MigrationError("the file belongs to somebody else, and would not after", where=file, fix="Run as root")


def _write(folder: int, name: str, aside: str, content: bytes, status: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(aside, flags, 0o600, dir_fd=folder)
    try:
        write_all(descriptor, content)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        _copy_attributes(folder, name, descriptor)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy_attributes(folder: int, name: str, target: int) -> None:
    """Access lists and labels; those that the file system sets by itself are there already."""
    source = os.open(name, _FILE, dir_fd=folder)
    try:
        for attribute in os.listxattr(source):
            value = os.getxattr(source, attribute)
            if attribute not in os.listxattr(target) or os.getxattr(target, attribute) != value:
                os.setxattr(target, attribute, value)
    finally:
        os.close(source)


def _aside(name: str, run: str) -> str:
    return f".{name}.{run}"


def _remove(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
