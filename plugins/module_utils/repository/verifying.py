# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify: does the repository still hold what was put in?"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Optional, Sequence

from . import forgotten, manifests, paths
from .blocks import BlockReader, content, entries_of, segment_entries
from .checking import PackCheck
from .entries import Content, Entry, Order
from .faults import DamagedError
from .forgotten import Forgotten
from .index import Index
from .layout import Repository
from .manifests import Manifest
from .threads import CORES

LEVELS = ("manifest", "data", "files")
_BATCH = 64
_BATCH_BYTES = 1024 * 1024
_WINDOW = 8


@dataclass
class Verified:
    """What was found. ``damaged`` maps ``<snapshot>:<path>`` (or a place in the repository) to what is
    wrong with it; ``chain`` says what breaks the chains of manifests; ``unused`` are pack files that no
    index names (a killed writer's, or somebody's)."""

    damaged: dict[str, str] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    snapshots: int = 0
    entries: int = 0
    files: int = 0
    bytes: int = 0

    def faults(self) -> list[str]:
        """Everything that is wrong, one sentence each; empty when the repository is sound."""
        return [f"{where}: {what}" for where, what in self.damaged.items()] + self.chain

    def fields(self) -> dict[str, Any]:
        counted = {name: getattr(self, name) for name in ("snapshots", "entries", "files", "bytes")}
        return {"damaged": self.damaged, "chain": self.chain, "unused": self.unused, "verified": counted}


Progress = Callable[[int, int], None]


def verify(
    repository: Repository,
    chosen: Optional[Sequence[Manifest]] = None,
    *,
    host: Optional[str] = None,
    level: str = "files",
    expected: Optional[str] = None,
    progress: Optional[Progress] = None,
) -> Verified:
    """Verify the chosen snapshots (None: all, of ``host`` if given), and the chains that they are in.

    ``manifest`` looks at manifests, chains, index and lists of entries, and that every block is known
    and its pack there. ``data`` also reads every byte: it compares every block with its digest and, when all
    snapshots are verified, everything between the blocks of a pack file with the index. ``files`` compares, when
    all snapshots are verified, every pack file with its name; it puts every file together and compares it with its
    SHA-256 and MD5, which finds all mistakes of the writer too.
    ``expected`` is the digest of a manifest that must be there.
    """
    result = Verified()
    index = Index(repository)
    for fault in index.damaged:
        result.damaged[fault.where or "index"] = fault.what
    for pack in sorted(index.missing):
        result.damaged[str(repository.pack_file(pack.hex()))] = "The pack file is missing"
    readable, unreadable = manifests.readable(repository, host)
    for fault in unreadable:
        result.damaged[fault.where or "manifests"] = fault.what
    for name in sorted({manifest.host for manifest in readable}):
        dropped: list[Forgotten] = []
        try:
            dropped = forgotten.read(repository, name)
        except DamagedError as fault:
            result.damaged[fault.where or str(forgotten.file_of(repository, name))] = fault.what
        result.chain += manifests.chain_faults([one for one in readable if one.host == name], dropped)
    if expected is not None and expected not in {manifest.digest for manifest in readable}:
        result.chain.append(f"The snapshot with the digest {expected} was taken away, or put back to an older one")
    known = {pack.hex() for pack in index.packs()}
    result.unused = sorted(
        str(file.relative_to(repository.root)) for file in repository.packs.glob("*/*") if file.name[:64] not in known
    )
    reader = BlockReader(repository, index)
    packs = PackCheck(repository, index, reader)
    wanted = readable if chosen is None else chosen
    try:
        with ThreadPoolExecutor(max_workers=CORES) as pool:
            run = _Run(reader, pool, result, progress)
            needed = run.blocks = None if chosen is None else set()
            if level == "files" and chosen is None:
                packs.names(pool)
                result.damaged.update(packs.packs)
            for manifest in wanted:
                run.snapshot(manifest, run.read if level == "files" else run.resolve)
            run.settle(0)
            if level == "data":
                packs.run(pool, needed, run.seen)
                result.damaged.update(packs.packs)
                run.name(wanted, packs.blocks)
    finally:
        reader.close()
    for manifest in wanted:
        if not manifests.file_of(repository, manifest).exists():
            # It was forgotten meanwhile, and prune may have taken its blocks.
            of_it = [name for name in result.damaged if name.startswith(f"{manifest.id}:")]
            for name in of_it:
                del result.damaged[name]
    return result


