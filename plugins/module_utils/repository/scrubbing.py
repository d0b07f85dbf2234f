# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrub: every byte of the repository against its digest; what is damaged, and whom it touches."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Collection, Iterator, Mapping, NamedTuple, Optional, Sequence

from . import forgotten, manifests, pins
from .blocks import BlockReader
from .faults import DamagedError, RepositoryError
from .index import Index
from .layout import Repository, is_digest, is_host, open_published
from .packs import Place
from .references import References, needing

WORKERS = 2
EVERYTHING = "(everything: its manifest is damaged)"
_PIECE = 1024 * 1024
_SHARE = re.compile(r"([1-9]\d{0,4})/([1-9]\d{0,4})")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Share:
    """Part ``number`` (from 1) of ``of`` parts of the packs. Which pack is in which part never changes."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        found = _SHARE.fullmatch(text)
        if found is None or int(found.group(1)) > int(found.group(2)):
            raise RepositoryError(f"{text!r} is not a share", fix="Write it like 1/7, 2/7 … 7/7")
        return cls(int(found.group(1)), int(found.group(2)))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, pack: bytes) -> bool:
        return int.from_bytes(pack[:8], "big") % self.of == self.number - 1


WHOLE = Share()


@dataclass(frozen=True)
class Damage:
    """One damaged thing. ``kind`` is one of ``config index manifest forgotten pin pack chain head blocks``,
    ``where`` is relative to the repository."""

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"

    def fields(self) -> dict[str, str]:
        return {"kind": self.kind, "where": self.where, "what": self.what}


@dataclass
class Scrubbed:
    """What was found. ``touched`` maps the id of a snapshot to the paths (encoded) that need what is lost;
    ``lost`` are the blocks of which no intact copy is left, ``sound`` the packs that were read and are. ``unopened``
    says why nothing can be said of whom it touches (no key)."""

    damages: list[Damage] = field(default_factory=list)
    touched: dict[str, list[str]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    lost: set[bytes] = field(default_factory=set)
    bad_packs: set[bytes] = field(default_factory=set)
    sound: set[bytes] = field(default_factory=set)
    unopened: str = ""
    files: int = 0
    bytes: int = 0

    def note(self, kind: str, where: str, what: str) -> None:
        self.damages.append(Damage(kind, where, what))

    def fields(self) -> dict[str, Any]:
        return {
            "damaged": [damage.fields() for damage in self.damages],
            "touched": self.touched,
            "unused": self.unused,
            "unopened": self.unopened,
            "scrubbed": {"files": self.files, "bytes": self.bytes},
        }


class Head(NamedTuple):
    """The end of a host's chain, as somebody saw it."""

    sequence: int
    digest: str


def scrub(
    root: Path,
    *,
    identity_files: Sequence[str] = (),
    share: Share = WHOLE,
    checked: Collection[bytes] = (),
    heads: Optional[Mapping[str, Head]] = None,
    seen: Callable[[bytes, int], None] = lambda pack, size: None,
) -> Scrubbed:
    """Read everything small, and the packs of a share except those ``checked`` before. ``seen`` is told each
    pack that is sound, and its size. Takes no lock and writes nothing."""
    result = Scrubbed()
    repository = _opened(root, identity_files, result)
    _manifests(repository, heads or {}, result)
    _pins(repository, result)
    published = manifests.files(repository)
    index = Index(repository)
    for fault in index.damaged:
        result.note("index", _relative(repository, fault.where or ""), fault.what)
    _count(result, repository.index.glob("*.index"))
    _packs(repository, index, share, checked, result, seen)
    _blocks(repository, index, published, result)
    return result


def heads_of(repository: Repository) -> dict[str, Head]:
    """The end of every host's chain. Raises DamagedError."""
    found = {}
    for host in _hosts(repository):
        sequence, digest = manifests.head(repository, host)
        if digest is not None:
            found[host] = Head(sequence, digest)
    return found


def _hosts(repository: Repository) -> list[str]:
    """What else lies in the folder (``lost+found``) is no host's."""
    return sorted(one.name for one in manifests.folders(repository) if one.is_dir() and is_host(one.name))


def _opened(root: Path, identity_files: Sequence[str], result: Scrubbed) -> Repository:
    """The repository, even when its config.json is damaged: the names of files vouch for them without it."""
    _count(result, [root / "config.json"])
    try:
        return Repository.open(str(root), identity_files)
    except DamagedError as fault:
        result.note("config", "config.json", fault.what)
        return Repository(root, {"id": "", "features": []})


