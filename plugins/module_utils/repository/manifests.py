# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what makes a snapshot exist, and the chain that ties them (docs/snapshot-format.md, section 5)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Collection, Mapping, NamedTuple, Optional, Sequence

from .faults import DamagedError, RepositoryError
from .layout import Repository, canonical, check_host, is_digest, read_published, sha256

if TYPE_CHECKING:
    from .forgotten import Forgotten

FORMAT = "fleetops.continuity manifest"
VERSION = 1
ID_LENGTH = 12
LARGEST = 1 << 26
_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.json")
_COUNTED = ("files", "directories", "symlinks", "fifos", "bytes")


@dataclass(frozen=True)
class Segment:
    """One block of entries: its digest, its number of lines, the path of its first entry (encoded)."""

    block: bytes
    count: int
    first: str


@dataclass(frozen=True)
class Manifest:
    """One snapshot. ``digest`` is the SHA-256 of the manifest's own bytes (hexadecimal)."""

    digest: str
    host: str
    sequence: int
    previous: Optional[str]
    time: str
    parent: Optional[str]
    restore_point: Optional[str]
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    exclude: tuple[str, ...]
    segments: tuple[Segment, ...]
    totals: Mapping[str, int]
    problems: tuple[Mapping[str, str], ...]

    @property
    def id(self) -> str:
        return self.digest[:ID_LENGTH]

    def document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "host": self.host,
            "sequence": self.sequence,
            "previous": self.previous,
            "time": self.time,
            "parent": self.parent,
            "restore_point": self.restore_point,
            "tags": list(self.tags),
            "sources": list(self.sources),
            "exclude": list(self.exclude),
            "entries": [
                {"block": segment.block.hex(), "count": segment.count, "first": segment.first}
                for segment in self.segments
            ],
            "totals": dict(self.totals),
            "problems": [dict(problem) for problem in self.problems],
        }


def describe(manifest: Manifest, pinned: Collection[str] = ()) -> dict[str, Any]:
    """A snapshot as modules and the command line show it; ``pinned`` are digests of those that are."""
    return {
        "id": manifest.id,
        "digest": manifest.digest,
        "host": manifest.host,
        "sequence": manifest.sequence,
        "time": manifest.time,
        "restore_point": manifest.restore_point,
        "tags": list(manifest.tags),
        "pinned": manifest.digest in pinned,
        "sources": list(manifest.sources),
        "totals": dict(manifest.totals),
        "problems": [dict(problem) for problem in manifest.problems],
    }


def publish(repository: Repository, document: Mapping[str, Any]) -> Manifest:
    """Publish a snapshot; its blocks are published already. The caller holds the host's lock."""
    content = canonical(document)
    digest = sha256(content)
    folder = repository.manifests / check_host(document["host"])
    repository.publish(folder / f"{document['sequence']:08d}-{digest}.json", content, document["host"])
    return _parse(content, digest, folder)


def load(file: Path) -> Manifest:
    """Read one manifest. Raises DamagedError when it is not what its name says."""
    named = _NAME.fullmatch(file.name)
    try:
        content = read_published(file, LARGEST)
    except OSError as error:
        raise DamagedError(f"The manifest cannot be read: {error.strerror}", where=str(file)) from error
    if named is None or sha256(content) != named.group(2):
        raise DamagedError("The manifest was changed", where=str(file))
    manifest = _parse(content, named.group(2), file)
    if manifest.sequence != int(named.group(1)) or manifest.host != file.parent.name:
        raise DamagedError("The manifest stands under another name than its own", where=str(file))
    return manifest


