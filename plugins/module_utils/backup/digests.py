# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of files, in the forms in which a backup keeps them.

``SHA256SUMS`` and ``MD5SUMS`` are what ``sha256sum --check`` and ``md5sum --check`` read: digest, two
blanks, path. Paths in a backup hold neither a line break nor a backslash, so none needs escaping.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Dict, Iterable, Mapping, Tuple

from .faults import BackupError

SUMS = {"SHA256SUMS": "sha256", "MD5SUMS": "md5"}
ALGORITHM = "SHA-256"
WORKERS = 2
_PIECE = 1024 * 1024


@dataclass(frozen=True)
class Digests:
    """Size in bytes, SHA-256 and MD5 (hexadecimal) of one content."""

    size: int
    sha256: str
    md5: str

    @classmethod
    def of(cls, content: bytes) -> Digests:
        md5 = hashlib.md5(content, usedforsecurity=False)
        return cls(len(content), hashlib.sha256(content).hexdigest(), md5.hexdigest())


def digests_of(path: str) -> Digests:
    """Read a file from its first byte to its last. A link is not followed. Raises OSError."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as stream:
        for piece in iter(lambda: stream.read(_PIECE), b""):
            sha256.update(piece)
            md5.update(piece)
            size += len(piece)
    return Digests(size, sha256.hexdigest(), md5.hexdigest())


Known = Dict[Tuple[int, int], Digests]
"""What was read already of files that several folders share, by device and inode."""


def digests_below(folder: str, paths: Iterable[str], known: Known) -> dict[str, Digests]:
    """The digests of many files, by their path below ``folder``. A shared file is read once."""
    wanted = list(paths)

    def one(path: str) -> Digests:
        file = os.path.join(folder, path)
        status = os.lstat(file)
        if status.st_nlink == 1:
            return digests_of(file)
        key = (status.st_dev, status.st_ino)
        if key not in known:
            known[key] = digests_of(file)
        return known[key]

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(wanted, pool.map(one, wanted)))


def sums_text(found: Mapping[str, Digests], algorithm: str) -> str:
    """A file of sums, sorted by path; ``algorithm`` is ``sha256`` or ``md5``."""
    return "".join(f"{getattr(found[path], algorithm)}  {path}\n" for path in sorted(found))


def read_sums(text: str, where: str) -> dict[str, str]:
    """Path to digest. Raises BackupError for what is no file of sums."""
    found = {}
    for line in text.splitlines():
        digest, blanks, path = line.partition("  ")
        if not blanks or not path or path.startswith("/") or ".." in path.split("/"):
            raise BackupError(f"This is not a file of sums: {line[:80]!r}", where=where)
        found[path] = digest
    return found


def sidecar_text(path: str, sha256: str, timestamp: str) -> str:
    """The sidecar of one file; ``path`` is that inside the backup."""
    document = {"file_path": path, "checksum": sha256, "timestamp": timestamp, "algorithm": ALGORITHM}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
