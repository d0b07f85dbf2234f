# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine itself needs for the parts of a backup: a floor under every tool's figures.

    repository_limits.py WHAT TREE TARGET

Everything is done by as many threads as there are cores, and nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterable

PIECE = 1 << 20
NOISE = os.urandom(PIECE)


def files(tree: str) -> list[str]:
    return [os.path.join(folder, name) for folder, _unused, names in os.walk(tree) for name in names]


def each(work: Callable[[str], object], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _unused in pool.map(work, names, chunksize=64):
            pass


def pieces(name: str) -> Iterable[bytes]:
    with open(name, "rb") as stream:
        yield from iter(lambda: stream.read(PIECE), b"")


def read(name: str) -> None:
    for _unused in pieces(name):
        pass


def digest(name: str) -> None:
    sha256 = hashlib.sha256()
    for piece in pieces(name):
        sha256.update(piece)


def digests(name: str) -> None:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in pieces(name):
        sha256.update(piece)
        md5.update(piece)


def compress(name: str) -> None:
    import zstandard

    for piece in pieces(name):
        zstandard.ZstdCompressor(level=1).compress(piece)


def write(tree: str, target: str) -> None:
    """As many files of the same sizes, their content already in memory."""

    def fill(name: str) -> None:
        size = os.path.getsize(name)
        with open(target + name, "wb") as stream:
            for start in range(0, size, PIECE):
                stream.write(NOISE[: size - start])

    names = files(tree)
    for folder in sorted({os.path.dirname(name) for name in names}):
        os.makedirs(target + folder, exist_ok=True)
    each(fill, names)


def walk(tree: str) -> None:
    for name in files(tree):
        os.lstat(name)


LIMITS: dict[str, Callable[[str, str], None]] = {
    "start Python": lambda tree, target: None,
    "walk and stat": lambda tree, target: walk(tree),
    "read all": lambda tree, target: each(read, files(tree)),
    "SHA-256 of all": lambda tree, target: each(digest, files(tree)),
    "SHA-256 and MD5 of all": lambda tree, target: each(digests, files(tree)),
    "zstd level 1 of all": lambda tree, target: each(compress, files(tree)),
    "write all files": write,
}

if __name__ == "__main__":
    LIMITS[sys.argv[1]](sys.argv[2], sys.argv[3])
