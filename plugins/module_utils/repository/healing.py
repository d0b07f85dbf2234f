# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Heal: what scrub found damaged is replaced from wherever a good copy is left.

Order of work, so that it can be killed at any moment: small files one by one; whole packs; blocks of which
no intact copy is left into new packs; and last, alone, the index is switched and packs that nobody needs any
more go to quarantine. Without ``apply`` everything is looked for and nothing is written.
"""

from __future__ import annotations

import contextlib
import json
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, Union

from ..effects import Clock
from ..journal import chain
from ..journal.chain import GENESIS, Entry
from . import forgotten, manifests, pins
from .blocks import BlockReader
from .faults import DamagedError
from .good_copies import MOST, GoodCopy, live_blocks, mended
from .index import Index, IndexFile
from .layout import (
    Repository,
    canonical,
    is_digest,
    make_folder,
    read_published,
    sha256,
    storing,
    sync_folder,
    timestamp,
)
from .locks import alone, writing
from .packs import Place, scan
from .references import References
from .scrubbing import Damage, Head, Scrubbed, digest_fault
from .storing import BlockSink, Measurement, Storage

OWNER = ".heal"
"""Its folder in tmp/: the name of no host."""
MENDED = "itself, one bit turned back"
ROUNDS = 8
"""A list of entries that comes back may name further blocks that are lost."""


@dataclass
class Healed:
    """What was replaced: where, and from what. ``quarantined`` are damaged files that were set aside."""

    replaced: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)
    quarantined: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.replaced or self.blocks or self.quarantined)

    def fields(self) -> dict[str, Any]:
        return {"replaced": self.replaced, "blocks": self.blocks, "quarantined": self.quarantined}


class Healing:
    """One run over what one scrub found. The caller holds the maintenance lock, if it is to ``apply``."""

    def __init__(self, root: Path, copies: Sequence[GoodCopy], clock: Clock, *, live: bool, apply: bool) -> None:
        self._root, self._copies, self._clock = root, copies, clock
        self._live, self._apply = live, apply
        self.result = Healed()

    def config(self, found: Scrubbed) -> None:
        """The one file without which the repository cannot be opened."""
        for damage in found.damages:
            if damage.kind == "config" and not self._file(damage.where, _config_sound):
                self._config_of_a_copy()

    def _config_of_a_copy(self) -> None:
        """Of a copy of this very repository: they have a snapshot or a pack in common."""
        ours = [
            _where(self._root, file)
            for pattern in ("manifests/*/*-*.json", "packs/??/*.pack")
            for file in sorted(self._root.glob(pattern))
        ]
        for copy in self._copies:
            content = copy.file("config.json")
            if content and _config_sound(content) and (not ours or any(copy.file(name) for name in ours)):
                self._replace(self._root / "config.json", content, copy.name)
                return

    def small_files(self, repository: Repository, found: Scrubbed, wait: float) -> None:
        """Manifests, index files, pins, forgotten lines; manifests that the chain says were taken away."""
        for damage in found.damages:
            if damage.kind in ("manifest", "index"):
                name = Path(damage.where).stem[-64:]
                self._file(damage.where, _named(name))
            elif damage.kind == "pin":
                self._pin(repository, damage)
            elif damage.kind == "forgotten":
                with self._turn(repository, Path(damage.where).parent.name, wait):
                    self._forgotten(self._root / damage.where)
        for host in sorted({Path(damage.where).name for damage in found.damages if damage.kind == "chain"}):
            with self._turn(repository, host, wait):
                self._forgotten(forgotten.file_of(repository, host))
            self._chain(repository, host)

    def heads(self, repository: Repository, noted: Mapping[str, Head], wait: float) -> None:
        """The newest snapshots as somebody noted them, where nothing has taken their place."""
        for host, head in sorted(noted.items()):
            with self._turn(repository, host, wait):
                sequence, _digest = manifests.head(repository, host)
                where = f"manifests/{host}/{head.sequence:08d}-{head.digest}.json"
                if sequence < head.sequence and self._file(where, _named(head.digest)) and self._apply:
                    self._chain(repository, host)

    def packs(self, repository: Repository, found: Scrubbed, wait: float) -> None:
        """Packs, index and blocks."""
        # An index file that is whole again may name packs of which scrub could not know.
        bad = found.bad_packs | Index(repository).missing
        for pack in sorted(bad):
            where = _where(self._root, repository.pack_file(pack.hex()))
            if self._file(where, _named(pack.hex())):
                bad.discard(pack)
        if found.unopened:
            # Without the key nothing can be said of single blocks.
            return
        damaged_index = [damage for damage in found.damages if damage.kind == "index"]
        lost_index = [damage for damage in damaged_index if damage.where not in self.result.replaced]
        if lost_index or found.lost:
            if self._apply:
                for damage in lost_index:
                    self._set_aside(self._root / damage.where)
            self._index_of_unnamed(repository, bad)
        for _round in range(ROUNDS):
            if not self._blocks(repository, bad):
                break
        self._switch(repository, bad, [damage.where for damage in lost_index], wait)

    def _turn(self, repository: Repository, host: str, wait: float) -> AbstractContextManager[None]:
        return writing(repository, host, self._clock, wait) if self._apply else nullcontext()

    def _file(self, where: str, sound: Callable[[bytes], bool]) -> bool:
        """Replace one file by a content that is sound: another copy's, or its own with one bit turned back."""
        file = self._root / where
        for copy in self._copies if where != "config.json" else ():
            there = copy.file(where)
            if there is not None and sound(there):
                self._replace(file, there, copy.name)
                return True
        with contextlib.suppress(OSError):
            content = mended(read_published(file, MOST), sound)
            if content is not None:
                self._replace(file, content, MENDED)
                return True
        return False

    def _replace(self, file: Path, content: bytes, source: str) -> None:
        self.result.replaced[_where(self._root, file)] = source
        if not self._apply:
            return
        with storing(file):
            self._set_aside(file)
            _publish(self._root, file, content)

    def _set_aside(self, file: Path, remove: bool = False) -> None:
        """Keep a damaged file in quarantine/; it stays where it is until something better is renamed over it."""
        if not os.path.lexists(file):
            return
        folder = self._root / "quarantine"
        make_folder(folder)
        since = timestamp(self._clock.now()).replace(":", "").replace(".", "")
        aside = folder / f"{since}-{_where(self._root, file).replace('/', '-')}"
        with contextlib.suppress(FileExistsError):
            os.link(file, aside, follow_symlinks=False)
        sync_folder(folder)
        self.result.quarantined.append(_where(self._root, aside))
        if remove:
            file.unlink()
            sync_folder(file.parent)

    def _pin(self, repository: Repository, damage: Damage) -> None:
        file = self._root / damage.where

        def sound(content: bytes) -> bool:
            return not pins.content_fault(content, file.stem)

        if not self._file(damage.where, sound):
            # That it is there is what counts, and its name says of whom.
            hosts = [one.parent.name for one in manifests.files(repository) if one.name[9:73] == file.stem]
            document = {"host": hosts[0] if hosts else "", "since": timestamp(self._clock.now()), "snapshot": file.stem}
            content = canonical({**document, "sha256": sha256(canonical(document))})
            self._replace(file, content, "its own name")

    def _forgotten(self, file: Path) -> None:
        """Lines vouch for themselves and for the one before: ours, with those of copies where ours are lost."""
        ours: list[bytes] = []
        with contextlib.suppress(OSError):
            ours = read_published(file, MOST).splitlines(keepends=True)
        sources = [("", ours)]
        broken = [line for line in ours if _entry(line) is None]
        if len(broken) == 1:
            line = mended(broken[0], lambda tried: _entry(tried) is not None)
            sources.append((MENDED, [line] if line else []))
        for copy in self._copies:
            sources.append((copy.name, (copy.file(_where(self._root, file)) or b"").splitlines(keepends=True)))
        following: dict[str, tuple[str, bytes, str]] = {}
        for name, lines in sources:
            for line in lines:
                entry = _entry(line)
                if entry is not None:
                    following.setdefault(entry["previous"], (name, line, entry["hash"]))
        whole: list[bytes] = []
        used: set[str] = set()
        last = GENESIS
        while last in following:
            name, line, last = following.pop(last)
            whole.append(line)
            used.add(name)
        content = b"".join(whole)
        kept = {line for line in ours if _entry(line) is not None} <= set(whole)
        if used - {""} and kept and content != b"".join(ours):
            self._replace(file, content, ", ".join(sorted(used - {""})))

    def _chain(self, repository: Repository, host: str) -> None:
        """Manifests that are gone, from copies: each is named by the one that follows it."""
        try:
            dropped = {line.sequence: line.previous for line in forgotten.read(repository, host)}
        except DamagedError:
            # Nothing can be said of gaps before this list is whole again.
            return
        follows = {one.sequence: one.previous for one in manifests.readable(repository, host)[0]}
        links = {**dropped, **follows}
        wanted = [(sequence - 1, digest) for sequence, digest in links.items() if digest and sequence - 1 not in links]
        while wanted:
            sequence, digest = wanted.pop()
            where = f"manifests/{host}/{sequence:08d}-{digest}.json"
            if self._file(where, _named(digest)) and self._apply:
                previous = manifests.load(self._root / where).previous
                if previous and sequence - 1 not in links:
                    wanted.append((sequence - 1, previous))

    def _index_of_unnamed(self, repository: Repository, bad: set[bytes]) -> None:
        """An index for packs that no intact index file names."""
        index = Index(repository)
        named = index.packs()
        found: list[tuple[bytes, Place]] = []
        for pack, file in sorted(_pack_files(repository).items()):
            if pack in named:
                continue
            if pack not in bad and digest_fault(file, pack)[1]:
                bad.add(pack)
            try:
                found.extend(scan(file))
            except DamagedError:
                # What could be read of it so far is kept; every block is checked when it is used.
                bad.add(pack)
        if found and self._apply:
            with storing(repository.index):
                index.publish(found, OWNER)
        if found:
            self.result.replaced.setdefault("index", f"the headers of {len({place.pack for _d, place in found})} packs")

    def _blocks(self, repository: Repository, bad: set[bytes]) -> bool:
        """Store every block that is needed and stands in no good pack, as far as it is found; whether that
        may have brought back lists of entries that name more."""
        published = manifests.files(repository)
        index, to_store = Index(repository), Index(repository)
        reader = BlockReader(repository, index)
        # For storing, what stands in a bad pack is not there.
        to_store.missing |= bad
        storage: Union[Storage, Measurement] = (
            Storage(repository, to_store, OWNER) if self._apply else Measurement(repository, to_store)
        )
        references = References()
        try:
            references.update(reader, published)
            standing = {digest for file in index.files for digest, place in file if place.pack in bad}
            moving = [digest for digest in sorted(standing | references.blocks) if digest not in to_store]
            lost = self._store(moving, reader, storage, references.blocks)
            if lost and self._live:
                for digest, plain, path in live_blocks(repository, index, reader, lost):
                    self._keep(plain, storage, f"the file {path}")
                    lost.discard(digest)
            if self._apply:
                storage.publish()
            return bool(self._apply and references.faults and storage.new_blocks)
        finally:
            storage.close()
            reader.close()

    def _store(
        self, moving: Sequence[bytes], reader: BlockReader, storage: BlockSink, needed: set[bytes]
    ) -> set[bytes]:
        """Store again what is intact in bad packs, and what other copies have; returns what is still lost."""
        lost = set()
        for digest in moving:
            try:
                self._keep(reader.read(digest), storage, "what is intact of damaged packs")
                continue
            except DamagedError:
                if digest not in needed:
                    continue
            for copy in self._copies:
                plain = copy.block(digest)
                if plain is not None and storage.kept.name(plain) == digest:
                    self._keep(plain, storage, copy.name)
                    break
            else:
                lost.add(digest)
        return lost

    def _keep(self, plain: bytes, storage: BlockSink, source: str) -> None:
        self.result.blocks[source] = self.result.blocks.get(source, 0) + 1
        if self._apply:
            storage.add(storage.prepare(plain))

    def _switch(self, repository: Repository, bad: set[bytes], lost_index: Sequence[str], wait: float) -> None:
        """Alone: the index loses the bad packs in which nothing is left that is needed, and they go."""
        if not self._apply or not (bad or lost_index):
            return
        with alone(repository, self._clock, wait), storing(repository.root):
            published = manifests.files(repository)
            index = Index(repository)
            reader = BlockReader(repository, index)
            references = References()
            try:
                references.update(reader, published)
                gone = _replaceable(index, references, bad)
            finally:
                reader.close()
            touched: list[IndexFile] = [file for file in index.files if gone.intersection(file.packs)]
            if touched:
                index.replace(touched, gone, OWNER)
            for pack in sorted(gone):
                self._set_aside(repository.pack_file(pack.hex()), remove=True)
            known = Index(repository).packs()
            if _pack_files(repository).keys() <= known:
                # Every pack has its place in another index file: the damaged ones tell nothing more.
                for where in lost_index:
                    file = self._root / where
                    # What was made from the packs may be the very same file.
                    if file.exists() and (not is_digest(file.stem) or digest_fault(file, bytes.fromhex(file.stem))[1]):
                        file.unlink()
                sync_folder(repository.index)


