# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the sets of a host's schedule, without a controller: what timers and cron call (docs/backup.md)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Mapping, Optional

from ..backup import verifying
from ..backup.layout import Staging
from ..effects import Clock, Runner
from ..errors import ContinuityError
from ..journal import durable
from ..repository.layout import timestamp
from ..schedule import sets
from ..schedule.sets import BackupSet, ScheduleError, Settings
from ..sources import databases
from ..sources.databases import Database
from . import backups, maintenance, snapshots

DONE, PARTIAL, FAILED = "SUCCESS", "PARTIAL", "FAILED"
WAIT = 3600.0
"""Seconds that a set waits for another one: an hourly one may find the weekly one at work."""


@dataclass
class Ran:
    """What became of one run of a set. ``status`` is SUCCESS, PARTIAL (something could not be taken as it stands, or
    not dropped, or a scrub found damage), or FAILED (nothing new is there)."""

    set_name: str
    started: str
    status: str = DONE
    ended: str = ""
    made: str = ""
    folder: str = ""
    report_checksum: str = ""
    dropped_snapshots: int = 0
    dropped_backups: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def fields(self) -> dict[str, Any]:
        return {"set": self.set_name, **{key: value for key, value in vars(self).items() if key != "set_name"}}


def run_set(root: str, name: str, runner: Runner, clock: Clock) -> Ran:
    """Make what the set wants; after that drop what its rules do not keep. Notes how it ended in
    ``<root>/schedule/<set>.last.json``. Raises ScheduleError when there is no such set."""
    known, settings = sets.read(root)
    if name not in known:
        raise ScheduleError(
            f"There is no set {name!r}", where=sets.file_of(root), fix=f"Sets are {', '.join(known) or 'none'}"
        )
    wanted = known[name]
    ran = Ran(name, timestamp(clock.now()))
    try:
        _MAKE[wanted.make](root, wanted, settings, ran, runner, clock)
    except ContinuityError as error:
        ran.status = FAILED
        ran.problems.append(str(error))
    else:
        _drop(root, wanted, settings, ran, clock)
        if ran.problems:
            ran.status = PARTIAL
    ran.ended = timestamp(clock.now())
    text = json.dumps(ran.fields(), indent=2, ensure_ascii=False) + "\n"
    durable.write_file(_note(root, name), text.encode("utf-8", "backslashreplace"), 0o644)
    return ran


def due(root: str, clock: Clock) -> list[str]:
    """The sets whose time has come since they were last begun and ended well, the rarest first: what it makes
    is there then for the others to build upon."""
    known, _settings = sets.read(root)
    now = clock.now()
    waiting = []
    for name, one in known.items():
        times = one.times
        if times is not None and _begun(root, name, now) < times.last(now):
            waiting.append((times.day is None, times.hour is None, name))
    return [name for _weekly, _daily, name in sorted(waiting)]


def _backup(root: str, wanted: BackupSet, settings: Settings, ran: Ran, runner: Runner, clock: Clock) -> None:
    options = {**vars(wanted), **vars(settings), "set_name": wanted.name, "wait": WAIT}
    made = backups.make_backup(backups.wish_for(root, options), runner, clock)
    if made.backup is not None:
        ran.made, ran.folder, ran.report_checksum = made.backup.id, made.backup.folder, made.checksum
        ran.problems += [f"{one['path']}: {one['message']}" for one in made.backup.report["problems"]]


def _snapshot(root: str, wanted: BackupSet, settings: Settings, ran: Ran, runner: Runner, clock: Clock) -> None:
    outcome = snapshots.take_snapshot(
        settings.repository,
        snapshots.Wanted(
            host=snapshots.host_name(root, None),
            sources=(*(wanted.source_paths or snapshots.default_sources(root)), *wanted.document_paths),
            exclude=(*wanted.exclude, Staging(settings.destination).pattern),
            tags=(wanted.name,),
            wait=WAIT,
            databases=tuple(Database.from_fields(one) for one in wanted.databases),
            database_folder=os.path.join(root, databases.FOLDER),
        ),
        clock,
        runner=runner,
        identity_files=settings.identity_files,
    )
    ran.made = outcome.manifest.id if outcome.manifest else ""
    ran.problems += [f"{one['path']}: {one['message']}" for one in snapshots.incomplete(outcome)]


def _scrub(root: str, wanted: BackupSet, settings: Settings, ran: Ran, _runner: Runner, clock: Clock) -> None:
    """Damage is a problem even when it was healed: a disk that rots is to be looked at."""
    day = int(clock.now() // 86400)
    scrubbing = maintenance.Scrubbing(
        share=f"{day % wanted.shares + 1}/{wanted.shares}",
        heads=os.path.join(root, sets.FOLDER, "heads.json"),
        heal=True,
        copies=wanted.copies,
        wait=WAIT,
        identity_files=settings.identity_files,
    )
    upkeep = maintenance.scrub(settings.repository, scrubbing, clock)
    ran.made = f"share {scrubbing.share}"
    ran.problems += [f"healed: {line}" for line in upkeep.render().splitlines()] + upkeep.faults()
    found, damaged = Staging(settings.destination).backups()
    faults = verifying.verify_all(found)
    ran.problems += damaged + [f"{name}: {fault}" for name, of_one in faults.items() for fault in of_one]


_MAKE: Mapping[str, Callable[[str, BackupSet, Settings, Ran, Runner, Clock], None]] = {
    "backup": _backup,
    "snapshot": _snapshot,
    "scrub": _scrub,
}


def _drop(root: str, wanted: BackupSet, settings: Settings, ran: Ran, clock: Clock) -> None:
    """What was made stays made, whatever comes of this."""
    try:
        if wanted.retention:
            retention = maintenance.retention_from({"schedules": {wanted.name: dict(wanted.retention)}})
            host = snapshots.host_name(root, None)
            keys = settings.identity_files
            dropping = maintenance.Dropping(retention, host=host, root=root, wait=WAIT, identity_files=keys)
            forgotten = maintenance.forget(settings.repository, dropping, clock, prune=True)
            ran.dropped_snapshots = len(forgotten.forgetting.dropped)
        if wanted.keep_backups:
            staging = Staging(settings.destination)
            with staging.turn(clock, WAIT):
                own = [one for one in staging.backups()[0] if one.report.get("set") == wanted.name]
                for backup in own[: -wanted.keep_backups]:
                    staging.remove(backup)
                    ran.dropped_backups.append(backup.id)
    except ContinuityError as error:
        ran.problems.append(str(error))


def seconds(text: str) -> float:
    """Seconds since 1970 of a time as ``timestamp`` writes it; 0.0 for what is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return 0.0


def _note(root: str, name: str) -> str:
    return os.path.join(root, sets.FOLDER, f"{name}.last.json")


def _begun(root: str, name: str, now: float) -> float:
    """When the last run that did not fail was begun (seconds since 1970); 0.0 when there is none. One in the future
    was noted by a clock that was wrong, and must not keep the set from running until then."""
    noted = last(root, name)
    if noted is None or noted.get("status") == FAILED:
        return 0.0
    begun = seconds(str(noted.get("started")))
    return begun if begun <= now else 0.0


def last(root: str, name: str) -> Optional[dict[str, Any]]:
    """How the last run of a set ended; None when there was none that can be read."""
    try:
        with open(_note(root, name), encoding="utf-8") as stream:
            noted: dict[str, Any] = json.load(stream)
            return noted
    except (FileNotFoundError, ValueError):
        return None
