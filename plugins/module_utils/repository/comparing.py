# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare: does a tree still hold what was taken?"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import Any, Iterator

from ..source import Found, Skipped, Source, plain
from . import paths
from .blocks import BlockReader, entries_of
from .entries import Entry
from .manifests import Manifest

DUMPED = frozenset({"postgresql", "redis"})
"""Kinds of content that no file on the host holds: a server was asked for it."""
_PIECE = 1024 * 1024


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
        if entry.kind in DUMPED:
            continue
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