def _pack_files(repository: Repository) -> dict[bytes, Path]:
    """The pack files by their names; other files may lie there too."""
    files = repository.packs.glob("??/*.pack")
    return {bytes.fromhex(file.stem): file for file in files if is_digest(file.stem)}


def _replaceable(index: Index, references: References, bad: set[bytes]) -> set[bytes]:
    """The bad packs of which every block that is needed stands in a good one, too."""
    needed_there: dict[bytes, set[bytes]] = {}
    good: set[bytes] = set()
    for file in index.files:
        for digest, place in file:
            if digest in references.blocks:
                if place.pack in bad:
                    needed_there.setdefault(place.pack, set()).add(digest)
                else:
                    good.add(digest)
    unknown = references.blocks - good - set().union(*needed_there.values())
    if references.faults or unknown:
        # What else is needed, or where it stood, is not known: nothing is set aside.
        return set()
    return {pack for pack in bad if needed_there.get(pack, set()) <= good}


def _named(digest: str) -> Callable[[bytes], bool]:
    return lambda content: sha256(content) == digest


def _config_sound(content: bytes) -> bool:
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(config, dict) or content != canonical(config):
        return False
    bare = {key: value for key, value in config.items() if key != "sha256"}
    return config.get("sha256") == sha256(canonical(bare))


def _entry(line: bytes) -> Optional[Entry]:
    """What a line of a chain says, if it is whole and its own hash is right."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not isinstance(entry.get("previous"), str):
            return None
        sound = chain.canonical(entry).encode() + b"\n" == line and entry.get("hash") == chain.digest(entry)
    except (ValueError, RecursionError):
        # No JSON, or numbers that JSON does not have.
        return None
    return entry if sound else None


def _publish(root: Path, file: Path, content: bytes) -> None:
    """Like ``Repository.publish``, also while there is no repository that could be opened."""
    Repository(root, {"id": "", "features": []}).publish(file, content, OWNER)


def _where(root: Path, file: Path) -> str:
    return str(file.relative_to(root))
