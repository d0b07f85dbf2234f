# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prune: reclaim the space of what no snapshot needs.

Order of work: blocks that are needed are copied into new packs and published beside the old ones, while
writers go on. Then, alone, the index is switched to what is kept, and last what it no longer names is
deleted. Whatever is missing of this when it is killed, the next run finds by looking.
"""

from __future__ import annotations

import contextlib
import math
import os
from array import array
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Collection, Iterator, Optional

from ..effects import Clock
from . import forgotten, manifests
from .blocks import BlockReader
from .faults import DamagedError, RepositoryError
from .index import MANY_FILES, Index, publish_records
from .layout import Repository, is_digest, open_published, storing, sync_folder
from .locks import alone, maintaining
from .packs import HEADER, MAGIC, PACK_SIZE, PackWriter, Place
from .references import References
from .scrubbing import digest_fault

OWNER = ".prune"
"""Its folder in tmp/: the name of no host."""
SMALL = PACK_SIZE // 2
MANY_SMALL = 8
CHECKPOINT = 256 * 1024 * 1024
Progress = Callable[[int, int], None]


@dataclass
class Use:
    """One pack file. ``needed`` are the blocks for which it is the copy that stays: their records in the index,
    ``needed_bytes`` the room that they take."""

    pack: bytes
    size: int
    needed: array[int] = field(default_factory=lambda: array("Q"))
    needed_bytes: int = 0

    @property
    def unused_bytes(self) -> int:
        return self.size - len(MAGIC) - self.needed_bytes


@dataclass
class Pruned:
    """What was done, or would be. Bytes are those of pack files; ``freed`` is what the repository shrank by."""

    deleted: int = 0
    rewritten: int = 0
    leftovers: int = 0
    merged: bool = False
    bytes_before: int = 0
    bytes_freed: int = 0
    bytes_unused: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.deleted or self.rewritten or self.leftovers or self.merged)

    def fields(self) -> dict[str, Any]:
        return {
            "packs_deleted": self.deleted,
            "packs_rewritten": self.rewritten,
            "leftovers_deleted": self.leftovers,
            "index_merged": self.merged,
            "bytes_before": self.bytes_before,
            "bytes_freed": self.bytes_freed,
            "bytes_unused": self.bytes_unused,
        }


@dataclass
class _Known:
    """What is known from one look to the next: what is needed, which packs this run has written instead of which,
    and which copies (block, pack) of blocks that stand several times were read and are intact."""

    references: References = field(default_factory=References)
    written: set[bytes] = field(default_factory=set)
    rewritten: set[bytes] = field(default_factory=set)
    intact: set[tuple[bytes, bytes]] = field(default_factory=set)


@dataclass
class _Survey:
    """Every pack file as it stands. ``strays`` are pack files that no index names."""

    uses: list[Use]
    strays: list[tuple[Path, int]]
    index: Index

    @property
    def size(self) -> int:
        return sum(use.size for use in self.uses) + sum(size for _file, size in self.strays)

    @property
    def empty(self) -> list[Use]:
        return [use for use in self.uses if not use.needed]

    def worth_rewriting(self, max_unused: float) -> list[Use]:
        """Those with most unused bytes until at most ``max_unused`` percent are, and many small ones."""
        full = [use for use in self.uses if use.needed]
        allowed = sum(use.needed_bytes for use in full) * max_unused / 100
        unused = sum(use.unused_bytes for use in full)
        chosen = []
        for use in sorted(full, key=lambda use: (-use.unused_bytes / use.size, use.pack)):
            if unused <= allowed or not use.unused_bytes:
                break
            chosen.append(use)
            unused -= use.unused_bytes
        small = [use for use in full if use.size < SMALL and use not in chosen]
        return chosen + small if len(small) >= MANY_SMALL else chosen


def prune(
    repository: Repository,
    clock: Clock,
    *,
    max_unused: float = 5.0,
    wait: float = 60.0,
    check: bool = False,
    without: Collection[str] = (),
    but_lost: bool = False,
    progress: Optional[Progress] = None,
) -> Pruned:
    """Reclaim space; ``check`` says what would be done and writes nothing, as if the snapshots with the
    digests ``without`` were forgotten. Raises RepositoryError, also when the repository is damaged in a way
    that leaves open what is needed; or when snapshots were taken away and not forgotten, ``but_lost`` apart."""
    if repository.append_only:
        raise RepositoryError(
            "This repository is append-only: nothing may be pruned",
            where=str(repository.root),
            fix="Where that is allowed, lift it with `continuity init --append-only no`",
        )
    if math.isnan(max_unused) or max_unused < 0:
        raise RepositoryError(f"{max_unused:g} % cannot stay unused", fix="Name 0 or more")
    known = _Known()
    if check:
        survey = _survey(repository, known, without)
        _refuse_gaps(repository, but_lost)
        return _measured(survey, max_unused)
    with maintaining(repository, clock, wait):
        repository.clear_staging(OWNER)
        result = Pruned()
        survey = _survey(repository, known)
        _refuse_gaps(repository, but_lost)
        result.bytes_before = survey.size
        if survey.empty or survey.strays or survey.index.missing:
            _sweep(repository, known, clock, wait, result)
            survey = _survey(repository, known)
        chosen = survey.worth_rewriting(max_unused)
        if chosen:
            _rewrite(repository, survey.index, chosen, known, progress)
            result.rewritten = len(chosen)
            known.rewritten = {use.pack for use in chosen}
            _sweep(repository, known, clock, wait, result)
            result.deleted = max(0, result.deleted - result.rewritten)
        elif len(survey.index.files) >= MANY_FILES:
            with alone(repository, clock, wait), storing(repository.index):
                result.merged = Index(repository).merge(OWNER)
        repository.clear_staging(OWNER)
        after = _survey(repository, known)
        result.bytes_unused = sum(use.unused_bytes for use in after.uses)
        result.bytes_freed = result.bytes_before - after.size
        return result


def _measured(survey: _Survey, max_unused: float) -> Pruned:
    chosen = survey.worth_rewriting(max_unused)
    freed = sum(use.size for use in survey.empty) + sum(size for _file, size in survey.strays)
    freed += sum(use.unused_bytes for use in chosen)
    return Pruned(
        deleted=len(survey.empty),
        rewritten=len(chosen),
        leftovers=len(survey.strays),
        merged=len(survey.index.files) >= MANY_FILES or bool(survey.index.missing),
        bytes_before=survey.size,
        bytes_freed=freed,
        bytes_unused=sum(use.unused_bytes for use in survey.uses if use.needed and use not in chosen),
    )


def _survey(repository: Repository, known: _Known, without: Collection[str] = ()) -> _Survey:
    """Look at everything, snapshots that were published since the last look too. Raises RepositoryError
    when it cannot be known what is needed, or what is needed is not there."""
    published = [file for file in manifests.files(repository) if file.name[9:73] not in without]
    index = Index(repository)
    reader = BlockReader(repository, index)
    try:
        known.references.update(reader, published)
        faults = [*index.damaged, *known.references.faults]
        if faults:
            raise _unsafe(f"it is not known what is needed: {'; '.join(map(str, faults[:3]))}", repository)
        sizes = dict(pack_sizes(repository))
        uses = {pack: Use(pack, sizes[pack]) for pack in index.packs() if pack in sizes}
        lost = len(known.references.blocks) - _assign(index, known, uses, reader)
        if lost:
            raise _unsafe(f"{lost} blocks that snapshots need are missing", repository)
    finally:
        reader.close()
    strays = [(repository.pack_file(pack.hex()), size) for pack, size in sizes.items() if pack not in uses]
    return _Survey(sorted(uses.values(), key=lambda use: use.pack), strays, index)


def _assign(index: Index, known: _Known, uses: dict[bytes, Use], reader: BlockReader) -> int:
    """Give every needed block to one pack; returns how many were found. Of a block that stands several times
    an intact copy stays, where most is needed, so that a copy which a killed run has made is not made again."""
    needed = known.references.blocks
    first: dict[bytes, int] = {}
    several: dict[bytes, set[int]] = {}
    share: dict[bytes, float] = dict.fromkeys(uses, 0.0)
    for number, file in enumerate(index.files):
        for record, (digest, place) in enumerate(file):
            use = uses.get(place.pack)
            # Its pack may be missing, or cut off before it.
            if digest in needed and use is not None and place.offset + place.stored <= use.size:
                code = number << 32 | record
                before = first.setdefault(digest, code)
                # The same place may stand in two index files.
                if before != code and _record(index, before)[1] != place:
                    several.setdefault(digest, {before}).add(code)
                share[place.pack] += (HEADER.size + place.stored) / use.size

    def worth(code: int) -> tuple[bool, float, bytes, int]:
        _digest, place = _record(index, code)
        # Copied is copied, however many of its blocks stand elsewhere too: else nothing would be won by it.
        return place.pack not in known.rewritten, share[place.pack], place.pack, -place.offset

    for digest, code in first.items():
        codes = sorted(several.get(digest, ()), key=worth, reverse=True)
        best = next((one for one in codes if _is_intact(index, one, known, reader)), code)
        _digest, place = _record(index, best)
        uses[place.pack].needed.append(best)
        uses[place.pack].needed_bytes += HEADER.size + place.stored
    return len(first)


def _is_intact(index: Index, code: int, known: _Known, reader: BlockReader) -> bool:
    digest, place = _record(index, code)
    if place.pack not in known.written and (digest, place.pack) not in known.intact:
        try:
            reader.at(digest, place)
        except DamagedError:
            # Another copy stays instead. If there is none, nothing gets worse, and scrub names the block.
            return False
        known.intact.add((digest, place.pack))
    return True


def _record(index: Index, code: int) -> tuple[bytes, Place]:
    return index.files[code >> 32].record(code & 0xFFFFFFFF)


def _rewrite(
    repository: Repository, index: Index, chosen: list[Use], known: _Known, progress: Optional[Progress]
) -> None:
    """Copy what is needed into new packs and publish those; payloads are copied as they stand."""
    packs = PackWriter(repository, OWNER)
    since = done = 0

    def publish() -> None:
        packs.flush()
        packs.sync()
        if packs.published:
            publish_records(repository, packs.published, OWNER)
        known.written.update(place.pack for _digest, place in packs.published)
        packs.published.clear()

    with closing(BlockReader(repository, index)) as reader, closing(packs), storing(repository.root):
        for number, use in enumerate(sorted(chosen, key=lambda use: use.pack)):
            file = repository.pack_file(use.pack.hex())
            if digest_fault(file, use.pack)[1]:
                raise _unsafe("a pack file was changed", repository, str(file))
            with open(open_published(file), "rb", buffering=0) as stream:
                for digest, place in sorted((_record(index, one) for one in use.needed), key=lambda one: one[1].offset):
                    payload = os.pread(stream.fileno(), place.stored, place.offset)
                    # Its pack is as it was written; but only a block that is what it says is worth keeping.
                    reader.plain(digest, place, payload)
                    packs.add(digest, place.length, place.compression, payload, place.encryption)
                    since += len(payload)
                    if since >= CHECKPOINT:
                        publish()
                        since = 0
            done += use.size
            if progress:
                progress(number + 1, done)
        publish()


def _sweep(repository: Repository, known: _Known, clock: Clock, wait: float, result: Pruned) -> None:
    """Alone: switch the index to the packs in which something is needed, then delete the others."""
    with alone(repository, clock, wait), storing(repository.root):
        survey = _survey(repository, known)
        index, doomed = survey.index, {use.pack for use in survey.empty}
        gone = doomed | index.missing
        touched = [file for file in index.files if gone.intersection(file.packs)]
        if touched:
            index.replace(touched, gone, OWNER)
        for file in [repository.pack_file(pack.hex()) for pack in sorted(doomed)] + [one for one, _s in survey.strays]:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        for folder in {repository.pack_file(pack.hex()).parent for pack in doomed}:
            sync_folder(folder)
        merged = Index(repository).merge(OWNER)
        result.merged = result.merged or merged or bool(index.missing)
        _clear_staging(repository)
    result.deleted += len(doomed)
    result.leftovers += len(survey.strays)


def _clear_staging(repository: Repository) -> None:
    """What killed writers left in tmp/: nobody is writing now."""
    for name in os.listdir(repository.root / "tmp"):
        if not name.startswith((".", "init-")):
            repository.clear_staging(name)


def pack_sizes(repository: Repository) -> Iterator[tuple[bytes, int]]:
    """(pack, bytes) of every pack file, whether an index names it or not."""
    for file in repository.packs.glob("??/*.pack"):
        if is_digest(file.name[:64]):
            with contextlib.suppress(FileNotFoundError):
                yield bytes.fromhex(file.name[:64]), file.stat().st_size


def _refuse_gaps(repository: Repository, allowed: bool) -> None:
    """What was taken away may come back from a copy, and then needs its blocks."""
    for host in () if allowed else sorted({file.parent.name for file in manifests.files(repository)}):
        faults = manifests.chain_faults(manifests.readable(repository, host)[0], forgotten.read(repository, host))
        if faults:
            raise RepositoryError(
                f"Prune deletes nothing while snapshots are missing that nobody has forgotten: {'; '.join(faults)}",
                where=str(repository.manifests / host),
                fix="Heal it from a copy; where none has them, accept the loss with `continuity forget --lost`",
            )


def _unsafe(why: str, repository: Repository, where: Optional[str] = None) -> DamagedError:
    return DamagedError(
        f"Prune does not touch a damaged repository: {why}",
        where=where or str(repository.root),
        fix="Run scrub and heal, or forget the damaged snapshots by name",
    )
