# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are there completely or not at all, and still there after a power cut."""

from __future__ import annotations

import fcntl
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Iterable, Iterator

SYNCS_AT_A_TIME = 8


def sync_files(paths: Iterable[str]) -> None:
    """Make the content of many files durable. Several at a time: a journalling disk then writes one
    record for many of them."""
    with ThreadPoolExecutor(SYNCS_AT_A_TIME) as pool:
        for _synced in pool.map(_sync_file, paths):
            pass


def sync_directory(path: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str, mode: int = 0o700) -> None:
    """Make a folder and its ancestors where they are missing, each of them durable."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(os.path.abspath(path))
    make_directory(parent, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    sync_directory(parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything; a short write (disk full, quota) goes on until the kernel names the error."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Replace a file at once: written aside in the same folder, synced, renamed, folder synced."""
    aside = _aside(path)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        try:
            write_all(descriptor, content)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    sync_directory(os.path.dirname(path))


def write_if_changed(path: str, content: bytes, mode: int = 0o644) -> bool:
    """``write_file`` unless the file holds this content already; True when it was written."""
    try:
        with open(path, "rb") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        pass
    write_file(path, content, mode)
    return True


def write_link(path: str, target: str) -> None:
    """Point a symbolic link elsewhere at once: linked aside, renamed, folder synced."""
    aside = _aside(path)
    os.symlink(target, aside)
    try:
        os.rename(aside, path)
    except OSError:
        os.unlink(aside)
        raise
    sync_directory(os.path.dirname(path))


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold an exclusive lock on a file (created when absent). The kernel frees it when we die."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aside(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{secrets.token_hex(6)}")
