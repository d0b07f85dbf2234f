# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contents of any size on their way in, a piece at a time."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future
from typing import Deque, Iterable, Optional

from ..source import Piece, plain
from . import entries
from .entries import Content, Part
from .faults import DamagedError
from .storing import Block, BlockSink
from .threads import Crew

_WINDOW = 8


def store_stream(
    pieces: Iterable[Piece], block_size: int, sink: BlockSink, crew: Crew, beginning: Optional[Content] = None
) -> Optional[Content]:
    """Store a content: blocks are prepared by the crew and added in their order.

    With ``beginning`` (see there) the blocks of then are named again, neither cut nor digested: the SHA-256 of then
    vouches for them. None when it does not; then nothing was stored, and the content is to be read again without.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    parts: list[Part] = []
    size = known = 0
    waiting: Deque[tuple[Future[list[Block]], Future[None]]] = deque()

    def take() -> None:
        prepared, digested = waiting.popleft()
        for block in prepared.result():
            sink.add(block)
            parts.append(block.digest.hex())
        digested.result()

    for piece in pieces:
        if isinstance(piece, int):
            if size < known:
                return None
            while waiting:
                take()
            parts.append(piece)
            size += piece
            for zeros in plain(piece):
                sha256.update(zeros)
                md5.update(zeros)
            continue
        if size == 0 and beginning and sink.kept.name(piece[:block_size]).hex() == beginning.blocks[0]:
            known = beginning.size
        cut_from, after = 0, known - size
        if after <= 0:
            sha256.update(piece)
        else:
            sha256.update(memoryview(piece)[:after])
            cut_from = len(piece)
            if beginning and after <= len(piece):
                if sha256.hexdigest() != beginning.sha256:
                    return None
                whole = known // block_size
                parts += beginning.blocks[:whole]
                cut_from = whole * block_size - size
                sha256.update(memoryview(piece)[after:])
        prepared = crew.blocks.submit(_prepare, piece, cut_from, block_size, sink)
        waiting.append((prepared, crew.digests.submit(md5.update, piece)))
        size += len(piece)
        if len(waiting) >= _WINDOW:
            take()
    if size < known:
        return None
    while waiting:
        take()
    return Content(size, sha256.hexdigest(), md5.hexdigest(), tuple(parts))


def _prepare(piece: bytes, start: int, block_size: int, sink: BlockSink) -> list[Block]:
    return [sink.prepare(piece[at : at + block_size]) for at in range(start, len(piece), block_size)]


def beginning_of(before: Optional[bytes], size: int, block_size: int, sink: BlockSink) -> Optional[Content]:
    """What a file held when it was last taken (its line), where it may be the beginning of what it holds now: it was
    shorter, was cut into blocks of the same size, and all of them are there."""
    if before is None:
        return None
    try:
        content = entries.parse(before).content
    except DamagedError:
        # It is no use here; verify is what names it.
        return None
    if content is None or not block_size <= content.size < size:
        return None
    if len(content.blocks) != -(-content.size // block_size):
        return None
    there = all(isinstance(part, str) and sink.known(bytes.fromhex(part)) for part in content.blocks)
    return content if there else None
