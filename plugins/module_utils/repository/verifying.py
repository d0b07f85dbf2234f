# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify: does the repository still hold what was put in, and does a tree still hold what was taken?"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Callable, Deque, Iterator, Optional, Sequence

from ..source import Found, Skipped, Source, plain
from . import forgotten, manifests, paths
from .blocks import BlockReader, content, entries_of
from .entries import Content, Entry
from .faults import DamagedError
from .forgotten import Forgotten
from .index import Index
from .layout import Repository
from .manifests import Manifest

LEVELS = ("manifest", "data")
_BATCH = 64
_WINDOW = 8
_WORKERS = 2
_PIECE = 1024 * 1024


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
    level: str = "data",
    expected: Optional[str] = None,
    progress: Optional[Progress] = None,
) -> Verified:
    """Verify the chosen snapshots (None: all, of ``host`` if given), and the chains that they are in.

    ``manifest`` looks at manifests, chains, index and lists of entries, and that every block is known
    and its pack there; ``data`` reads every block and compares every file with its SHA-256 and MD5, and,
    when all snapshots are verified, every pack file with its name.
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
    checked: set[str] = set()
    try:
        with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
            if level == "data" and chosen is None:
                _packs(repository, sorted(index.packs() - index.missing), pool, result)
            for manifest in readable if chosen is None else chosen:
                _snapshot(reader, manifest, level, pool, checked, result, progress)
    finally:
        reader.close()
    return result


def _packs(repository: Repository, packs: Sequence[bytes], pool: ThreadPoolExecutor, result: Verified) -> None:
    """Compare every pack file with its name: also the bytes that no snapshot needs."""

    def fault(pack: bytes) -> str:
        try:
            sha256 = hashlib.sha256()
            for piece in _stored(os.fsencode(repository.pack_file(pack.hex()))):
                sha256.update(piece)
        except OSError as error:
            return f"The pack file cannot be read: {error.strerror}"
        return "" if sha256.digest() == pack else "The pack file was changed"

    for pack, what in zip(packs, pool.map(fault, packs)):
        if what:
            result.damaged[str(repository.pack_file(pack.hex()))] = what


def _snapshot(
    reader: BlockReader,
    manifest: Manifest,
    level: str,
    pool: ThreadPoolExecutor,
    checked: set[str],
    result: Verified,
    progress: Optional[Progress],
) -> None:
    result.snapshots += 1
    check = _read_whole if level == "data" else _resolve
    pending: Deque[Future[list[tuple[str, str]]]] = deque()
    batch: list[tuple[str, Content]] = []

    def settle(keep: int) -> None:
        while len(pending) > keep:
            for name, fault in pending.popleft().result():
                result.damaged[f"{manifest.id}:{name}"] = fault

    totals = {"files": 0, "directories": 0, "symlinks": 0, "fifos": 0, "bytes": 0}
    try:
        for entry in entries_of(reader, manifest):
            _count(totals, entry)
            for part in (entry.content, entry.evidence):
                # A content is the same in every snapshot that has it: digests and blocks are its name.
                key = "" if part is None else f"{part.sha256}{part.md5}{part.size}{hash(part.blocks)}"
                if part is not None and key not in checked:
                    checked.add(key)
                    batch.append((paths.encode(entry.path), part))
                    result.files += 1
                    result.bytes += part.size
            if len(batch) >= _BATCH or (batch and batch[-1][1].size > _PIECE):
                pending.append(pool.submit(check, reader, batch))
                batch = []
                settle(_WINDOW)
                if progress:
                    progress(result.files, result.bytes)
    except DamagedError as error:
        result.damaged[f"{manifest.id}:(list of entries)"] = str(error)
    else:
        if totals != dict(manifest.totals):
            result.damaged[f"{manifest.id}:(list of entries)"] = "It does not hold what the manifest counts"
    if batch:
        pending.append(pool.submit(check, reader, batch))
    settle(0)
    result.entries += sum(totals.values()) - totals["bytes"]


def _count(totals: dict[str, int], entry: Entry) -> None:
    totals["directories" if entry.type == "directory" else f"{entry.type}s"] += 1
    totals["bytes"] += entry.content.size if entry.content else 0


def _read_whole(reader: BlockReader, batch: Sequence[tuple[str, Content]]) -> list[tuple[str, str]]:
    faults = []
    for name, wanted in batch:
        try:
            for _piece in content(reader, wanted):
                pass
        except DamagedError as error:
            faults.append((name, str(error)))
    return faults


def _resolve(reader: BlockReader, batch: Sequence[tuple[str, Content]]) -> list[tuple[str, str]]:
    faults = []
    for name, wanted in batch:
        try:
            length = sum(
                part if isinstance(part, int) else reader.length(bytes.fromhex(part)) for part in wanted.blocks
            )
            if length != wanted.size:
                raise DamagedError("The blocks of a file do not have its size")
        except DamagedError as error:
            faults.append((name, str(error)))
    return faults


@dataclass
class Compared:
    """A tree beside a snapshot; paths encoded. ``swapped`` are pairs whose contents changed places;
    their members are not in ``changed``."""

    changed: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    swapped: list[tuple[str, str]] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Every difference, one sentence each."""
        return [
            *(f"{path}: {what}" for path, what in self.changed.items()),
            *(f"{path}: is missing" for path in self.missing),
            *(f"{path}: was added" for path in self.added),
            *(f"{one} and {other}: were swapped" for one, other in self.swapped),
        ]

    def fields(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "missing": self.missing,
            "added": self.added,
            "swapped": [list(pair) for pair in self.swapped],
        }