def _manifests(repository: Repository, heads: Mapping[str, Head], result: Scrubbed) -> None:
    for host in sorted({*_hosts(repository), *filter(is_host, heads)}):
        good, bad = manifests.readable(repository, host)
        for fault in bad:
            file = Path(fault.where or "")
            result.note("manifest", _relative(repository, str(file)), fault.what)
            result.touched[file.name[9:21]] = [EVERYTHING]
        lines = forgotten.file_of(repository, host)
        _count(result, [*manifests.files(repository, host), lines])
        dropped: list[forgotten.Forgotten] = []
        try:
            dropped = forgotten.read(repository, host)
        except DamagedError as fault:
            result.note("forgotten", _relative(repository, str(lines)), f"{fault.what} ({fault.where})")
        where = f"manifests/{host}"
        for what in manifests.chain_faults(good, dropped):
            result.note("chain", where, what)
        there = {**{one.sequence: one.digest for one in dropped}, **{one.sequence: one.digest for one in good}}
        head = heads.get(host)
        if head is not None and there.get(head.sequence) != head.digest:
            result.note(
                "head",
                where,
                f"snapshot {head.digest[: manifests.ID_LENGTH]} (number {head.sequence}), which was seen before, "
                + ("is another one now" if head.sequence in there else "is gone: the repository was put back"),
            )


def _pins(repository: Repository, result: Scrubbed) -> None:
    for file in sorted(repository.pins.glob("*.json")):
        what = pins.fault(file) if is_digest(file.stem) else ""
        if what and file.exists():
            result.note("pin", _relative(repository, str(file)), what)
        _count(result, [file])


def _packs(
    repository: Repository,
    index: Index,
    share: Share,
    checked: Collection[bytes],
    result: Scrubbed,
    seen: Callable[[bytes, int], None],
) -> None:
    there = {bytes.fromhex(file.stem): file for file in repository.packs.glob("??/*.pack") if is_digest(file.stem)}
    named = index.packs()
    result.unused = sorted(_relative(repository, str(file)) for pack, file in there.items() if pack not in named)
    for pack in sorted(index.missing):
        result.bad_packs.add(pack)
        result.note("pack", _relative(repository, str(repository.pack_file(pack.hex()))), "The pack file is missing")
    wanted = sorted(pack for pack in there if share.holds(pack) and pack not in checked)
    with ThreadPoolExecutor(WORKERS) as pool:
        for pack, (size, what) in zip(wanted, pool.map(lambda pack: digest_fault(there[pack], pack), wanted)):
            result.files += 1
            result.bytes += size
            if not what:
                result.sound.add(pack)
                seen(pack, size)
            elif there[pack].exists() or (not index.refresh() and pack in index.packs()):
                result.bad_packs.add(pack)
                result.note("pack", _relative(repository, str(there[pack])), what)


def digest_fault(file: Path, digest: bytes) -> tuple[int, str]:
    """(bytes read, what is wrong with a file that is named by its SHA-256)."""
    sha256, size = hashlib.sha256(), 0
    try:
        with open(open_published(file), "rb", buffering=0) as stream:
            while piece := stream.read(_PIECE):
                sha256.update(piece)
                size += len(piece)
    except OSError as error:
        return size, f"It cannot be read: {error.strerror}"
    return size, "" if sha256.digest() == digest else "The pack file was changed"


def _blocks(repository: Repository, index: Index, published: Sequence[Path], result: Scrubbed) -> None:
    """Whom the damage touches: blocks that snapshots need and of which no intact copy is left."""
    reader = BlockReader(repository, index)
    references = References()
    try:
        references.update(reader, published)
        result.lost = references.blocks - set(intact(index, reader, references.blocks, result.bad_packs))
        if result.lost or references.faults:
            result.touched.update(needing(reader, manifests.readable(repository)[0], result.lost))
    except DamagedError:
        raise
    except RepositoryError as fault:
        # It is encrypted, and nobody gave the key: digests say what is damaged, but not whom it touches.
        result.unopened = str(fault)
    finally:
        reader.close()
    explained = {damage.kind for damage in result.damages} & {"pack", "index", "config"}
    if result.lost and not explained:
        result.note("blocks", "index", f"{len(result.lost)} blocks that snapshots need are in no pack that it names")


def intact(
    index: Index, reader: BlockReader, wanted: Collection[bytes], bad_packs: Collection[bytes]
) -> Iterator[bytes]:
    """Those of the wanted blocks that can be had: they stand in a pack that is not bad, or are intact in one
    that is."""
    doubtful: dict[bytes, list[Place]] = {}
    sound: set[bytes] = set()
    for file in index.files:
        for digest, place in file:
            if digest in wanted and digest not in sound:
                if place.pack in bad_packs:
                    doubtful.setdefault(digest, []).append(place)
                else:
                    sound.add(digest)
    yield from sound
    for digest in doubtful.keys() - sound:
        try:
            reader.read(digest)
        except DamagedError:
            continue
        yield digest


def _count(result: Scrubbed, files: Any) -> None:
    for file in files:
        try:
            result.bytes += os.stat(file).st_size
            result.files += 1
        except FileNotFoundError:
            # It was replaced or forgotten since it was listed, or is reported as missing.
            continue


def _relative(repository: Repository, file: str) -> str:
    return os.path.relpath(file, repository.root) if file else "index"
