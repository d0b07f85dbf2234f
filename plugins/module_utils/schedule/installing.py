# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a host follow its sets: what differs (``plan``), and making it so (``apply``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from ..effects import Runner
from ..journal import durable
from . import crontab, sets, timers
from .sets import BackupSet, ScheduleError, Settings

SYSTEMD, USER, CRON = SCHEDULERS = ("systemd", "systemd-user", "cron")
PROGRAM = "continuity.pyz"
NO_CRONTAB = "no crontab for"


@dataclass(frozen=True)
class Wish:
    """What the host is to follow. ``directory`` is where systemd looks for units (None: the usual one)."""

    root: str
    python: str
    sets: Mapping[str, BackupSet]
    settings: Settings
    spread: int = 300
    directory: Optional[str] = None

    def unit_directory(self, scheduler: str) -> str:
        usual = {SYSTEMD: "/etc/systemd/system", USER: os.path.expanduser("~/.config/systemd/user")}
        return self.directory or usual[scheduler]


@dataclass(frozen=True)
class Change:
    """One thing that is not as wished: ``what`` is a path, ``crontab`` or ``timer <name>``. None: absent."""

    what: str
    before: Optional[str]
    after: Optional[str]


def choose(runner: Runner, booted: str = "/run/systemd/system") -> str:
    """The scheduler of this host: systemd's own, for other users than root its user instance, else cron."""
    if os.path.isdir(booted):
        if os.geteuid() == 0:
            return SYSTEMD
        if runner.run(["systemctl", "--user", "show", "--property=Version"]).status == 0:
            return USER
    return CRON


def plan(wish: Wish, scheduler: str, runner: Runner) -> list[Change]:
    """Everything that is not as wished. Changes nothing."""
    program = os.path.join(wish.root, PROGRAM)
    if wish.sets and not os.path.isfile(program):
        raise ScheduleError(
            "The program that runs the sets is not there", where=program, fix="Roll out a release first"
        )
    file = sets.file_of(wish.root)
    wanted = {file: sets.render(wish.sets, wish.settings) if wish.sets else None}
    changes = _different(wanted)
    if scheduler == CRON:
        before = _crontab(runner)
        after = crontab.edit(before, wish.root, wish.python, any(one.times for one in wish.sets.values()))
        return changes + ([Change("crontab", before, after)] if before != after else [])
    directory = wish.unit_directory(scheduler)
    rendered = timers.render(wish.root, wish.python, wish.sets, wish.spread)
    units: dict[str, Optional[str]] = {os.path.join(directory, name): text for name, text in rendered.items()}
    _refuse_foreign(units, wish.root)
    units.update(dict.fromkeys(set(_installed(directory, wish.root)) - set(units)))
    changes += _different(units)
    asleep = [name for name in rendered if name.endswith(".timer") and not _is_on(name, scheduler, runner)]
    changes += [Change(f"timer {name}", "off\n", "on\n") for name in sorted(asleep)]
    if scheduler == USER and wish.sets and not _lingers(runner):
        changes.append(Change("lingering", "off\n", "on\n"))
    return changes


def apply(wish: Wish, scheduler: str, changes: Sequence[Change], runner: Runner) -> None:
    """Make these changes. Timers of removed sets are stopped before their files go."""
    files = {change.what: change.after for change in changes if os.path.isabs(change.what)}
    gone = [os.path.basename(path) for path, text in files.items() if text is None and path.endswith(".timer")]
    if gone:
        _systemctl(scheduler, runner, "disable", "--now", "--quiet", *gone)
    for path, text in files.items():
        if text is None:
            os.unlink(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            durable.write_file(path, text.encode(), 0o644)
    if scheduler == CRON:
        for change in changes:
            if change.what == "crontab":
                _run(runner, ["crontab", "-"], stdin=change.after)
        return
    directory = wish.unit_directory(scheduler)
    if any(path.startswith(directory + os.sep) for path in files):
        _systemctl(scheduler, runner, "daemon-reload")
    restarted = {os.path.basename(path) for path, text in files.items() if text and path.endswith(".timer")}
    on = sorted(restarted | {change.what.split(" ", 1)[1] for change in changes if change.what.startswith("timer ")})
    if on:
        _systemctl(scheduler, runner, "enable", "--quiet", *on)
        _systemctl(scheduler, runner, "restart", *on)
    if any(change.what == "lingering" for change in changes):
        _run(runner, ["loginctl", "enable-linger"])


def _different(wanted: Mapping[str, Optional[str]]) -> list[Change]:
    changes = []
    for path in sorted(wanted):
        before = _read(path)
        if before != wanted[path]:
            changes.append(Change(path, before, wanted[path]))
    return changes


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def _installed(directory: str, root: str) -> list[str]:
    """Paths of the unit files that were written for this root."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    paths = [os.path.join(directory, name) for name in names if name.startswith(timers.PREFIX)]
    return [path for path in paths if timers.owner(_read(path) or "") == root]


def _refuse_foreign(units: Mapping[str, Optional[str]], root: str) -> None:
    for path in units:
        text = _read(path)
        if text is not None and timers.owner(text) != root:
            whose = timers.owner(text)
            raise ScheduleError(
                f"this unit file is {f'of another root, {whose}' if whose else 'not ours'}",
                where=path,
                fix="Move it away, or give the set another name",
            )


def _is_on(timer: str, scheduler: str, runner: Runner) -> bool:
    user = ["--user"] if scheduler == USER else []
    asked = [runner.run(["systemctl", *user, verb, "--quiet", timer]).status for verb in ("is-enabled", "is-active")]
    return asked == [0, 0]


def _lingers(runner: Runner) -> bool:
    """Whether the user's timers run while nobody is logged in."""
    seen = runner.run(["loginctl", "show-user", "--property=Linger", str(os.geteuid())])
    return seen.stdout.strip() == "Linger=yes"


def _crontab(runner: Runner) -> str:
    ended = runner.run(["crontab", "-l"])
    if ended.status == 0:
        # Whoever hands a crontab to the program may end it with one more line break.
        return ended.stdout.rstrip("\n") + "\n" if ended.stdout.strip() else ""
    if NO_CRONTAB in ended.stderr:
        return ""
    raise ScheduleError(
        f"The crontab cannot be read: {ended.stderr.strip()}", where="crontab -l", fix="Install cron, or allow its use"
    )


def _systemctl(scheduler: str, runner: Runner, *arguments: str) -> None:
    _run(runner, ["systemctl", *(["--user"] if scheduler == USER else []), *arguments])


def _run(runner: Runner, argv: Sequence[str], stdin: Optional[str] = None) -> None:
    ended = runner.run(argv, stdin=stdin)
    if ended.status != 0:
        raise ScheduleError(f"{' '.join(argv)} failed: {(ended.stderr or ended.stdout).strip()}", where=argv[0])