class _Run:
    """One run over snapshots. ``blocks`` collects the digests of all that they need, if it is a set."""

    def __init__(
        self, reader: BlockReader, pool: ThreadPoolExecutor, result: Verified, progress: Optional[Progress]
    ) -> None:
        self._reader, self._pool, self._result, self._progress = reader, pool, result, progress
        self._checked: set[int] = set()
        self._segments: dict[object, tuple[tuple[bytes, tuple[bytes, ...]], dict[str, int]]] = {}
        self._batch: list[tuple[str, Content]] = []
        self._batch_bytes = 0
        self._pending: Deque[Future[list[tuple[str, str]]]] = deque()
        self._read = 0
        self.blocks: Optional[set[bytes]] = None

    def snapshot(self, manifest: Manifest, check: Callable[[str, Content], None]) -> None:
        """Check the list of entries, and with ``check`` each content that was not seen before."""
        self._result.snapshots += 1
        order = Order([paths.decode(source) for source in manifest.sources])
        totals = _zero()
        try:
            for segment in manifest.segments:
                # The same block of entries at the same place of a walk says the same.
                key = (segment, order.state, manifest.sources)
                if key not in self._segments:
                    if self.blocks is not None:
                        self.blocks.add(segment.block)
                    counts = _zero()
                    for entry in segment_entries(self._reader, segment, order):
                        _count(counts, entry)
                        self._contents(manifest, entry, check)
                    self._segments[key] = order.state, counts
                order.state, counts = self._segments[key]
                for name, number in counts.items():
                    totals[name] += number
        except DamagedError as error:
            self._result.damaged[f"{manifest.id}:(list of entries)"] = str(error)
        else:
            if totals != dict(manifest.totals):
                self._result.damaged[f"{manifest.id}:(list of entries)"] = "It does not hold what the manifest counts"
        self._result.entries += sum(totals.values()) - totals["bytes"]

    def _contents(self, manifest: Manifest, entry: Entry, check: Callable[[str, Content], None]) -> None:
        for part in (entry.content, entry.evidence):
            # A content is the same in every snapshot that has it: digests and blocks are its name.
            if part is None:
                continue
            known = hash(part)
            if known not in self._checked:
                self._checked.add(known)
                self._result.files += 1
                self._result.bytes += part.size
                check(f"{manifest.id}:{paths.encode(entry.path)}", part)

    def resolve(self, name: str, wanted: Content) -> None:
        """Is every block of this content known, and do they have its size?"""
        size = 0
        try:
            for part in wanted.blocks:
                if isinstance(part, int):
                    size += part
                else:
                    digest = bytes.fromhex(part)
                    size += self._reader.length(digest)
                    if self.blocks is not None:
                        self.blocks.add(digest)
            if size != wanted.size:
                raise DamagedError("The blocks of a file do not have its size")
        except DamagedError as error:
            self._result.damaged[name] = str(error)

    def read(self, name: str, wanted: Content) -> None:
        """Does this content have its digests? Answered by the pool."""
        self._batch.append((name, wanted))
        self._batch_bytes += wanted.size
        if len(self._batch) >= _BATCH or self._batch_bytes >= _BATCH_BYTES:
            self.settle(_WINDOW)

    def settle(self, keep: int) -> None:
        """Hand on what is collected, and wait for the answers but the last ``keep``."""
        if self._batch:
            self._pending.append(self._pool.submit(_read_whole, self._reader, self._batch))
            self._batch, self._batch_bytes = [], 0
        while len(self._pending) > keep:
            self._result.damaged.update(self._pending.popleft().result())
            if self._progress:
                self._progress(self._result.files, self._result.bytes)

    def seen(self, size: int) -> None:
        self._read += size
        if self._progress:
            self._progress(self._result.files, self._read)

    def name(self, wanted: Sequence[Manifest], damaged: dict[bytes, str]) -> None:
        """Name the files that need damaged blocks, and the blocks that nobody needs."""
        unnamed = dict(damaged)
        for manifest in wanted if damaged else ():
            for segment in manifest.segments:
                unnamed.pop(segment.block, None)
            try:
                for entry in entries_of(self._reader, manifest):
                    for part in (entry.content, entry.evidence):
                        for block in part.blocks if part else ():
                            digest = b"" if isinstance(block, int) else bytes.fromhex(block)
                            if digest in damaged:
                                unnamed.pop(digest, None)
                                self._result.damaged[f"{manifest.id}:{paths.encode(entry.path)}"] = damaged[digest]
            except DamagedError:
                # Its list of entries is damaged, which was said already.
                continue
        self._result.damaged.update({f"block {digest.hex()}": why for digest, why in unnamed.items()})


def _zero() -> dict[str, int]:
    return {"files": 0, "directories": 0, "symlinks": 0, "fifos": 0, "bytes": 0}


def _count(totals: dict[str, int], entry: Entry) -> None:
    totals["directories" if entry.type == "directory" else f"{entry.type}s"] += 1
    totals["bytes"] += entry.content.size if entry.content else 0


def _read_whole(reader: BlockReader, batch: Sequence[tuple[str, Content]]) -> list[tuple[str, str]]:
    faults = []
    for name, wanted in batch:
        try:
            _compare(reader, wanted)
        except DamagedError as error:
            faults.append((name, str(error)))
    return faults


def _compare(reader: BlockReader, wanted: Content) -> None:
    try:
        for _piece in content(reader, wanted):
            pass
    except DamagedError:
        # Again, block by block: another copy may be intact, and else the damaged block is named.
        for _piece in content(reader, wanted, each_block=True):
            pass
