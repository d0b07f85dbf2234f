# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of many files, several at a time."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Iterable, Iterator, Sequence

from ..errors import ContinuityError

ATTEMPTS = 3
_PIECE = 1024 * 1024


class ChecksumError(ContinuityError):
    """Files that cannot be read, or checksums that cannot be written."""


@dataclass(frozen=True)
class Digests:
    """SHA-256 and MD5 of one file, hexadecimal."""

    sha256: str
    md5: str

    @classmethod
    def of(cls, content: bytes) -> Digests:
        return cls(hashlib.sha256(content).hexdigest(), hashlib.md5(content, usedforsecurity=False).hexdigest())


def files_below(folder: str, exclude: Sequence[str]) -> Iterator[str]:
    """The paths, below ``folder``, of all regular files in it. A pattern in ``exclude`` without ``/`` is matched
    with names of files and folders, otherwise with the end of the path."""

    def unreadable(error: OSError) -> None:
        raise ChecksumError(f"Cannot be read: {error.strerror}", where=str(error.filename), fix="Run as its owner")

    for place, folders, names in os.walk(folder, onerror=unreadable):
        within = os.path.relpath(place, folder)
        folders[:] = sorted(name for name in folders if not _excluded(os.path.normpath(f"{within}/{name}"), exclude))
        for name in sorted(names):
            path = os.path.normpath(os.path.join(within, name))
            if not _excluded(path, exclude) and stat.S_ISREG(os.lstat(os.path.join(folder, path)).st_mode):
                yield path


def digests_of(folder: str, paths: Iterable[str]) -> dict[str, Digests]:
    """The digests of files below a folder. Raises ChecksumError for one that cannot be read, or that
    changes each time while it is read."""
    wanted = list(paths)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return dict(zip(wanted, pool.map(lambda path: _digests(os.path.join(folder, path)), wanted)))


def _digests(path: str) -> Digests:
    try:
        for _attempt in range(ATTEMPTS):
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as stream:
                before = os.fstat(stream.fileno())
                sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
                for piece in iter(lambda: stream.read(_PIECE), b""):
                    sha256.update(piece)
                    md5.update(piece)
                after = os.fstat(stream.fileno())
            if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                return Digests(sha256.hexdigest(), md5.hexdigest())
    except OSError as error:
        raise ChecksumError(f"Cannot be read: {error.strerror}", where=path, fix="Run as its owner") from error
    raise ChecksumError("It changes each time while it is read", where=path, fix="Leave it out, or take a snapshot")


def _excluded(path: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(f"/{path}", f"*/{pattern.strip('/')}")
        if "/" in pattern.strip("/")
        else fnmatch.fnmatchcase(os.path.basename(path), pattern.strip("/"))
        for pattern in patterns
    )
