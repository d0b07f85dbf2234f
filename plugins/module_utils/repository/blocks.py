# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks read back: every one is checked against its name before anybody sees it."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from typing import Iterator, Optional, Sequence

from ..source import Piece
from ..source import plain as zeros_of
from . import entries, paths
from .compression import Payload, expand
from .entries import Content, Entry, Order
from .faults import DamagedError
from .index import Index
from .layout import Repository, open_published
from .manifests import Manifest, Segment
from .packs import MAX_BLOCK, Place
from .window import Window

_MEMORY = 512 * 1024


class BlockReader:
    """Reads blocks of a repository; several threads may share one."""

    def __init__(self, repository: Repository, index: Index) -> None:
        self._repository = repository
        self._kept = repository.blocks
        self._index = index
        self._own = threading.local()
        self._opened: list[int] = []
        self._guard = threading.Lock()

    def read(self, digest: bytes, check: bool = True) -> bytes:
        """The plain block. Tries every copy; raises DamagedError that says what is wrong with the last.

        Without ``check`` whoever asks compares the whole that the block is a part of with a digest.
        """
        while True:
            known = self._index.files
            last = DamagedError(f"Block {digest.hex()} is in no index file")
            for place in self._index.places(digest):
                try:
                    self.check_place(place)
                    return self.plain(digest, place, self._payload(place), check)
                except DamagedError as error:
                    last = error
            # Prune may have moved the block since the index was read, and another thread may know already.
            if not self._index.refresh() and self._index.files is known:
                raise last

    def at(self, digest: bytes, place: Place) -> bytes:
        """The plain block that stands at one place. Raises DamagedError."""
        self.check_place(place)
        return self.plain(digest, place, self._payload(place))

    def plain(self, digest: bytes, place: Place, payload: Payload, check: bool = True) -> bytes:
        """The plain block behind a payload. Raises DamagedError."""
        return bytes(self._plain(digest, place, payload, check))

    def check(self, digest: bytes, place: Place, payload: Payload) -> None:
        """Raises DamagedError when the block behind a payload is not what its name says."""
        self._plain(digest, place, payload, True)

    def _plain(self, digest: bytes, place: Place, payload: Payload, check: bool) -> Payload:
        try:
            if place.encryption:
                payload = self._kept.open(digest, place.compression, place.length, payload)
            plain = expand(place.compression, payload, place.length)
        except DamagedError as fault:
            fault.where = self._name(place)
            raise
        if check and self._kept.name(plain) != digest:
            raise DamagedError(f"Block {digest.hex()} was changed", where=self._name(place))
        return plain

    def check_place(self, place: Place) -> None:
        """Raises DamagedError when reading there would cost more memory than a block can need."""
        if place.length > MAX_BLOCK or place.stored > MAX_BLOCK + 1024 or place.encryption > 1:
            raise DamagedError("An index record cannot be true", where=self._name(place))

    @property
    def keyed(self) -> bool:
        """Whether the name of a block is something else than the SHA-256 of its plain bytes."""
        return self._kept.keyed

    def path(self, text: str) -> bytes:
        """A path in a manifest."""
        return self._kept.open_path(text)

    def length(self, digest: bytes) -> int:
        """The length of a block as the index has it. Raises DamagedError when it is unknown."""
        while True:
            known = self._index.files
            for place in self._index.places(digest):
                return place.length
            if not self._index.refresh() and self._index.files is known:
                raise DamagedError(f"Block {digest.hex()} is in no index file")

    def _payload(self, place: Place) -> Payload:
        try:
            return self._window(place.pack).at(place.offset, place.stored)
        except OSError as error:
            raise DamagedError(f"The pack file cannot be read: {error.strerror}", where=self._name(place)) from error

    def _name(self, place: Place) -> str:
        return str(self._repository.pack_file(place.pack.hex()))

    def _window(self, pack: bytes) -> Window:
        """The open pack file. Each thread keeps only the last one: files are stored in their order."""
        last: Optional[tuple[bytes, int, Window]] = getattr(self._own, "last", None)
        if last is not None and last[0] == pack:
            return last[2]
        if last is None:
            self._own.memory = memoryview(bytearray(_MEMORY))
        descriptor = open_published(self._repository.pack_file(pack.hex()))
        with self._guard:
            self._opened.append(descriptor)
            if last is not None:
                self._opened.remove(last[1])
                os.close(last[1])
        window = Window(descriptor, self._own.memory)
        self._own.last = (pack, descriptor, window)
        return window

    def close(self) -> None:
        """Close what the threads left open; nobody may read any more."""
        for descriptor in self._opened:
            os.close(descriptor)
        self._opened.clear()