def compare(reader: BlockReader, manifest: Manifest, source: Source, target: bytes) -> Compared:
    """Compare a tree with a snapshot: ``target`` is where the snapshot's ``/`` stands (``b"/"``: where it
    was taken). ``source`` walks the snapshot's sources below the target, with its excludes."""
    result = Compared()
    prefix = target.rstrip(b"/")
    there = {found.path[len(prefix) :]: found for found in source.walk()}
    wanted: dict[str, str] = {}
    really: dict[str, str] = {}
    for entry in entries_of(reader, manifest):
        name = paths.encode(entry.path)
        found = there.pop(entry.path, None)
        if found is None:
            result.missing.append(name)
        elif isinstance(found, Skipped):
            result.changed[name] = f"cannot be read: {found.message}"
        else:
            fault, digest = _difference(entry, found, source)
            if fault:
                result.changed[name] = fault
            if digest and entry.content:
                wanted[name], really[name] = entry.content.sha256, digest
    result.added = [paths.encode(path) for path in there]
    _find_swaps(result, wanted, really)
    return result


def _difference(entry: Entry, found: Found, source: Source) -> tuple[str, str]:
    """(what differs, empty when nothing does; the SHA-256 that a changed file really has)."""
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    now = kind.get(stat.S_IFMT(found.stat.st_mode), "device")
    if now != entry.type:
        return f"is a {now}, was a {entry.type}", ""
    if entry.type == "symlink" and found.target != entry.target:
        return f"points to {paths.encode(found.target)}, pointed to {paths.encode(entry.target)}", ""
    faults, digest = [], ""
    if entry.content is not None:
        try:
            now_held = _digests(_stored(found.path))
            if now_held != (entry.content.sha256, entry.content.md5) and entry.kind == "sqlite":
                # A snapshot holds the copy that SQLite made, so only another such copy is comparable.
                now_held = _digests(_copied(source, found))
        except OSError as error:
            return f"cannot be read: {error.strerror}", ""
        if now_held != (entry.content.sha256, entry.content.md5):
            faults.append("content differs")
        digest = now_held[0]
    if entry.type != "symlink" and stat.S_IMODE(found.stat.st_mode) != entry.mode:
        faults.append(f"mode is {stat.S_IMODE(found.stat.st_mode):04o}, was {entry.mode:04o}")
    return ", ".join(faults), digest


def _stored(path: bytes) -> Iterator[bytes]:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        yield from iter(lambda: stream.read(_PIECE), b"")


def _copied(source: Source, found: Found) -> Iterator[bytes]:
    reading = source.read(found, 0)
    try:
        for piece in reading.pieces():
            yield from plain(piece)
    finally:
        reading.close()


def _digests(content_now: Iterator[bytes]) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in content_now:
        sha256.update(piece)
        md5.update(piece)
    return sha256.hexdigest(), md5.hexdigest()


def _find_swaps(result: Compared, wanted: dict[str, str], really: dict[str, str]) -> None:
    owner = {digest: name for name, digest in wanted.items()}
    for name in sorted(wanted):
        other = owner.get(really[name])
        if other is not None and name < other and really.get(other) == wanted[name] != wanted[other]:
            result.swapped.append((name, other))
            result.changed.pop(name, None)
            result.changed.pop(other, None)
