# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where heal gets what was lost. Nothing from here is believed before its digest is right."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Iterable, Iterator, Optional, Protocol, Sequence

from . import manifests
from .blocks import BlockReader
from .entries import Content
from .faults import DamagedError, RepositoryError
from .index import Index
from .layout import Repository, open_published, read_published
from .references import entries_in

MENDABLE = 16 * 1024
"""Bytes: trying every bit of a larger file takes longer than it is worth."""
MOST = 1 << 28
"""Bytes: files that are larger are not read as a whole; blocks of larger packs are looked for one by one."""
_STRETCH = 16 * 1024 * 1024


class GoodCopy(Protocol):
    """Another place that holds the same repository, or parts of it. ``name`` is for people."""

    name: str

    def file(self, relative: str) -> Optional[bytes]:
        """The published file of this name (``packs/…``, ``manifests/…``); None when it is not there."""

    def block(self, digest: bytes) -> Optional[bytes]:
        """A plain block, checked; None when it is not there."""

    def close(self) -> None: ...


class RepositoryCopy:
    """A folder with a repository: a mounted peer, or what was fetched from off-site. It may be damaged too."""

    def __init__(self, path: str, identity_files: Sequence[str] = ()) -> None:
        self.name = path
        self._root = Path(path)
        self._identity_files = identity_files
        self._reader: Optional[BlockReader] = None
        if not (self._root / "packs").is_dir():
            raise RepositoryError("There is no repository here", where=path, fix="Name the folder of a copy")

    def file(self, relative: str) -> Optional[bytes]:
        try:
            return read_published(self._root / relative, MOST)
        except OSError:
            # It is not there or cannot be read: either way this copy does not help.
            return None

    def block(self, digest: bytes) -> Optional[bytes]:
        try:
            if self._reader is None:
                opened = Repository.open(self.name, self._identity_files)
                self._reader = BlockReader(opened, Index(opened))
            return self._reader.read(digest)
        except DamagedError:
            return None

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def mended(content: bytes, sound: Callable[[bytes], bool]) -> Optional[bytes]:
    """The content with the one bit turned back that makes it sound; None when there is no such bit."""
    if len(content) > MENDABLE:
        return None
    tried = bytearray(content)
    for place in range(len(tried)):
        for bit in range(8):
            tried[place] ^= 1 << bit
            if sound(bytes(tried)):
                return bytes(tried)
            tried[place] ^= 1 << bit
    return None


def live_blocks(
    repository: Repository, index: Index, reader: BlockReader, lost: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes, str]]:
    """(digest, plain block, path) of lost blocks that the files on this host still hold at their place."""
    wanted = set(lost)
    lengths = {digest: place.length for file in index.files for digest, place in file if digest in wanted}
    for manifest in manifests.readable(repository)[0]:
        for segment in manifest.segments:
            if not wanted:
                return
            try:
                entries = list(entries_in(reader, segment))
            except DamagedError:
                # What this part of the snapshot held is not known.
                continue
            for entry in entries:
                for digest, plain in _of_file(repository, entry.path, entry.content, reader, lengths, wanted):
                    wanted.discard(digest)
                    yield digest, plain, os.fsdecode(entry.path)


def _of_file(
    repository: Repository,
    path: bytes,
    content: Optional[Content],
    reader: BlockReader,
    lengths: dict[bytes, int],
    wanted: set[bytes],
) -> Iterator[tuple[bytes, bytes]]:
    places = list(_places(content, reader, lengths, wanted)) if content else []
    if not places:
        return
    try:
        descriptor = open_published(Path(os.fsdecode(path)))
    except OSError:
        # It is gone, or something else now.
        return
    try:
        for digest, offset, length in places:
            plain = os.pread(descriptor, min(length, _STRETCH), offset)
            if digest in wanted and repository.blocks.name(plain) == digest:
                yield digest, plain
    except OSError:
        # It cannot be read on: what was found so far is good.
        return
    finally:
        os.close(descriptor)


def _places(
    content: Content, reader: BlockReader, lengths: dict[bytes, int], wanted: set[bytes]
) -> Iterator[tuple[bytes, int, int]]:
    """(digest, offset, length) of the wanted blocks of a file, as far as offsets are known."""
    known = [
        part if isinstance(part, int) else _length(bytes.fromhex(part), reader, lengths) for part in content.blocks
    ]
    if known.count(None) == 1:
        # The only unknown one is what is left of the size.
        known[known.index(None)] = content.size - sum(length or 0 for length in known)
    offset = 0
    for part, length in zip(content.blocks, known):
        if length is None or length < 0 or offset > content.size:
            return
        if isinstance(part, str) and bytes.fromhex(part) in wanted:
            yield bytes.fromhex(part), offset, length
        offset += length


def _length(digest: bytes, reader: BlockReader, lengths: dict[bytes, int]) -> Optional[int]:
    if digest not in lengths:
        try:
            lengths[digest] = reader.length(digest)
        except RepositoryError:
            return None
    return lengths[digest]
