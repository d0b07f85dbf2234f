# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders as somebody names them: what is to be written beside them, and what is wrong with them."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Iterator, Optional

from ..effects import Clock
from ..journal.durable import write_file
from . import catalogues, sidecars
from .comparing import Differences, compare
from .digests import ChecksumError, Digests, digests_of, files_below

WRITERS = 8
_KINDS = tuple(catalogues.CATALOGUES.items())


@dataclass(frozen=True)
class Wanted:
    """``sidecars`` and ``catalogues`` say which of the two is meant; catalogues stand in folders only."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    sidecars: bool = True
    catalogues: bool = False


@dataclass
class Plan:
    """What is to be written: path to content. ``new`` are files without a checksum before, ``updated`` those
    that had another one; ``files`` is how many there are."""

    writes: dict[str, bytes] = field(default_factory=dict)
    new: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    files: int = 0

    @property
    def rendered(self) -> str:
        """One line for each file to write."""
        return "".join(f"{path}\n" for path in sorted(self.writes))


def plan(wanted: Wanted, clock: Clock) -> Plan:
    """Read everything, and say what would be written. Writes nothing."""
    result = Plan()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock.now()))
    for folder, paths in _places(wanted):
        found = digests_of(folder, paths)
        result.files += len(found)
        for path, digests in found.items():
            if wanted.sidecars and not path.endswith(sidecars.SUFFIX):
                _plan_sidecar(os.path.join(folder, path), digests, stamp, result)
        if wanted.catalogues:
            _plan_catalogues(folder, found, wanted, result)
    return result


def _plan_sidecar(path: str, digests: Digests, stamp: str, result: Plan) -> None:
    try:
        before = sidecars.read(path)
    except sidecars.SidecarError:
        before = ""
    if before != digests.sha256:
        result.writes[path + sidecars.SUFFIX] = sidecars.text(path, digests.sha256, stamp).encode()
        (result.new if before is None else result.updated).append(path)


def _plan_catalogues(folder: str, found: dict[str, Digests], wanted: Wanted, result: Plan) -> None:
    """Sidecars that this run writes are in the catalogues as they will be."""
    entries = dict(found)
    for path, text in result.writes.items():
        if path.startswith(folder + os.sep) and os.path.basename(path) not in catalogues.CATALOGUES:
            entries[os.path.relpath(path, folder)] = Digests.of(text)
    for name, algorithm in _KINDS:
        path = os.path.join(folder, name)
        content = catalogues.content({entry: getattr(digests, algorithm) for entry, digests in entries.items()})
        before = _content(path)
        if content == before:
            continue
        result.writes[path] = content
        if algorithm == "sha256":
            differences = compare(_parsed(before), {entry: digests.sha256 for entry, digests in entries.items()})
            changed = [*differences.changed, *(one for pair in differences.swapped for one in pair)]
            known = {
                *result.new,
                *result.updated,
                *(os.path.join(folder, own) for own in entries if _is_ours(own, wanted)),
            }
            result.new += sorted({os.path.join(folder, entry) for entry in differences.added} - known)
            result.updated += sorted({os.path.join(folder, entry) for entry in changed} - known)


def _is_ours(path: str, wanted: Wanted) -> bool:
    return wanted.sidecars and path.endswith(sidecars.SUFFIX)


def refuse_updates(planned: Plan) -> None:
    """Raises ChecksumError when a file differs from the checksum that it has."""
    if planned.updated:
        raise ChecksumError(
            f"These files differ from their checksums: {', '.join(sorted(planned.updated))}",
            fix="Restore them, or give them new checksums with update",
        )


def write(planned: Plan) -> None:
    """Write what was planned: each file at once, catalogues last. Raises ChecksumError."""
    late = {path for path in planned.writes if os.path.basename(path) in catalogues.CATALOGUES}
    with ThreadPoolExecutor(WRITERS) as pool:
        for group in (sorted(set(planned.writes) - late), sorted(late)):
            for _written in pool.map(lambda path: _write(path, planned.writes[path]), group):
                pass


def verify(wanted: Wanted) -> tuple[Differences, int]:
    """(what is wrong, by absolute path; how many files were read)."""
    result, count = Differences(), 0
    for folder, paths in _places(wanted):
        found = digests_of(folder, paths)
        count += len(found)
        if wanted.sidecars:
            result.add(_placed(folder, _verify_sidecars(folder, found)))
        if wanted.catalogues:
            result.add(_placed(folder, _verify_catalogues(folder, found)))
    return result, count


def _verify_sidecars(folder: str, found: dict[str, Digests]) -> Differences:
    plain = {path: digests.sha256 for path, digests in found.items() if not path.endswith(sidecars.SUFFIX)}
    owners = {path[: -len(sidecars.SUFFIX)] for path in found if path.endswith(sidecars.SUFFIX)}
    expected, damaged = {}, {}
    for path in sorted({*plain, *owners}):
        try:
            checksum = sidecars.read(os.path.join(folder, path))
        except (sidecars.SidecarError, OSError) as error:
            damaged[path + sidecars.SUFFIX] = f"not its sidecar: {error}"
            plain.pop(path, None)
            continue
        if checksum is not None:
            expected[path] = checksum
    differences = compare(expected, plain)
    differences.damaged = damaged
    return differences


def _verify_catalogues(folder: str, found: dict[str, Digests]) -> Differences:
    result = Differences()
    for name, algorithm in _KINDS:
        content = _content(os.path.join(folder, name))
        if content is None:
            result.damaged[name] = "there is no such catalogue"
            continue
        try:
            expected = catalogues.parse(content)
        except catalogues.CatalogueError as error:
            result.damaged[name] = f"not a catalogue: {error}"
            continue
        result.add(compare(expected, {path: getattr(digests, algorithm) for path, digests in found.items()}))
    return result


def _placed(folder: str, differences: Differences) -> Differences:
    def whole(path: str) -> str:
        return os.path.join(folder, path)

    return Differences(
        changed=[whole(path) for path in differences.changed],
        missing=[whole(path) for path in differences.missing],
        added=[whole(path) for path in differences.added],
        swapped=[(whole(first), whole(second)) for first, second in differences.swapped],
        damaged={whole(path): wrong for path, wrong in differences.damaged.items()},
    )


def _places(wanted: Wanted) -> Iterator[tuple[str, list[str]]]:
    """(folder, files in it): single files are gathered by their folder."""
    single: dict[str, list[str]] = {}
    for given in wanted.paths:
        path = os.path.abspath(given)
        if os.path.isdir(path):
            paths = files_below(path, wanted.exclude)
            yield path, [entry for entry in paths if entry not in catalogues.CATALOGUES]
        elif wanted.catalogues:
            raise ChecksumError("A catalogue stands in a folder", where=path, fix="Name folders, or use sidecars")
        else:
            single.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
    for folder, names in single.items():
        beside = [name for name in names if os.path.exists(os.path.join(folder, name + sidecars.SUFFIX))]
        there = [name for name in names if name not in beside or os.path.lexists(os.path.join(folder, name))]
        yield folder, [*there, *(name + sidecars.SUFFIX for name in beside)]


def _parsed(content: Optional[bytes]) -> dict[str, str]:
    try:
        return catalogues.parse(content or b"")
    except catalogues.CatalogueError:
        return {}


def _content(path: str) -> Optional[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _write(path: str, content: bytes) -> None:
    try:
        write_file(path, content, 0o644)
    except OSError as error:
        raise ChecksumError(
            f"Cannot be written: {error.strerror}", where=path, fix="Make room or give permission"
        ) from error
