# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack files: blocks one after the other (docs/snapshot-format.md, section 3)."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional, Sequence

from .faults import DamagedError
from .layout import Repository, make_folder, sync_folder

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

MAGIC = b"FCPACK1\n"
HEADER = struct.Struct(">BB2xII4x32s")
MAX_BLOCK = 16 * 1024 * 1024
PACK_SIZE = 20 * 1024 * 1024
_AT_ONCE = 16


class Place(NamedTuple):
    """Where a block stands. ``pack`` is the name of the pack file, lengths are in bytes."""

    pack: bytes
    offset: int
    stored: int
    length: int
    compression: int
    encryption: int = 0


class PackWriter:
    """Collects blocks into pack files; publishes a pack when it is full, in a thread of its own.

    ``published`` are (digest, place) of every block in a pack that was published before the last ``sync``, since
    it was last emptied.
    """

    def __init__(self, repository: Repository, owner: str) -> None:
        self._repository = repository
        self._aside = repository.staging(owner) / "pack"
        self._buffer: list[bytes] = []
        self._size = 0
        self._waiting: list[tuple[bytes, int, int, int, int, int]] = []
        self._thread: Optional[ThreadPoolExecutor] = None
        self._pack: Optional[Future[tuple[bytes, Path]]] = None
        self._in_pack: list[tuple[bytes, int, int, int, int, int]] = []
        self._folders: set[Path] = set()
        self.published: list[tuple[bytes, Place]] = []
        self.bytes_written = 0

    def add(self, digest: bytes, length: int, compression: int, payload: bytes, encryption: int = 0) -> None:
        """Raises OSError, also for the pack before."""
        if not self._buffer:
            self._buffer.append(MAGIC)
            self._size = len(MAGIC)
        self._buffer.append(HEADER.pack(compression, encryption, length, len(payload), digest))
        self._buffer.append(payload)
        self._waiting.append((digest, self._size + HEADER.size, len(payload), length, compression, encryption))
        self._size += HEADER.size + len(payload)
        if self._size >= PACK_SIZE:
            self.flush()

    def flush(self) -> None:
        """Begin to publish what is collected; ``sync`` waits for it."""
        self._settle()
        if not self._buffer:
            return
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(max_workers=1)
        self._pack = self._thread.submit(self._write, self._buffer)
        self._in_pack, self._waiting, self._buffer = self._waiting, [], []
        self.bytes_written += self._size

    def sync(self) -> None:
        """Everything that was flushed is durable afterwards, and so are the names."""
        self._settle()
        for folder in self._folders:
            sync_folder(folder)
        self._folders.clear()

    def close(self) -> None:
        """Wait for what is being written. What was not flushed is lost."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _settle(self) -> None:
        if self._pack is None:
            return
        begun, self._pack = self._pack, None
        pack, folder = begun.result()
        self._folders.add(folder)
        self.published += [(digest, Place(pack, *rest)) for digest, *rest in self._in_pack]

    def _write(self, buffer: Sequence[bytes]) -> tuple[bytes, Path]:
        name = hashlib.sha256()
        with open(self._aside, "wb") as stream:
            for start in range(0, len(buffer), _AT_ONCE):
                content = b"".join(buffer[start : start + _AT_ONCE])
                name.update(content)
                stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        final = self._repository.pack_file(name.hexdigest())
        make_folder(final.parent)
        os.rename(self._aside, final)
        return name.digest(), final.parent


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
