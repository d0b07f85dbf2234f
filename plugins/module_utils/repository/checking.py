# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every byte of the pack files against their names, and every block in them against its own: one pass over each
file, in the order in which the blocks stand."""

from __future__ import annotations

import hashlib
import os
from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Callable, Collection, Optional, Sequence

from .blocks import BlockReader
from .faults import DamagedError
from .index import Index, IndexFile
from .layout import Repository, open_published
from .packs import Place

_STRETCH = 4 * 1024 * 1024
Record = tuple[bytes, Place]


class PackCheck:
    """``packs`` maps pack files that differ from their names to what is wrong, ``blocks`` maps the digests of
    blocks of which no intact copy is left to why."""

    def __init__(self, repository: Repository, index: Index, reader: BlockReader) -> None:
        self._repository, self._index, self._reader = repository, index, reader
        self.packs: dict[str, str] = {}
        self.blocks: dict[bytes, str] = {}

    def run(
        self,
        pool: ThreadPoolExecutor,
        only: Optional[Collection[bytes]] = None,
        whole: bool = True,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        """Check all blocks, or ``only`` some; compare ``whole`` files with their names or not; ``seen`` is told how
        many bytes were read."""
        standing: dict[bytes, list[tuple[IndexFile, array[int]]]] = {}
        for file in self._index.files:
            for pack, numbers in file.by_pack().items():
                if pack not in self._index.missing:
                    standing.setdefault(pack, []).append((file, numbers))

        def check(pack: bytes) -> tuple[int, str, dict[bytes, str]]:
            records = {file.record(number) for file, numbers in standing[pack] for number in numbers}
            chosen = [record for record in records if only is None or record[0] in only]
            return self._pack(pack, sorted(chosen, key=lambda record: record[1].offset), whole)

        names = sorted(standing)
        for pack, (size, fault, damaged) in zip(names, pool.map(check, names)):
            if fault:
                self.packs[str(self._repository.pack_file(pack.hex()))] = fault
            self.blocks.update(damaged)
            seen(size)
        if self.packs and self._index.refresh():
            # Prune has put other packs in the place of some since the index was read.
            named = {str(self._repository.pack_file(pack.hex())) for pack in self._index.packs()}
            self.packs = {name: fault for name, fault in self.packs.items() if name in named}
        for digest in list(self.blocks):
            try:
                self._reader.read(digest)
            except DamagedError as error:
                self.blocks[digest] = str(error)
            else:
                # Another copy is intact.
                del self.blocks[digest]

    def _pack(self, pack: bytes, records: Sequence[Record], whole: bool) -> tuple[int, str, dict[bytes, str]]:
        """(bytes read, what is wrong with the file, what is wrong with blocks)."""
        damaged: dict[bytes, str] = {}
        sha256 = hashlib.sha256()
        file = self._repository.pack_file(pack.hex())
        first, size = 0, 0
        try:
            with open(open_published(file), "rb", buffering=0) as stream:
                while first < len(records):
                    begin = stream.tell() if whole else stream.seek(records[first][1].offset)
                    last, end = _stretch(records, first, begin)
                    content = _read(stream, end - begin)
                    sha256.update(content)
                    self._blocks(stream, records[first:last], content, begin, damaged)
                    first, size = last, size + len(content)
                while whole:
                    content = _read(stream, _STRETCH)
                    sha256.update(content)
                    size += len(content)
                    if not content:
                        break
        except OSError as error:
            fault = f"The pack file cannot be read: {error.strerror}"
            return size, fault, {digest: fault for digest, _place in records}
        return size, "The pack file was changed" if whole and sha256.digest() != pack else "", damaged

    def _blocks(
        self, stream: BinaryIO, records: Sequence[Record], content: bytes, begin: int, damaged: dict[bytes, str]
    ) -> None:
        view = memoryview(content)
        for digest, place in records:
            start = place.offset - begin
            try:
                self._reader.check_place(place)
                if start >= 0 and start + place.stored <= len(content):
                    payload: memoryview = view[start : start + place.stored]
                else:
                    # No writer makes records that overlap or are so far apart.
                    payload = memoryview(os.pread(stream.fileno(), place.stored, place.offset))
                self._reader.plain(digest, place, payload)
            except DamagedError as error:
                damaged[digest] = str(error)


def _stretch(records: Sequence[Record], first: int, begin: int) -> tuple[int, int]:
    """(the record after the last one that ends within a few MB of ``begin``, at least one; where that ends)."""
    last, end = first, begin
    while last < len(records):
        place = records[last][1]
        if place.offset + place.stored > begin + _STRETCH and last > first:
            break
        end = max(end, place.offset + place.stored)
        last += 1
    return last, min(end, begin + 5 * _STRETCH)


def _read(stream: BinaryIO, size: int) -> bytes:
    """Up to so many bytes; fewer only at the end."""
    content = stream.read(size)
    while len(content) < size:
        more = stream.read(size - len(content))
        if not more:
            break
        content += more
    return content
