# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks read back: every one is checked against its name before anybody sees it."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Iterator, Optional

from ..source import Piece
from ..source import plain as zeros_of
from . import entries, paths
from .compression import expand
from .entries import Content, Entry
from .faults import DamagedError
from .index import Index
from .layout import Repository
from .manifests import Manifest
from .packs import MAX_BLOCK, Place


class BlockReader:
    """Reads blocks of a repository; several threads may share one."""

    def __init__(self, repository: Repository, index: Index) -> None:
        self._repository = repository
        self._index = index
        self._own = threading.local()
        self._opened: list[int] = []
        self._guard = threading.Lock()

    def read(self, digest: bytes) -> bytes:
        """The plain block. Tries every copy; raises DamagedError that says what is wrong with the last."""
        last = DamagedError(f"Block {digest.hex()} is in no index file")
        for place in self._index.places(digest):
            try:
                plain = self._read(place)
            except DamagedError as error:
                last = error
                continue
            if hashlib.sha256(plain).digest() == digest:
                return plain
            last = DamagedError(f"Block {digest.hex()} was changed", where=self._name(place))
        raise last

    def length(self, digest: bytes) -> int:
        """The length of a block as the index has it. Raises DamagedError when it is unknown."""
        for place in self._index.places(digest):
            return place.length
        raise DamagedError(f"Block {digest.hex()} is in no index file")

    def _read(self, place: Place) -> bytes:
        if place.length > MAX_BLOCK or place.stored > MAX_BLOCK + 1024 or place.encryption:
            raise DamagedError("An index record cannot be true", where=self._name(place))
        try:
            payload = os.pread(self._descriptor(place.pack), place.stored, place.offset)
        except OSError as error:
            raise DamagedError(f"The pack file cannot be read: {error.strerror}", where=self._name(place)) from error
        try:
            return expand(place.compression, payload, place.length)
        except DamagedError as fault:
            fault.where = self._name(place)
            raise

    def _name(self, place: Place) -> str:
        return str(self._repository.pack_file(place.pack.hex()))

    def _descriptor(self, pack: bytes) -> int:
        """The open pack file. Each thread keeps only the last one: files are stored in their order."""
        last: Optional[tuple[bytes, int]] = getattr(self._own, "last", None)
        if last is not None and last[0] == pack:
            return last[1]
        descriptor = os.open(self._repository.pack_file(pack.hex()), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with self._guard:
            self._opened.append(descriptor)
            if last is not None:
                self._opened.remove(last[1])
                os.close(last[1])
        self._own.last = (pack, descriptor)
        return descriptor

    def close(self) -> None:
        """Close what the threads left open; nobody may read any more."""
        for descriptor in self._opened:
            os.close(descriptor)
        self._opened.clear()


def lines(reader: BlockReader, manifest: Manifest) -> Iterator[bytes]:
    """The lines of a snapshot, without their newlines."""
    for segment in manifest.segments:
        text = reader.read(segment.block)
        found = text.split(b"\n")
        if found.pop() != b"" or len(found) != segment.count:
            raise DamagedError("A block of entries does not hold what its manifest says", where=manifest.id)
        yield from found


def entries_of(reader: BlockReader, manifest: Manifest) -> Iterator[Entry]:
    """The entries of a snapshot, each checked."""
    return entries.checked(lines(reader, manifest), [paths.decode(source) for source in manifest.sources])


def content(reader: BlockReader, wanted: Content) -> Iterator[Piece]:
    """The pieces of a file (bytes, or the length of a hole). Never more than its size; raises
    DamagedError when a block is damaged or when size or digests do not match at the end."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    left = wanted.size
    for part in wanted.blocks:
        if isinstance(part, int):
            left -= part
            if left < 0:
                break
            for zeros in zeros_of(part):
                sha256.update(zeros)
                md5.update(zeros)
            yield part
        else:
            plain = reader.read(bytes.fromhex(part))
            left -= len(plain)
            if left < 0:
                break
            if len(wanted.blocks) > 1:
                sha256.update(plain)
            md5.update(plain)
            yield plain
    if left:
        raise DamagedError("The blocks of a file do not have its size")
    whole = wanted.blocks[0] if _is_one_block(wanted) else sha256.hexdigest()
    if whole != wanted.sha256 or md5.hexdigest() != wanted.md5:
        raise DamagedError("The blocks of a file do not have its digests")


def _is_one_block(wanted: Content) -> bool:
    return len(wanted.blocks) == 1 and isinstance(wanted.blocks[0], str)
