# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups lie, and how one comes to be there: built aside, made durable, renamed (docs/backup.md)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterator, Mapping, Optional

from ..effects import Clock
from ..journal import durable
from .faults import BackupError
from .sorting import FOLDERS

STAGING = "STAGING"
BUILDING = ".building-"
REMOVING = ".removing-"
LOCK = ".lock"
_ID = re.compile(r"BACKUP_(\d{4}-\d{2}-\d{2})_(\d{6})")
_FOLDER = re.compile(r"(\d{4}-\d{2}-\d{2})(?:_\d{6})?")
_PAUSE = 0.1


def make_id(seconds: float) -> str:
    """The name of a backup that begins at this time, for example ``BACKUP_2026-01-31_020000`` (UTC)."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("BACKUP_%Y-%m-%d_%H%M%S")


def parse_id(backup_id: str) -> tuple[str, str]:
    """(date, time of day). Raises BackupError for what is no name of a backup."""
    found = _ID.fullmatch(backup_id)
    try:
        if found is None:
            raise ValueError("it has another form")
        datetime.strptime("".join(found.groups()), "%Y-%m-%d%H%M%S")
    except ValueError as error:
        raise BackupError(
            f"{backup_id!r} is not the name of a backup: {error}", fix="Use BACKUP_YYYY-MM-DD_HHMMSS, or leave it out"
        ) from error
    return found.group(1), found.group(2)


def report_name(date: str) -> str:
    return f"backup_report_{date}.json"


@dataclass(frozen=True)
class Backup:
    """A published backup: its folder and its report as it stands there."""

    folder: str
    report_file: str
    report: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.report["backup_id"])


class Staging:
    """``<destination>/STAGING``. Readers need no lock: what is published is whole and stays as it is."""

    def __init__(self, destination: str) -> None:
        self.path = os.path.join(os.path.abspath(destination), STAGING)

    @property
    def pattern(self) -> str:
        """What leaves this folder out of a walk, where it lies below a source."""
        return glob.escape(os.path.realpath(self.path))

    def backups(self) -> tuple[list[Backup], list[str]]:
        """(all published backups, oldest first; what is wrong with folders whose report cannot be read)."""
        try:
            names = sorted(filter(_FOLDER.fullmatch, os.listdir(self.path)))
        except FileNotFoundError:
            names = []
        found, damaged = [], []
        for name in names:
            try:
                found.append(self.load(name))
            except BackupError as error:
                damaged.append(str(error))
        return sorted(found, key=lambda backup: backup.id), damaged

    def load(self, name: str) -> Backup:
        """The backup in the folder of this name."""
        folder = os.path.join(self.path, name)
        matched = _FOLDER.fullmatch(name)
        if matched is None:
            raise BackupError(f"{name!r} is not the folder of a backup", fix="Use YYYY-MM-DD or YYYY-MM-DD_HHMMSS")
        file = os.path.join(folder, report_name(matched.group(1)))
        try:
            with open(file, encoding="utf-8") as stream:
                report = json.load(stream)
            parse_id(str(report["backup_id"]))
            return Backup(folder, file, report)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BackupError("There is no backup here", where=folder, fix="Name the folder of a backup") from error
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(
                f"This is not the report of a backup: {error!r}", where=file, fix="Move the folder out of the way"
            ) from error

    def find(self, backup_id: str) -> Optional[Backup]:
        """The published backup of this name."""
        date, time = parse_id(backup_id)
        for name in (date, f"{date}_{time}"):
            try:
                backup = self.load(name)
            except BackupError:
                # Nothing, or something else, has the folder's name; `backups` tells of it.
                continue
            if backup.id == backup_id:
                return backup
        return None

    def chosen(self, backup_id: Optional[str]) -> tuple[list[Backup], list[str]]:
        """As ``backups``, or only the one of this name. Raises BackupError when there is none."""
        if backup_id is None:
            return self.backups()
        found = self.find(backup_id)
        if found is None:
            raise BackupError(f"There is no {backup_id} here", where=self.path, fix="List the backups without a name")
        return [found], []

    @contextlib.contextmanager
    def turn(self, clock: Clock, wait: float) -> Iterator[None]:
        """Be the only one who changes this destination, and throw away what a killed one left behind.

        Waits up to ``wait`` seconds, then raises BackupError. The kernel frees the lock of a dead owner.
        """
        durable.make_directory(self.path)
        descriptor = os.open(os.path.join(self.path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = clock.monotonic() + wait
        try:
            while not _try_lock(descriptor):
                if clock.monotonic() >= deadline:
                    raise BackupError(
                        "Another backup is being made in this destination",
                        where=self.path,
                        fix="Wait for it to end; the lock ends with its owner",
                    )
                clock.sleep(_PAUSE)
            for name in os.listdir(self.path):
                if name.startswith((BUILDING, REMOVING)):
                    shutil.rmtree(os.path.join(self.path, name))
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def build(self, backup_id: str) -> Iterator[str]:
        """The folder, with its four folders, in which a backup is built; gone afterwards unless it was
        published. The caller has the turn."""
        folder = os.path.join(self.path, BUILDING + backup_id)
        os.mkdir(folder, 0o700)
        try:
            for name in FOLDERS:
                os.mkdir(os.path.join(folder, name), 0o700)
            yield folder
        finally:
            if os.path.isdir(folder):
                shutil.rmtree(folder)

    def publish(self, building: str, backup_id: str) -> str:
        """Make everything in ``building`` durable, then give it its name: from then on it exists."""
        folders, files = [], []
        for folder, _subfolders, names in os.walk(building):
            folders.append(folder)
            files += [os.path.join(folder, name) for name in names]
        durable.sync_files(files)
        for folder in reversed(folders):
            durable.sync_directory(folder)
        date, time = parse_id(backup_id)
        for name in (date, f"{date}_{time}"):
            final = os.path.join(self.path, name)
            try:
                os.rename(building, final)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                continue
            durable.sync_directory(self.path)
            return final
        raise BackupError("This backup is there already", where=final, fix="Give another backup_id")

    def remove(self, backup: Backup) -> None:
        """Make a backup cease to exist, at once. The caller has the turn."""
        aside = os.path.join(self.path, REMOVING + os.path.basename(backup.folder))
        os.rename(backup.folder, aside)
        durable.sync_directory(self.path)
        shutil.rmtree(aside)


def free_id(staging: Staging, seconds: float) -> str:
    """A name for a backup that begins now: of the next second that has none."""
    while staging.find(make_id(seconds)) is not None:
        seconds += 1
    return make_id(seconds)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
