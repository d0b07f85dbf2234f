# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets: what is backed up at which times and kept for how long, as ``<root>/schedule/sets.json`` says it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Mapping, Optional

from ..errors import ContinuityError
from .times import Times

FORMAT = 1
FOLDER = "schedule"
FILE = "sets.json"
MAKES = ("snapshot", "backup", "scrub")
MANUAL = "manual"
RULES = tuple(f"keep_{rule}" for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within"))
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LISTS = ("source_paths", "log_paths", "document_paths", "exclude", "databases", "copies")


class ScheduleError(ContinuityError):
    """Sets that cannot be followed, or a scheduler that refuses them."""


@dataclass(frozen=True)
class BackupSet:
    """One set. ``at`` is one of ``hourly``, ``HH:MM``, ``Sun HH:MM`` (local time of the host) and
    ``manual``. ``make`` is ``snapshot`` (into the repository alone), ``backup`` (the whole protocol), or
    ``scrub`` (look for damage in the repository and in the folders of backups, and heal the repository).

    Empty paths stand for the defaults of the host root. ``retention`` are rules for the snapshots of this set
    (``RULES``), ``keep_backups`` is how many of its folders stay (0: all). ``offsite`` are the settings of an
    off-site copy, empty for none; ``databases`` are declared as in docs/databases.md. Each scrub reads one of
    so many ``shares`` of the repository, and heals from ``copies``, other repositories.
    """

    name: str
    at: str
    make: str = "snapshot"
    backup_type: str = "full"
    source_paths: tuple[str, ...] = ()
    log_paths: tuple[str, ...] = ()
    document_paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    databases: tuple[Any, ...] = ()
    compression: str = "gzip"
    compression_level: str = "normal"
    retention: Mapping[str, Any] = field(default_factory=dict)
    keep_backups: int = 0
    offsite: Mapping[str, Any] = field(default_factory=dict)
    shares: int = 1
    copies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.at != MANUAL:
            Times.parse(self.at)

    @property
    def times(self) -> Optional[Times]:
        """When it is due; None for one that is only run by hand or by a job."""
        return None if self.at == MANUAL else Times.parse(self.at)

    @classmethod
    def parse(cls, name: str, plain: Mapping[str, Any], where: str) -> BackupSet:
        """Raises ScheduleError that names what cannot be understood."""
        if not isinstance(plain, Mapping):
            raise ScheduleError(
                f"set {name!r} is no list of settings", where=where, fix="Give it at least its time: at"
            )
        unknown = set(plain) - {one.name for one in fields(cls)} | ({"name"} & set(plain))
        if not _NAME.fullmatch(name):
            fault = "its name is not made of lower-case letters, digits and '-'"
        elif unknown:
            fault = f"{', '.join(sorted(unknown))}: there is no such setting"
        elif "at" not in plain:
            fault = "it does not say when (at)"
        elif plain.get("make", "snapshot") not in MAKES:
            fault = f"make is {plain['make']!r}, expected one of {', '.join(MAKES)}"
        elif set(plain.get("retention") or {}) - set(RULES):
            fault = f"{', '.join(sorted(set(plain['retention']) - set(RULES)))}: rules are {', '.join(RULES)}"
        elif any(isinstance(plain.get(key, ()), (str, bytes)) for key in _LISTS):
            fault = f"one of {', '.join(_LISTS)} is no list"
        else:
            lists = {key: tuple(plain[key] or ()) for key in _LISTS if key in plain}
            level = {"compression_level": str(plain.get("compression_level", "normal"))}
            try:
                return cls(name, **{**plain, **level, **lists})
            except ValueError as error:
                fault = str(error)
        raise ScheduleError(
            f"set {name!r}: {fault}", where=where, fix="Correct the set; docs/backup.md has all settings"
        )

    def plain(self) -> dict[str, Any]:
        """As it stands in the file, without what is as by default."""
        empty = BackupSet(self.name, self.at)
        kept = {key: value for key, value in asdict(self).items() if value != getattr(empty, key)}
        return {"at": self.at, **kept}


@dataclass(frozen=True)
class Settings:
    """Of all sets of a host: where they put what they make; private keys of age (files) for a repository
    that is encrypted."""

    repository: str
    destination: str
    identity_files: tuple[str, ...] = ()


def parse_sets(plain: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, BackupSet]:
    return {name: BackupSet.parse(name, one, where) for name, one in sorted(plain.items())}


def file_of(root: str) -> str:
    return os.path.join(root, FOLDER, FILE)


def render(sets: Mapping[str, BackupSet], settings: Settings) -> str:
    """The file's text."""
    plain = {name: one.plain() for name, one in sets.items()}
    return json.dumps({"format": FORMAT, **asdict(settings), "sets": plain}, indent=2, sort_keys=True) + "\n"


def read(root: str) -> tuple[dict[str, BackupSet], Settings]:
    """The sets of a host root, and what they have in common. Raises ScheduleError."""
    file = file_of(root)
    try:
        with open(file, encoding="utf-8") as stream:
            document = json.load(stream)
        if document["format"] != FORMAT:
            raise ScheduleError(f"format {document['format']!r}, expected {FORMAT}", where=file)
        keys = tuple(map(str, document["identity_files"]))
        settings = Settings(str(document["repository"]), str(document["destination"]), keys)
        return parse_sets(document["sets"], file), settings
    except FileNotFoundError as error:
        raise ScheduleError(
            "This host has no schedule", where=file, fix="Apply the role fleetops.continuity.schedule"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScheduleError(
            f"This is not a schedule: {error!r}", where=file, fix="Apply the role fleetops.continuity.schedule again"
        ) from error
