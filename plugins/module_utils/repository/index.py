# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: where every block stands (docs/snapshot-format.md, section 4)."""

from __future__ import annotations

import contextlib
import errno
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from functools import cached_property
from pathlib import Path
from typing import Any, Collection, Iterable, Iterator, Mapping, Sequence

from .faults import DamagedError
from .layout import LARGEST as LARGEST_PACK
from .layout import Repository, is_digest, read_published, sha256, sync_folder
from .packs import Place

MAGIC = b"FCINDEX1"
_COUNTS = struct.Struct(">II")
_RECORD = struct.Struct(">32sIIIIBB2x")
_PACK_OF = struct.Struct(">32xI16x")
_START = len(MAGIC) + _COUNTS.size
LARGEST = 1 << 31
MANY_FILES = 8


class _Digests(Sequence[bytes]):
    """The digests in the records of an index file, for bisection."""

    def __init__(self, content: bytes, table: int, count: int) -> None:
        self._content, self._table, self._count = content, table, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        start = self._table + number * _RECORD.size
        return self._content[start : start + 32]


class IndexFile:
    """One index file, looked up by bisection in its own bytes: four bytes a record of memory beside them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            content = read_published(file, LARGEST)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ELOOP, errno.EIO):
                raise DamagedError(f"The index file cannot be read: {error.strerror}", where=str(file)) from error
            raise
        if sha256(content) != file.name[:64]:
            raise DamagedError("The index file was changed", where=str(file))
        if content[: len(MAGIC)] != MAGIC or len(content) < _START:
            raise DamagedError("This is not an index file", where=str(file))
        packs, self.count = _COUNTS.unpack_from(content, len(MAGIC))
        self._table = _START + 32 * packs
        if len(content) != self._table + _RECORD.size * self.count:
            raise DamagedError("The index file has the wrong length", where=str(file))
        self.packs = [content[_START + 32 * number : _START + 32 * (number + 1)] for number in range(packs)]
        self._content = content
        self._digests = _Digests(content, self._table, self.count)

    @cached_property
    def _beginnings(self) -> array[int]:
        """The first four bytes of every digest as a number: these are bisected without a line of Python."""
        records = memoryview(self._content)[self._table :]
        beginnings = array("I", records.cast("I")[:: _RECORD.size // 4].tobytes() if self.count else b"")
        if sys.byteorder == "little":
            beginnings.byteswap()
        return beginnings

    def find(self, digest: bytes) -> Iterator[Place]:
        begins = int.from_bytes(digest[:4], "big")
        low = bisect_left(self._beginnings, begins)
        if low == self.count or self._beginnings[low] != begins:
            return
        number = bisect_left(self._digests, digest, low, bisect_right(self._beginnings, begins, low))
        while number < self.count:
            found, place = self.record(number)
            if found != digest:
                return
            yield place
            number += 1

    def by_pack(self) -> dict[bytes, array[int]]:
        """The numbers of the records of each pack."""
        numbers = [array("I") for _unused in self.packs]
        for number, (pack,) in enumerate(_PACK_OF.iter_unpack(self._content[self._table :])):
            if pack < len(numbers):
                numbers[pack].append(number)
        return dict(zip(self.packs, numbers))

    def renumbered(self, packs: Mapping[bytes, int]) -> Iterator[bytes]:
        """The records of these packs, as they stand in an index file in which packs have these numbers."""
        numbers = [packs.get(pack) for pack in self.packs]
        for start in range(self._table, len(self._content), _RECORD.size):
            (pack,) = _PACK_OF.unpack_from(self._content, start)
            number = numbers[pack] if pack < len(numbers) else None
            if number is not None:
                record = self._content[start : start + _RECORD.size]
                yield record[:32] + number.to_bytes(4, "big") + record[36:]

    def __iter__(self) -> Iterator[tuple[bytes, Place]]:
        return (self.record(number) for number in range(self.count))

    def record(self, number: int) -> tuple[bytes, Place]:
        digest, pack, offset, stored, length, compression, encryption = _RECORD.unpack_from(
            self._content, self._table + number * _RECORD.size
        )
        if pack >= len(self.packs):
            raise DamagedError("An index record names a pack that is not there", where=str(self.file))
        return digest, Place(self.packs[pack], offset, stored, length, compression, encryption)


class Index:
    """All index files of a repository, as they were when it was opened, and what was added since.

    A damaged index file is left out and kept in ``damaged``. Blocks in a pack file that is gone
    (``missing``), or that ends before them, count as unknown, so that a writer stores them again.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._added: set[bytes] = set()
        self.files: list[IndexFile] = []
        self.damaged: list[DamagedError] = []
        self.missing: set[bytes] = set()
        self._sizes: dict[bytes, int] = {}
        self._load()

    def refresh(self) -> bool:
        """Look again; False when the same index files stand there. Prune replaces packs under readers."""
        known = {file.file.name for file in self.files} | {Path(fault.where or "").name for fault in self.damaged}
        if known == {file.name for file in self._repository.index.glob("*.index")}:
            return False
        self._load()
        return True

    def _load(self) -> None:
        while True:
            files, damaged = [], []
            listed = sorted(self._repository.index.glob("*.index"))
            try:
                for file in listed:
                    try:
                        files.append(IndexFile(file))
                    except DamagedError as error:
                        damaged.append(error)
            except FileNotFoundError:
                # A writer has replaced several files by one since they were listed.
                continue
            sizes = {}
            for pack in self._repository.packs.glob("??/*.pack"):
                if is_digest(pack.name[:64]):
                    with contextlib.suppress(FileNotFoundError):
                        sizes[bytes.fromhex(pack.name[:64])] = pack.stat().st_size
            missing = {pack for file in files for pack in file.packs} - sizes.keys()
            # Packs go after the index files that name them: look again before one is said to be missing.
            if not missing or listed == sorted(self._repository.index.glob("*.index")):
                # Most blocks are in the largest: it is asked first.
                files.sort(key=lambda file: file.count, reverse=True)
                self.files, self.damaged, self.missing, self._sizes = files, damaged, missing, sizes
                return

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._added or any(
            place.pack not in self.missing and place.offset + place.stored <= self._sizes.get(place.pack, LARGEST_PACK)
            for file in self.files
            for place in file.find(digest)
        )

    def places(self, digest: bytes) -> Iterator[Place]:
        """Every place at which a block stands; none when it is unknown."""
        return (place for file in self.files for place in file.find(digest))

    def packs(self) -> set[bytes]:
        return {pack for file in self.files for pack in file.packs}

    def publish(self, blocks: Sequence[tuple[bytes, Place]], owner: str) -> None:
        """Publish an index file for these blocks, whose packs are durable."""
        if blocks:
            self.files.append(IndexFile(publish_records(self._repository, blocks, owner)))
            self._added.update(digest for digest, _place in blocks)

    def merge(self, owner: str) -> bool:
        """Replace the small index files by one, when there are many; whether there were."""
        if len(self.files) < MANY_FILES or self.damaged or self.missing or self._repository.append_only:
            return False
        *small, largest = sorted(self.files, key=lambda file: file.count)
        if sum(file.count for file in small) * 4 > largest.count:
            small.append(largest)
        self.replace(small, (), owner)
        return True

    def replace(self, files: Sequence[IndexFile], without: Collection[bytes], owner: str) -> None:
        """Put one index file in the place of others; the records of some packs are left out."""
        packs = sorted({pack for file in files for pack in file.packs}.difference(without))
        number = {pack: position for position, pack in enumerate(packs)}
        instead = None
        if packs:
            records = (record for file in files for record in file.renumbered(number))
            instead = _write(self._repository, packs, records, owner)
        for file in files:
            if file.file != instead:
                with contextlib.suppress(FileNotFoundError):
                    file.file.unlink()
        sync_folder(self._repository.index)


def publish_records(repository: Repository, blocks: Sequence[tuple[bytes, Place]], owner: str) -> Path:
    """Publish an index file for these blocks, whose packs are durable."""
    packs = sorted({block[1].pack for block in blocks})
    number = {pack: position for position, pack in enumerate(packs)}
    records = (
        _RECORD.pack(
            digest,
            number[place.pack],
            place.offset,
            place.stored,
            place.length,
            place.compression,
            place.encryption,
        )
        for digest, place in blocks
    )
    return _write(repository, packs, records, owner)


def _write(repository: Repository, packs: Sequence[bytes], records: Iterable[bytes], owner: str) -> Path:
    ordered = sorted(set(records))
    content = b"".join([MAGIC, _COUNTS.pack(len(packs), len(ordered)), *packs, *ordered])
    file = repository.index / f"{sha256(content)}.index"
    repository.publish(file, content, owner)
    return file
