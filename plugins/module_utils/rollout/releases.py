# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases of one host: staged whole or not at all, never changed, switched by links.

A release is unpacked beside its place and renamed into it, so that a name under ``releases/`` that
does not begin with a dot is always a complete release. What a killed process left behind begins
with a dot and is swept away by the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
from typing import Any, Collection, Iterator, Mapping, Optional

from ..journal.durable import locked, sync_directory, write_link
from .model import Release
from .release_archive import BLOCK, ReleaseArchive
from .release_document import ID, NAME, ReleaseError, check_agent_name, from_document

SLOTS = ("blue", "green")
_UNDER_WAY = (".staging-", ".removing-")


class Releases:
    """What lies under ``<root>/releases`` and the links that lead there."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folder = os.path.join(root, "releases")
        self._agents = os.path.join(root, "agents")
        self._lock = os.path.join(self._folder, ".lock")

    def staged(self) -> list[str]:
        """The ids of all releases here, the one published last at the end."""
        try:
            names = [name for name in os.listdir(self._folder) if ID.fullmatch(name)]
        except FileNotFoundError:
            return []
        return sorted(names, key=lambda name: (os.stat(self.path(name)).st_mtime_ns, name))

    def path(self, release_id: str) -> str:
        if not ID.fullmatch(release_id):
            raise ReleaseError(f"{release_id!r} is not the id of a release (letters, digits, '.', '_', '-')")
        return os.path.join(self._folder, release_id)

    def stage(self, archive: str, digest: str, *, archive_digest: Optional[str] = None) -> Release:
        """Publish the release in this archive, complete and durable when this returns.

        ``digest`` is the release's own (``Release.digest``), ``archive_digest`` the SHA-256 of the file.
        Staging what is there already changes nothing, except that files that are no longer as they were
        staged are put back, each at once. Raises ReleaseError when the archive is not
        that release, or when another release has its id; then and at any kill nothing is published.
        """
        if archive_digest is not None and file_digest(archive) != archive_digest:
            raise ReleaseError(
                "the archive was damaged on its way", where=archive, fix="Nothing was staged; transfer it again"
            )
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        with locked(self._lock), ReleaseArchive(archive) as source:
            self._sweep()
            release = from_document(source.document, self._root)
            if release.digest != digest:
                raise ReleaseError(f"the archive holds another release, {release.id}", where=archive)
            damage: Collection[str] = ()
            if os.path.lexists(self.path(release.id)):
                self._check_same(release)
                damage = self.verify(release.id)
                if not damage:
                    return release
            self._check_space(release)
            aside = os.path.join(self._folder, f"{_UNDER_WAY[0]}{secrets.token_hex(6)}")
            try:
                os.mkdir(aside, mode=0o700)
                source.unpack(aside)
                if damage:
                    _mend(self.path(release.id), aside, {line.partition(": ")[0] for line in damage})
                else:
                    os.rename(aside, self.path(release.id))
                sync_directory(self._folder)
            except OSError as error:
                raise ReleaseError(
                    f"release {release.id} cannot be written: {error.strerror}",
                    where=self._folder,
                    fix="Nothing was staged; make room or mend the disk, then run again",
                ) from error
            finally:
                shutil.rmtree(aside, ignore_errors=True)  # what cannot be removed now is swept next time
        return release

    def load(self, release_id: str) -> Release:
        """The release as it describes itself. Raises ReleaseError when it is not staged here."""
        path = os.path.join(self.path(release_id), NAME)
        try:
            with open(path, "rb") as file:
                document = json.loads(file.read())
        except FileNotFoundError as error:
            raise ReleaseError(f"release {release_id} is not staged here", where=self._folder) from error
        except (OSError, ValueError) as error:
            raise ReleaseError(f"the release cannot be read: {error}", where=path) from error
        release = from_document(document, self._root)
        if release.id != release_id:
            raise ReleaseError(f"the release calls itself {release.id}", where=path)
        return release

    def verify(self, release_id: str) -> list[str]:
        """What differs from the description, as ``path: how``; empty when every byte is as staged."""
        try:
            release = self.load(release_id)
        except ReleaseError as error:
            return [f"{NAME}: {error}"]
        folder = self.path(release_id)
        present = {os.path.relpath(path, folder): path for path in _files_below(folder)}
        differences = [f"{path}: missing" for path in release.files.keys() - present.keys()]
        for inside, path in present.items():
            difference = _difference(path, release.files.get(inside)) if inside != NAME else None
            if difference is not None:
                differences.append(f"{inside}: {difference}")
        return sorted(differences)

    def point(self, agent: str, slot: str, release_id: str) -> None:
        """Lead the agent's slot to this release at once, durable when this returns."""
        if not os.path.isfile(os.path.join(self.path(release_id), NAME)):
            raise ReleaseError(f"release {release_id} is not staged here", where=self._folder)
        link = self._pointer(agent, slot)
        folder = os.path.dirname(link)
        if not os.path.isdir(folder):
            os.makedirs(folder, mode=0o755, exist_ok=True)
            sync_directory(self._agents)
        write_link(link, f"../../releases/{release_id}")

    def pointed(self, agent: str, slot: str) -> Optional[str]:
        """The release that the slot leads to; None when it leads nowhere."""
        return _linked(self._pointer(agent, slot))

    def pointers(self) -> dict[str, dict[str, str]]:
        """Every agent that has a slot, with its slots and their releases."""
        try:
            agents = sorted(name for name in os.listdir(self._agents) if not name.startswith("."))
        except FileNotFoundError:
            return {}
        found = {agent: {slot: self.pointed(agent, slot) for slot in SLOTS} for agent in agents}
        return {
            agent: {slot: release for slot, release in slots.items() if release is not None}
            for agent, slots in found.items()
            if any(slots.values())
        }

    def remove_pointer(self, agent: str, slot: str) -> None:
        """Make the slot lead nowhere; nothing happens when it does not lead anywhere."""
        link = self._pointer(agent, slot)
        if os.path.lexists(link):
            os.unlink(link)
            sync_directory(os.path.dirname(link))

    def current(self) -> Optional[str]:
        """Where the link ``current`` leads: for people; the ledger is the truth."""
        return _linked(os.path.join(self._root, "current"))

    def set_current(self, release_id: Optional[str]) -> None:
        """Lead ``current`` to this release; None: nowhere."""
        link = os.path.join(self._root, "current")
        if release_id is None:
            if os.path.lexists(link):
                os.unlink(link)
                sync_directory(self._root)
            return
        if not os.path.isdir(self.path(release_id)):
            raise ReleaseError(f"release {release_id} is not staged here", where=self._folder)
        write_link(link, f"releases/{release_id}")

    def prune(self, keep: int, protected: Collection[str]) -> list[str]:
        """Remove the oldest releases but ``keep``, and return their ids.

        Whatever a slot or ``current`` leads to stays, and whatever is ``protected``: the caller names
        what the ledger says is current, previous or part of an unfinished rollout. Nobody may point
        slots meanwhile.
        """
        if not os.path.isdir(self._folder):
            return []
        with locked(self._lock):
            self._sweep()
            self._sweep_links()
            linked = {release for slots in self.pointers().values() for release in slots.values()}
            staged = self.staged()
            newest = set(staged[-keep:] if keep > 0 else [])
            doomed = [name for name in staged if name not in {*newest, *linked, *protected, self.current()}]
            for name in doomed:
                aside = os.path.join(self._folder, f"{_UNDER_WAY[1]}{name}")
                os.rename(self.path(name), aside)
                sync_directory(self._folder)
                shutil.rmtree(aside)
        return doomed

    def _pointer(self, agent: str, slot: str) -> str:
        check_agent_name(agent)
        if slot not in SLOTS:
            raise ReleaseError(f"{slot!r} is not a slot; there are {' and '.join(SLOTS)}", where=agent)
        return os.path.join(self._agents, agent, slot)

    def _check_same(self, release: Release) -> None:
        there = self.load(release.id)
        if there.digest != release.digest:
            raise ReleaseError(
                f"another release {release.id} is staged here, and release ids are immutable",
                where=self.path(release.id),
                fix="Give the new one another id",
            )

    def _sweep(self) -> None:
        for name in os.listdir(self._folder):
            if name.startswith(_UNDER_WAY):
                shutil.rmtree(os.path.join(self._folder, name))

    def _sweep_links(self) -> None:
        for agent in self.pointers():
            folder = os.path.join(self._agents, agent)
            for name in os.listdir(folder):
                if name.startswith("."):
                    os.unlink(os.path.join(folder, name))

    def _check_space(self, release: Release) -> None:
        disk = os.statvfs(self._folder)
        block = disk.f_frsize
        needed = sum(-(-file["size"] // block) * block for file in release.files.values())
        if needed > disk.f_bavail * block:
            raise ReleaseError(
                f"release {release.id} needs {needed} bytes and {disk.f_bavail * block} are free",
                where=self._folder,
                fix="Nothing was staged; make room, then run again",
            )


def file_digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _mend(folder: str, fresh: str, paths: Collection[str]) -> None:
    """Put these files of ``fresh`` in the place of those in ``folder``; take away what is only there."""
    for path in sorted(paths):
        target, source = os.path.join(folder, path), os.path.join(fresh, path)
        if os.path.isdir(target) and not os.path.islink(target):
            shutil.rmtree(target)
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        if os.path.lexists(source):
            os.rename(source, target)
        else:
            os.unlink(target)
        sync_directory(os.path.dirname(target))


def _difference(path: str, described: Optional[Mapping[str, Any]]) -> Optional[str]:
    if described is None:
        return "not part of the release"
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode) or file_digest(path) != described["sha256"]:
            return "changed"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_IMODE(mode) != described["mode"]:
        return f"mode {stat.S_IMODE(mode):04o}, was {described['mode']:04o}"
    return None


def _files_below(folder: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(entry.path)
        else:
            yield entry.path


def _linked(link: str) -> Optional[str]:
    try:
        target = os.readlink(link)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReleaseError("this is not a link to a release", where=link, fix="Move it away, then run again") from error
    folder, name = os.path.split(target)
    if os.path.basename(folder) != "releases" or not ID.fullmatch(name):
        raise ReleaseError(f"the link leads to {target}, not to a release", where=link)
    return name
