# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack files: blocks one after the other (docs/snapshot-format.md, section 3)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Deque, Iterator, NamedTuple, Optional, Sequence

from .faults import DamagedError
from .layout import Repository, make_folder, sync_folder

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

MAGIC = b"FCPACK1\n"
HEADER = struct.Struct(">BB2xII4x32s")
MAX_BLOCK = 16 * 1024 * 1024
PACK_SIZE = 20 * 1024 * 1024
_AT_ONCE = 1024 * 1024
_WRITES, _PACKS = 8, 4
"""How many may wait for the disk before the next ones do."""


class Place(NamedTuple):
    """Where a block stands. ``pack`` is the name of the pack file, lengths are in bytes."""

    pack: bytes
    offset: int
    stored: int
    length: int
    compression: int
    encryption: int = 0


class _Pack:
    """A pack file on its way. ``write`` is called by one thread, ``publish`` by another."""

    def __init__(self, aside: Path) -> None:
        self._aside = aside
        self._stream = os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666), "wb")
        self._name = hashlib.sha256()
        self.size = 0
        self.blocks: list[tuple[bytes, int, int, int, int, int]] = []
        self.written: list[Future[None]] = []

    def write(self, parts: Sequence[bytes]) -> None:
        content = b"".join(parts)
        self._name.update(content)
        self._stream.write(content)

    def publish(self, repository: Repository) -> tuple[bytes, Path]:
        """Durable, then under its name: (name, folder). Raises what a ``write`` raised."""
        for written in self.written:
            written.result()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        final = repository.pack_file(self._name.hexdigest())
        make_folder(final.parent)
        os.rename(self._aside, final)
        return self._name.digest(), final.parent

    def close(self) -> None:
        # What a full disk did not take stays in the buffer.
        with contextlib.suppress(OSError):
            self._stream.close()


class PackWriter:
    """Collects blocks into pack files: one thread writes them, another one waits for the disk and publishes them.

    ``published`` are (digest, place) of every block in a pack that was published before the last ``sync``, since
    it was last emptied.
    """

    def __init__(self, repository: Repository, owner: str) -> None:
        self._repository = repository
        self._aside = repository.staging(owner)
        self._begun = 0
        self._pack: Optional[_Pack] = None
        self._parts: list[bytes] = []
        self._collected = 0
        self._writing: Deque[Future[None]] = deque()
        self._publishing: Deque[tuple[_Pack, Future[tuple[bytes, Path]]]] = deque()
        self._threads: Optional[tuple[ThreadPoolExecutor, ThreadPoolExecutor]] = None
        self._folders: set[Path] = set()
        self.published: list[tuple[bytes, Place]] = []
        self.bytes_written = 0

    def add(self, digest: bytes, length: int, compression: int, payload: bytes, encryption: int = 0) -> None:
        """Raises OSError, also for what was added before."""
        pack = self._pack
        if pack is None:
            pack = self._pack = _Pack(self._aside / f"pack-{self._begun}")
            self._begun += 1
            self._collect(pack, MAGIC)
        self._collect(pack, HEADER.pack(compression, encryption, length, len(payload), digest))
        pack.blocks.append((digest, pack.size, len(payload), length, compression, encryption))
        self._collect(pack, payload)
        if pack.size >= PACK_SIZE:
            self.flush()
        elif self._collected >= _AT_ONCE:
            self._write(pack)

    def flush(self) -> None:
        """Begin to publish what is collected; ``sync`` waits for it."""
        pack, self._pack = self._pack, None
        if pack is None:
            return
        self._write(pack)
        self._publishing.append((pack, self._started()[1].submit(pack.publish, self._repository)))
        self.bytes_written += pack.size
        if len(self._publishing) > _PACKS:
            self._settle()

    def sync(self) -> None:
        """Everything that was flushed is durable afterwards, and so are the names."""
        while self._publishing:
            self._settle()
        for folder in self._folders:
            sync_folder(folder)
        self._folders.clear()

    def close(self) -> None:
        """Wait for what is being written. What was not flushed is lost."""
        for thread in self._threads or ():
            thread.shutdown()
        for pack in [pack for pack, _published in self._publishing] + [self._pack]:
            if pack is not None:
                pack.close()
        self._threads = self._pack = None
        self._publishing.clear()

    def _collect(self, pack: _Pack, part: bytes) -> None:
        self._parts.append(part)
        self._collected += len(part)
        pack.size += len(part)

    def _write(self, pack: _Pack) -> None:
        written = self._started()[0].submit(pack.write, self._parts)
        self._parts, self._collected = [], 0
        pack.written.append(written)
        self._writing.append(written)
        if len(self._writing) > _WRITES:
            self._writing.popleft().result()

    def _settle(self) -> None:
        pack, published = self._publishing[0]
        name, folder = published.result()
        self._publishing.popleft()
        self._folders.add(folder)
        self.published += [(digest, Place(name, *rest)) for digest, *rest in pack.blocks]

    def _started(self) -> tuple[ThreadPoolExecutor, ThreadPoolExecutor]:
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(max_workers=1), ThreadPoolExecutor(max_workers=1)
        return self._threads


def scan(file: Path) -> Iterator[tuple[bytes, Place]]:
    """(digest, place) of every block in a pack file, from its record headers alone."""
    pack = bytes.fromhex(file.name[:64])
    with open(file, "rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        if stream.read(len(MAGIC)) != MAGIC:
            raise DamagedError("This is not a pack file", where=str(file))
        offset = len(MAGIC)
        while offset < end:
            header = stream.read(HEADER.size)
            if len(header) < HEADER.size:
                raise DamagedError("The pack file ends within a record", where=str(file))
            compression, encryption, length, stored, digest = HEADER.unpack(header)
            offset += HEADER.size
            if length > MAX_BLOCK or offset + stored > end:
                raise DamagedError(f"The record at {offset - HEADER.size} cannot be true", where=str(file))
            yield digest, Place(pack, offset, stored, length, compression, encryption)
            offset = stream.seek(offset + stored)