def segment_lines(reader: BlockReader, segment: Segment) -> Iterator[bytes]:
    """The lines of one block of entries, without their newlines; one at a time, for an enemy's may be many."""
    text = reader.read(segment.block)
    if text.count(b"\n") != segment.count or not text.endswith(b"\n"):
        raise DamagedError("A block of entries does not hold what its manifest says")
    return (line[:-1] for line in io.BytesIO(text))


def lines(reader: BlockReader, manifest: Manifest) -> Iterator[bytes]:
    """The lines of a snapshot, without their newlines."""
    for segment in manifest.segments:
        yield from segment_lines(reader, segment)


def segment_entries(reader: BlockReader, segment: Segment, order: Order) -> Iterator[Entry]:
    """The entries in one block of entries, each checked."""
    for number, text in enumerate(segment_lines(reader, segment)):
        entry = entries.parse(text)
        if number == 0 and entry.path != reader.path(segment.first):
            raise DamagedError("A block of entries does not begin as its manifest says")
        order.check(entry)
        yield entry


def entries_of(reader: BlockReader, manifest: Manifest, within: Optional[Sequence[bytes]] = None) -> Iterator[Entry]:
    """The entries of a snapshot, each checked. With ``within`` blocks of entries that hold nothing at or
    beneath one of these paths are not read."""
    order = Order([paths.decode(source) for source in manifest.sources])
    wanted = None if within is None else [paths.order(path) for path in within]
    firsts = [reader.path(segment.first) for segment in manifest.segments]
    skipped = False
    for segment, first, after in zip(manifest.segments, firsts, [*firsts[1:], b"/\xff"]):
        # What is beneath a path sorts after the path, and before the path followed by the byte 1.
        if wanted and not any(path < paths.order(after) and paths.order(first) < path + b"\1" for path in wanted):
            skipped = True
            continue
        if skipped:
            order.skip_to(first)
            skipped = False
        yield from segment_entries(reader, segment, order)


def content(reader: BlockReader, wanted: Content, each_block: bool = False, with_md5: bool = True) -> Iterator[Piece]:
    """The pieces of a file (bytes, or the length of a hole). Never more than its size; raises
    DamagedError when a block is damaged or when size or digests (SHA-256; MD5 too ``with_md5``, which is half of
    the work) do not match at the end.

    Without ``each_block`` the digests of the whole file alone vouch for files of several blocks: what they do
    not match may be read again with it, so that the damaged block is named, or another copy of it is found.
    """
    single = not reader.keyed and len(wanted.blocks) == 1 and isinstance(wanted.blocks[0], str)
    sha256 = None if single else hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
    digests = [digest for digest in (sha256, md5) if digest is not None]
    left = wanted.size
    for part in wanted.blocks:
        if isinstance(part, int):
            left -= part
            if left < 0:
                break
            for zeros in zeros_of(part):
                for digest in digests:
                    digest.update(zeros)
            yield part
        else:
            plain = reader.read(bytes.fromhex(part), single or each_block)
            left -= len(plain)
            if left < 0:
                break
            for digest in digests:
                digest.update(plain)
            yield plain
    if left:
        raise DamagedError("The blocks of a file do not have its size")
    whole = wanted.blocks[0] if sha256 is None else sha256.hexdigest()
    if whole != wanted.sha256 or (md5 is not None and md5.hexdigest() != wanted.md5):
        raise DamagedError("The blocks of a file do not have its digests")
