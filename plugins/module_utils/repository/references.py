# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which blocks the published snapshots need, and for what."""

from __future__ import annotations

from pathlib import Path
from typing import Collection, Iterable, Iterator

from . import entries, manifests, paths
from .blocks import BlockReader, segment_lines
from .faults import DamagedError
from .manifests import Manifest, Segment

ENTRIES = "(list of entries)"


class References:
    """Blocks that snapshots need. A block of entries that several snapshots share is read once.

    ``faults`` are manifests and lists of entries that cannot be read: what they need is not known.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._segments: set[bytes] = set()
        self.blocks: set[bytes] = set()
        self.faults: list[DamagedError] = []

    def update(self, reader: BlockReader, files: Iterable[Path]) -> None:
        """Add what these manifests need, listed before the reader's index was read."""
        for file in files:
            if file.name in self._seen:
                continue
            try:
                self._add(manifests.load(file), reader)
            except DamagedError as fault:
                if not file.exists():
                    # It was forgotten since it was listed.
                    continue
                self.faults.append(fault)
            self._seen.add(file.name)

    def _add(self, manifest: Manifest, reader: BlockReader) -> None:
        for segment in manifest.segments:
            if segment.block in self._segments:
                continue
            self.blocks.add(segment.block)
            try:
                for entry in entries_in(reader, segment):
                    self.blocks.update(blocks_of(entry))
            except DamagedError as fault:
                self.faults.append(fault)
            else:
                self._segments.add(segment.block)


def blocks_of(entry: entries.Entry) -> Iterator[bytes]:
    """The blocks that one entry needs."""
    for content in (entry.content, entry.evidence):
        for part in content.blocks if content else ():
            if isinstance(part, str):
                yield bytes.fromhex(part)


def needing(reader: BlockReader, snapshots: Iterable[Manifest], lost: Collection[bytes]) -> dict[str, list[str]]:
    """For each snapshot (its id) that needs one of these blocks the paths (encoded) that do. A list of
    entries that cannot be read stands as ``(list of entries)`` with the path from which on it is gone."""
    found: dict[str, list[str]] = {}
    known: dict[bytes, list[str]] = {}
    for manifest in snapshots:
        touched: list[str] = []
        for segment in manifest.segments:
            if segment.block not in known:
                known[segment.block] = _touched(reader, segment, lost)
            touched += known[segment.block]
        if touched:
            found[manifest.id] = touched
    return found


def _touched(reader: BlockReader, segment: Segment, lost: Collection[bytes]) -> list[str]:
    try:
        return [
            paths.encode(entry.path)
            for entry in entries_in(reader, segment)
            if any(block in lost for block in blocks_of(entry))
        ]
    except DamagedError:
        return [f"{ENTRIES} {segment.count} entries from {segment.first}"]


def entries_in(reader: BlockReader, segment: Segment) -> Iterator[entries.Entry]:
    """The entries in one block of entries, each checked by itself. Raises DamagedError."""
    return map(entries.parse, segment_lines(reader, segment))