def folders(repository: Repository) -> list[Path]:
    """What lies in the folder of all manifests: one folder for each host. Raises DamagedError when it is gone, for then
    nothing would tell that there ever was a snapshot."""
    try:
        return sorted(repository.manifests.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedError(
            "The folder of all snapshots is missing",
            where=str(repository.manifests),
            fix="Copy it back from a copy of the repository; if there never was a snapshot, make it",
        ) from error


def files(repository: Repository, host: Optional[str] = None) -> list[Path]:
    """The manifest files, hosts by name, each host's in their order."""
    there = folders(repository)
    chosen = [repository.manifests / check_host(host)] if host else there
    return [file for folder in chosen for file in sorted(folder.glob("*.json")) if _NAME.fullmatch(file.name)]


def newest(repository: Repository, host: str) -> Optional[Manifest]:
    found = files(repository, host)
    return load(found[-1]) if found else None


def file_of(repository: Repository, manifest: Manifest) -> Path:
    return repository.manifests / manifest.host / f"{manifest.sequence:08d}-{manifest.digest}.json"


def head(repository: Repository, host: str) -> tuple[int, Optional[str]]:
    """(sequence, digest) of the end of a host's chain, dropped or not; (0, None) before the first."""
    from . import forgotten

    # The name alone: a damaged manifest is still the one before.
    named = [(int(file.name[:8]), file.name[9:73]) for file in files(repository, host)]
    try:
        dropped = [(line.sequence, line.digest) for line in forgotten.read(repository, host)]
    except DamagedError:
        # Verify names it. It must not keep a snapshot from being taken while the end of the chain is there.
        if not named:
            raise
        dropped = []
    return max(named + dropped, default=(0, None))


def readable(repository: Repository, host: Optional[str] = None) -> tuple[list[Manifest], list[DamagedError]]:
    """Every snapshot that can be read, and what is wrong with the others."""
    good, bad = [], []
    for file in files(repository, host):
        try:
            good.append(load(file))
        except DamagedError as error:
            # One that was forgotten since it was listed is not damaged.
            if file.exists():
                bad.append(error)
    return good, bad


def find(repository: Repository, name: str, host: Optional[str] = None) -> Manifest:
    """The one snapshot that ``name`` names: ``latest``, the start of an id, or a restore point.

    Raises RepositoryError when there is none, or more than one.
    """
    listed = files(repository, host)
    if name != "latest" and re.fullmatch(r"[0-9a-f]{4,64}", name):
        chosen = [file for file in listed if file.name[9:].startswith(name)]
        found = [load(file) for file in chosen]
    elif name == "latest":
        # A host's newest is the last of its chain, whatever its clock said; hosts are compared by time.
        newest_of = {file.parent.name: file for file in listed}
        found = sorted(map(load, newest_of.values()), key=lambda manifest: manifest.time)[-1:]
    else:
        found = [manifest for manifest in readable(repository, host)[0] if manifest.restore_point == name]
    if len(found) != 1:
        reason = "There is no" if not found else f"{len(found)} hosts or snapshots match: no single"
        raise RepositoryError(
            f"{reason} snapshot {name!r}" + (f" of {host}" if host else ""),
            where=str(repository.root),
            fix="`continuity snapshots` lists what there is",
        )
    return found[0]


class _Link(NamedTuple):
    """One of a host's chain. ``lost``: what came before it is unknown; its digest may be, too."""

    sequence: int
    digest: Optional[str]
    previous: Optional[str]
    lost: bool = False


def chain_faults(manifests: Sequence[Manifest], dropped: Sequence[Forgotten] = ()) -> list[str]:
    """What breaks the chain of one host's manifests. ``dropped`` are the lines of its forgotten ones; a line
    counts only where no manifest stands."""
    host = manifests[0].host if manifests else "a host of which nothing is left"
    faults = []
    before = _Link(0, None, None)
    for link in _chain(manifests, dropped):
        expected = before.sequence + 1
        if link.sequence > expected:
            gone = f"{expected}" if link.sequence == expected + 1 else f"{expected} to {link.sequence - 1}"
            faults.append(f"{host}: snapshot number {gone} was taken away")
        elif link.sequence < expected:
            faults.append(f"{host}: two snapshots have the number {link.sequence}")
        elif not link.lost and link.previous != before.digest and not (before.lost and before.digest is None):
            faults.append(
                f"{host}: snapshot {(link.digest or '')[:ID_LENGTH]} (number {link.sequence}) does not follow the one "
                "before it"
            )
        before = link
    return faults


def taken_away(manifests: Sequence[Manifest], dropped: Sequence[Forgotten] = ()) -> list[tuple[int, Optional[str]]]:
    """(number, digest) of every snapshot that is missing before others of one host; only the one after it knows
    its digest."""
    missing: list[tuple[int, Optional[str]]] = []
    last = 0
    for link in _chain(manifests, dropped):
        numbers = range(last + 1, link.sequence)
        missing += [(number, link.previous if number == numbers[-1] else None) for number in numbers]
        last = link.sequence
    return missing


def _chain(manifests: Sequence[Manifest], dropped: Sequence[Forgotten]) -> list[_Link]:
    there = {manifest.sequence for manifest in manifests}
    links = [_Link(one.sequence, one.digest, one.previous) for one in manifests]
    links += [_Link(one.sequence, one.digest, one.previous, one.lost) for one in dropped if one.sequence not in there]
    return sorted(links, key=lambda link: link.sequence)


def _parse(content: bytes, digest: str, where: Path) -> Manifest:
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise DamagedError("This is not a manifest", where=str(where))
        if document["version"] != VERSION:
            raise RepositoryError(
                f"Manifest version {document['version']!r} is unknown",
                where=str(where),
                fix="Use a newer fleetops.continuity",
            )
        manifest = Manifest(
            digest=digest,
            host=_text(document["host"]),
            sequence=_count(document["sequence"]),
            previous=_link(document["previous"]),
            time=_text(document["time"]),
            parent=_link(document["parent"]),
            restore_point=None if document["restore_point"] is None else _text(document["restore_point"]),
            tags=tuple(map(_text, _list(document["tags"]))),
            sources=tuple(map(_text, _list(document["sources"]))),
            exclude=tuple(map(_text, _list(document["exclude"]))),
            segments=tuple(
                Segment(bytes.fromhex(_link(entry["block"]) or ""), _count(entry["count"]), _text(entry["first"]))
                for entry in _list(document["entries"])
            ),
            totals={name: _count(document["totals"][name]) for name in _COUNTED},
            problems=tuple(
                {_text(key): _text(value) for key, value in entry.items()} for entry in _list(document["problems"])
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"The manifest is malformed: {error!r}", where=str(where)) from error
    return manifest


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _link(value: Any) -> Optional[str]:
    if value is not None and not is_digest(value):
        raise ValueError(f"{value!r} is not a digest")
    return value if value is None else str(value)
