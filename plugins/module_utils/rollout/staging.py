# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gets a host ready for a release: its root, its supervisor, the engine, the release itself.

Nothing that runs is touched. ``plan`` looks and says what would change, ``apply`` does it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ..effects import Runner
from ..errors import ContinuityError
from ..journal.durable import sync_directory, write_file
from .exclusive import changing
from .model import Release
from .observation import changed_files, linked_units
from .release_document import ReleaseError, listing
from .releases import file_digest

if TYPE_CHECKING:
    from ..host import Host

PROGRAM = "continuity.pyz"
DESCRIPTION = "host.json"
FOLDERS: Mapping[str, int] = {
    "": 0o755,
    "ledger": 0o700,
    "releases": 0o755,
    "agents": 0o755,
    "state": 0o755,
    "logs": 0o755,
    "run": 0o755,
}
"""Folders of a host root, with the mode in which each is made."""


class StagingError(ContinuityError):
    """What was brought to the host is not what was announced."""


@dataclass(frozen=True)
class Wish:
    """What the host is to have. ``description`` is the text of host.json; ``archive`` and ``program``
    are files on the host, None as long as nobody brought them."""

    description: str
    release_id: str
    digest: str
    program_digest: str
    archive: Optional[str] = None
    archive_digest: Optional[str] = None
    program: Optional[str] = None


@dataclass(frozen=True)
class Change:
    """One thing that would change, with its text before and after, for a diff. ``needs`` names the
    file that must be brought first: ``archive`` or ``pyz``; ``shown`` is whose text ``before`` is,
    where that is something else."""

    what: str
    before: str
    after: str
    needs: Optional[str] = None
    shown: Optional[str] = None


def plan(host: Host, wish: Wish) -> list[Change]:
    """Everything that is not as wished; reads only. Raises StagingError where nothing could be written."""
    _check_root(host.root)
    return [
        *_folders(host.root),
        *_description(host.root, wish),
        *_program(host.root, wish),
        *_release(host, wish),
        *_units(host),
        *([] if host.daemon_runs() else [Change("supervisor", "not running\n", "running\n")]),
    ]


def apply(host: Host, wish: Wish, changes: Sequence[Change], runner: Runner) -> None:
    """Make these changes, durable when this returns. Raises StagingError or ReleaseError before the
    release is visible when a file that was brought is damaged."""
    names = {change.what.split(" ")[0] for change in changes}
    for folder, mode in FOLDERS.items():
        _make(os.path.join(host.root, folder), mode)
    with changing(host.root, host.clock):
        if DESCRIPTION in names:
            write_file(os.path.join(host.root, DESCRIPTION), wish.description.encode(), 0o644)
        if PROGRAM in names:
            _place_program(host.root, wish)
        if "release" in names:
            _stage(host, wish)
        if "unit" in names:
            host.supervisor.install(linked_units(host))
        if "supervisor" in names:
            host.start_daemon(runner)


def find(host: Host, release_id: Optional[str]) -> Optional[Release]:
    """The staged release of that id; None when there is none that can be read."""
    try:
        return host.releases.load(release_id) if release_id is not None else None
    except ReleaseError:
        return None


def _check_root(root: str) -> None:
    existing = root
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise StagingError("this is not a folder", where=existing, fix="Choose another continuity_root")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StagingError(
            "this folder cannot be written", where=existing, fix="Choose another continuity_root, or become its owner"
        )


def _folders(root: str) -> list[Change]:
    absent = [folder for folder in FOLDERS if not os.path.isdir(os.path.join(root, folder))]
    changes = [
        Change(f"folder {os.path.join(root, folder)}", "absent\n", f"{FOLDERS[folder]:04o}\n") for folder in absent
    ]
    ledger = os.path.join(root, "ledger")
    if os.path.isdir(ledger) and stat.S_IMODE(os.stat(ledger).st_mode) != FOLDERS["ledger"]:
        changes.append(
            Change(f"folder {ledger}", f"{stat.S_IMODE(os.stat(ledger).st_mode):04o}\n", f"{FOLDERS['ledger']:04o}\n")
        )
    return changes


def _make(path: str, mode: int) -> None:
    if not os.path.isdir(path):
        os.makedirs(path)
        os.chmod(path, mode)
        sync_directory(os.path.dirname(path))
    elif mode == FOLDERS["ledger"] and stat.S_IMODE(os.stat(path).st_mode) != mode:
        os.chmod(path, mode)


def _description(root: str, wish: Wish) -> list[Change]:
    held = changed_files({os.path.join(root, DESCRIPTION): wish.description})
    return [Change(DESCRIPTION, before or "", wish.description) for before in held.values()]


def _program(root: str, wish: Wish) -> list[Change]:
    path = os.path.join(root, PROGRAM)
    held = file_digest(path) if os.path.isfile(path) else None
    if held == wish.program_digest:
        return []
    needs = None if wish.program is not None else "pyz"
    return [Change(PROGRAM, f"sha256 {held}\n" if held else "", f"sha256 {wish.program_digest}\n", needs)]


def _release(host: Host, wish: Wish) -> list[Change]:
    staged = find(host, wish.release_id)
    if staged is not None and staged.digest != wish.digest:
        raise ReleaseError(
            f"another release {wish.release_id} is staged here, and release ids are immutable",
            where=host.releases.path(wish.release_id),
            fix="Give the new one another id, or leave continuity_release out",
        )
    needs = None if wish.archive is not None else "archive"
    if staged is None:
        current = host.ledger.state().current
        shown = f"release {current}" if current is not None else "no release"
        return [Change(f"release {wish.release_id}", listing(find(host, current)), "", needs, shown)]
    damage = host.releases.verify(wish.release_id)
    if damage:
        return [
            Change(f"release {wish.release_id}", "".join(f"{line}\n" for line in damage), "as it was staged\n", needs)
        ]
    return []


def _units(host: Host) -> list[Change]:
    """The supervisor's files of what is linked now. During a rollout they are that rollout's."""
    if host.ledger.state().unfinished is not None:
        return []
    rendered = host.supervisor.render(linked_units(host))
    return [Change(f"unit {path}", before or "", rendered[path]) for path, before in changed_files(rendered).items()]


def _place_program(root: str, wish: Wish) -> None:
    if wish.program is None:
        raise StagingError("the engine was not brought to the host", where=root)
    with open(wish.program, "rb") as file:
        content = file.read()
    if file_digest(wish.program) != wish.program_digest:
        raise StagingError("the engine was damaged on its way", where=wish.program, fix="Run again")
    write_file(os.path.join(root, PROGRAM), content, 0o755)


def _stage(host: Host, wish: Wish) -> None:
    if wish.archive is None:
        raise StagingError("the release was not brought to the host", where=host.root)
    host.releases.stage(wish.archive, wish.digest, archive_digest=wish.archive_digest)
