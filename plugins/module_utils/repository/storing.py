# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks on their way in: digested, compressed, each stored once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Protocol

from .compression import best, compress
from .index import Index
from .layout import Repository, storing
from .naming import Blocks
from .packs import PackWriter

CHECKPOINT = 256 * 1024 * 1024
_CHECKPOINT_BLOCKS = 32 * 1024
"""What is not yet in an index costs memory for each block. Later ones hold more, so that they stay few."""


@dataclass(frozen=True)
class Block:
    """One block ready to be stored. ``payload`` is None when the repository has it already."""

    digest: bytes
    length: int
    compression: int = 0
    payload: Optional[bytes] = None


class BlockSink(Protocol):
    """Where blocks go. ``known`` may be asked by several threads, ``add`` by one. ``kept`` is how they are named."""

    kept: Blocks

    def known(self, digest: bytes) -> bool: ...

    def prepare(self, plain: bytes) -> Block: ...

    def add(self, block: Block) -> None: ...


class Storage:
    """Blocks into packs, packs into the index. ``new_blocks`` and ``bytes_written`` count."""

    def __init__(self, repository: Repository, index: Index, owner: str, compression: Optional[int] = None) -> None:
        self._root = repository.root
        self.kept = repository.blocks
        self._index = index
        self._owner = owner
        self._packs = PackWriter(repository, owner)
        self._new: set[bytes] = set()
        self._compression = best() if compression is None else compression
        self._since_checkpoint = 0
        self.new_blocks = 0

    @property
    def bytes_written(self) -> int:
        return self._packs.bytes_written

    def known(self, digest: bytes) -> bool:
        return digest in self._new or digest in self._index

    def prepare(self, plain: bytes) -> Block:
        digest = self.kept.name(plain)
        if self.known(digest):
            return Block(digest, len(plain))
        compression, payload = compress(plain, self._compression)
        return Block(digest, len(plain), compression, self.kept.seal(digest, compression, len(plain), payload))

    def add(self, block: Block) -> None:
        if block.payload is None or block.digest in self._new:
            return
        with storing(self._root):
            self._packs.add(block.digest, block.length, block.compression, block.payload, self.kept.encryption)
        self._new.add(block.digest)
        self.new_blocks += 1
        self._since_checkpoint += len(block.payload)
        most = max(_CHECKPOINT_BLOCKS, self.new_blocks // 8)
        if self._since_checkpoint >= CHECKPOINT or len(self._new) >= most:
            self.publish()

    def close(self) -> None:
        """Wait for what is being written; nothing more is published."""
        self._packs.close()

    def publish(self) -> None:
        """Make everything that was added durable and known to readers, in that order."""
        with storing(self._root):
            self._packs.flush()
            self._packs.sync()
            self._index.publish(self._packs.published, self._owner)
        self._packs.published.clear()
        self._new.clear()
        self._since_checkpoint = 0


class Measurement:
    """Counts what would be stored, and stores nothing."""

    def __init__(self, repository: Repository, index: Index) -> None:
        self.kept = repository.blocks
        self._index = index
        self._new: set[bytes] = set()
        self.new_blocks = 0
        self.bytes_written = 0

    def known(self, digest: bytes) -> bool:
        return digest in self._new or digest in self._index

    def prepare(self, plain: bytes) -> Block:
        return Block(self.kept.name(plain), len(plain), 0, b"")

    def add(self, block: Block) -> None:
        if not self.known(block.digest):
            self._new.add(block.digest)
            self.new_blocks += 1
            self.bytes_written += block.length

    def publish(self) -> None:
        self._new.clear()

    def close(self) -> None:
        """There is nothing to wait for."""
