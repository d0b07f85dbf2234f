# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack files against their names, and what stands in them against the index: one pass over each file, in the order
of its blocks.

A pack whose record headers are what the index says, whose blocks are what their names say, and which holds nothing
beside them needs no digest of its own: only a bit that changes nothing that a block holds can then be wrong. Any
other pack is compared with its name.
"""

from __future__ import annotations

import os
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Collection, Optional, Sequence

from .blocks import BlockReader
from .faults import DamagedError
from .index import Index, IndexFile
from .layout import Repository, open_published
from .packs import HEADER, MAGIC, Place
from .scrubbing import digest_fault
from .window import Window

_MEMORY = 4 * 1024 * 1024
Record = tuple[bytes, Place]


class PackCheck:
    """``packs`` maps pack files that differ from their names to what is wrong, ``blocks`` maps the digests of
    blocks of which no intact copy is left to why."""

    def __init__(self, repository: Repository, index: Index, reader: BlockReader) -> None:
        self._repository, self._index, self._reader = repository, index, reader
        self._own = threading.local()
        self.packs: dict[str, str] = {}
        self.blocks: dict[bytes, str] = {}

    def names(self, pool: ThreadPoolExecutor) -> None:
        """Compare every byte of every pack file with its name."""
        names = sorted(self._index.packs() - self._index.missing)
        files = [self._repository.pack_file(name.hex()) for name in names]
        for file, (_size, fault) in zip(files, pool.map(digest_fault, files, names)):
            if fault:
                self.packs[str(file)] = fault
        self._forgive()

    def run(
        self,
        pool: ThreadPoolExecutor,
        only: Optional[Collection[bytes]] = None,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Check all that stands in the packs, or ``only`` some blocks; ``seen`` is told how many bytes were read."""
        standing: dict[bytes, list[tuple[IndexFile, array[int]]]] = {}
        for file in self._index.files:
            for pack, numbers in file.by_pack().items():
                if pack not in self._index.missing:
                    standing.setdefault(pack, []).append((file, numbers))

        def check(pack: bytes) -> tuple[int, str, dict[bytes, str]]:
            records = [file.record(number) for file, numbers in standing[pack] for number in numbers]
            chosen = records if only is None else [record for record in records if record[0] in only]
            # Several index files may name a block at the same place.
            return self._pack(pack, sorted(set(chosen), key=_offset), only is None)

        names = sorted(standing)
        for pack, (size, fault, damaged) in zip(names, pool.map(check, names)):
            if fault:
                self.packs[str(self._repository.pack_file(pack.hex()))] = fault
            self.blocks.update(damaged)
            seen(size)
        self._forgive()
        for digest in list(self.blocks):
            try:
                self._reader.read(digest)
            except DamagedError as error:
                self.blocks[digest] = str(error)
            else:
                # Another copy is intact.
                del self.blocks[digest]

    def _forgive(self) -> None:
        """Prune may have put other packs in the place of some since the index was read."""
        if self.packs and self._index.refresh():
            named = {str(self._repository.pack_file(pack.hex())) for pack in self._index.packs()}
            self.packs = {name: fault for name, fault in self.packs.items() if name in named}

    def _pack(self, pack: bytes, records: Sequence[Record], whole: bool) -> tuple[int, str, dict[bytes, str]]:
        """(bytes read, what is wrong with the file, what is wrong with these blocks). ``whole``: they are all."""
        damaged: dict[bytes, str] = {}
        file = self._repository.pack_file(pack.hex())
        try:
            with open(open_published(file), "rb", buffering=0) as stream:
                window = self._window(stream.fileno())
                as_written = whole and _fill(records, os.fstat(stream.fileno()).st_size)
                as_written = as_written and window.at(0, len(MAGIC)) == MAGIC
                for digest, place in records:
                    try:
                        self._reader.check_place(place)
                        if place.offset < HEADER.size:
                            raise DamagedError("An index record cannot be true", where=str(file))
                        stored = window.at(place.offset - HEADER.size, HEADER.size + place.stored)
                        as_written = as_written and stored[: HEADER.size] == _header(digest, place)
                        self._reader.check(digest, place, stored[HEADER.size :])
                    except DamagedError as error:
                        damaged[digest] = str(error)
            fault = digest_fault(file, pack)[1] if whole and (damaged or not as_written) else ""
        except OSError as error:
            fault = f"The pack file cannot be read: {error.strerror}"
            return 0, fault, {digest: fault for digest, _place in records}
        return window.read, fault, damaged

    def _window(self, descriptor: int) -> Window:
        if not hasattr(self._own, "memory"):
            self._own.memory = memoryview(bytearray(_MEMORY))
        return Window(descriptor, self._own.memory)


def _offset(record: Record) -> int:
    return record[1].offset


def _fill(records: Sequence[Record], size: int) -> bool:
    """Whether these are all that stands in a pack file of this size, one right after the other."""
    end = len(MAGIC)
    for _digest, place in records:
        if place.offset != end + HEADER.size:
            return False
        end = place.offset + place.stored
    return end == size


def _header(digest: bytes, place: Place) -> bytes:
    return HEADER.pack(place.compression, place.encryption, place.length, place.stored, digest)
