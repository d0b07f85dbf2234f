# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets in, timers or a line for cron out; twice changes nothing, and what is not wanted any more goes.

systemd itself runs these timers in tests/systemd; here the files are real and the two programs that would
change this machine, systemctl and crontab, keep their state in a folder of the test.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional, Sequence

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import CompletedRun
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule import crontab, installing, sets, timers
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule.installing import CRON, SYSTEMD, USER, Wish
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule.sets import (
    ScheduleError,
    Settings,
    parse_sets,
)

SETS = {
    "hourly": {"at": "hourly", "retention": {"keep_last": 48}},
    "daily": {"at": "02:00", "make": "backup", "backup_type": "incremental", "keep_backups": 14},
    "weekly": {"at": "Sun 03:00", "make": "backup", "source_paths": ["/srv/data"], "compression_level": 9},
    "after-training": {"at": "manual", "make": "backup"},
}


class Programs:
    """The Runner protocol over a systemctl and a crontab that change nothing but this object."""

    def __init__(self) -> None:
        self.enabled: set[str] = set()
        self.active: set[str] = set()
        self.crontab: Optional[str] = None
        self.lingers = False
        self.changing: list[list[str]] = []

    def run(self, argv: Sequence[str], *, stdin: Optional[str] = None, timeout: float = 60.0) -> CompletedRun:
        program, *words = [word for word in argv if word not in ("--user", "--quiet", "--now")]
        verb, units = words[0], set(words[1:])
        if program == "crontab" and verb == "-l":
            absent = CompletedRun(1, "", "no crontab for root\n")
            return absent if self.crontab is None else CompletedRun(0, self.crontab, "")
        if (program, verb) == ("loginctl", "show-user"):
            return CompletedRun(0, f"Linger={'yes' if self.lingers else 'no'}\n", "")
        if verb in ("is-enabled", "is-active"):
            there = units <= (self.enabled if verb == "is-enabled" else self.active)
            return CompletedRun(0 if there else 1, "", "")
        self.changing.append(list(argv))
        if program == "crontab":
            # As Ansible's run_command hands it over.
            self.crontab = f"{stdin}\n"
        elif program == "loginctl":
            self.lingers = True
        elif verb == "enable":
            self.enabled |= units
        elif verb == "restart":
            self.active |= units
        elif verb == "disable":
            self.enabled -= units
            self.active -= units
        return CompletedRun(0, "", "")


@pytest.fixture
def programs() -> Programs:
    return Programs()


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    root = tmp_path / "root"
    (root / "logs").mkdir(parents=True)
    (root / "continuity.pyz").write_text("")
    return Wish(
        root=str(root),
        python=sys.executable,
        sets=parse_sets(SETS, "sets"),
        settings=Settings(str(root / "repository"), str(root / "03_BACKUPS"), ("/etc/continuity/key",)),
        directory=str(tmp_path / "units"),
    )


def follow(wish: Wish, scheduler: str, programs: Programs) -> list[str]:
    changes = installing.plan(wish, scheduler, programs)
    before = snapshot(wish), programs.crontab, set(programs.enabled)
    assert installing.plan(wish, scheduler, programs) == changes
    assert (snapshot(wish), programs.crontab, set(programs.enabled)) == before, "a plan changes nothing"
    installing.apply(wish, scheduler, changes, programs)
    return [change.what for change in changes]


def snapshot(wish: Wish) -> dict[str, str]:
    folders = [Path(wish.root), Path(wish.unit_directory(SYSTEMD))]
    return {str(file): file.read_text() for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("scheduler", [SYSTEMD, USER])
def test_timers_are_made_once_changed_and_removed(wish: Wish, programs: Programs, scheduler: str) -> None:
    units = Path(wish.unit_directory(scheduler))
    assert follow(wish, scheduler, programs)
    names = {f"continuity-backup-{name}.timer" for name in ("hourly", "daily", "weekly")}
    assert programs.enabled == programs.active == names
    services = {f"continuity-backup-{name}.service" for name in SETS}
    assert {file.name for file in units.iterdir()} == names | services
    assert programs.lingers is (scheduler == USER)
    assert follow(wish, scheduler, programs) == [], "a second run changes nothing"

    moved = replace(wish, sets=parse_sets({**SETS, "daily": {**SETS["daily"], "at": "04:15"}}, "sets"))
    changed = follow(moved, scheduler, programs)
    assert changed == [sets.file_of(wish.root), str(units / "continuity-backup-daily.timer")]
    assert "OnCalendar=*-*-* 04:15:00" in (units / "continuity-backup-daily.timer").read_text()
    assert follow(moved, scheduler, programs) == []

    programs.active.clear()
    assert len(follow(moved, scheduler, programs)) == 3, "timers that somebody stopped are started again"

    fewer = replace(wish, sets={"hourly": wish.sets["hourly"]})
    follow(fewer, scheduler, programs)
    assert {file.name for file in units.iterdir()} == {
        "continuity-backup-hourly.timer",
        "continuity-backup-hourly.service",
    }
    assert programs.enabled == programs.active == {"continuity-backup-hourly.timer"}
    follow(replace(wish, sets={}), scheduler, programs)
    assert list(units.iterdir()) == [] and not programs.enabled
    assert not os.path.exists(sets.file_of(wish.root))
    assert follow(replace(wish, sets={}), scheduler, programs) == []


def test_timers_catch_up_and_survive_a_reboot(wish: Wish) -> None:
    rendered = timers.render(wish.root, wish.python, wish.sets, 300)
    for name in ("hourly", "daily", "weekly"):
        timer = rendered[f"continuity-backup-{name}.timer"]
        assert "Persistent=true" in timer and "WantedBy=timers.target" in timer


def test_systemd_accepts_the_units(wish: Wish, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    odd = replace(wish, root=f"{wish.root}/with $ and % and blank")
    files = []
    for name, text in timers.render(odd.root, odd.python, odd.sets, 300).items():
        (tmp_path / name).write_text(text)
        files.append(str(tmp_path / name))
    ended = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    own = [line for line in ended.stderr.splitlines() if "continuity-backup" in line]
    assert own == [], ended.stderr


def test_foreign_units_are_refused(wish: Wish, programs: Programs) -> None:
    units = Path(wish.unit_directory(SYSTEMD))
    units.mkdir()
    service = units / "continuity-backup-daily.service"
    service.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(ScheduleError, match="not ours"):
        installing.plan(wish, SYSTEMD, programs)
    service.write_text(timers.render("/srv/other", "/usr/bin/python3", wish.sets, 0)[service.name])
    with pytest.raises(ScheduleError, match="of another root, /srv/other"):
        installing.plan(wish, SYSTEMD, programs)


def test_cron_keeps_what_is_not_ours(wish: Wish, programs: Programs) -> None:
    programs.crontab = "MAILTO=me\n# mine\n5 4 * * * /bin/true\n"
    assert follow(wish, CRON, programs) == [sets.file_of(wish.root), "crontab"]
    assert programs.crontab.startswith("MAILTO=me\n# mine\n5 4 * * * /bin/true\n")
    assert programs.crontab.count("--due") == 1
    assert follow(wish, CRON, programs) == []
    other = replace(wish, root=f"{wish.root}-2")
    assert wish.root in crontab.edit(programs.crontab, other.root, other.python, True)
    follow(replace(wish, sets={}), CRON, programs)
    assert programs.crontab == "MAILTO=me\n# mine\n5 4 * * * /bin/true\n\n"
    assert follow(replace(wish, sets={}), CRON, programs) == []


def test_a_host_without_crontab_gets_one(wish: Wish, programs: Programs) -> None:
    follow(wish, CRON, programs)
    assert programs.crontab is not None and programs.crontab.strip().count("\n") == 1


def test_the_line_of_cron_runs_what_it_should(tmp_path: Path) -> None:
    root = tmp_path / "it's 100% odd"
    (root / "logs").mkdir(parents=True)
    (root / "continuity.pyz").write_text("import sys; print(sys.argv[1:])\n")
    line = crontab.line_for(str(root), sys.executable)
    schedule, command = line.split(" nice ", 1)
    assert schedule == "*/15 * * * *"
    subprocess.run(["/bin/sh", "-c", "nice " + command.replace("\\%", "%")], check=True)
    said = (root / "logs/continuity-schedule.log").read_text()
    assert said == f"{['scheduled', '--root', str(root), '--due']}\n"


def test_what_is_written_is_what_is_read(wish: Wish, programs: Programs) -> None:
    follow(wish, CRON, programs)
    read, settings = sets.read(wish.root)
    assert read == wish.sets
    assert settings == wish.settings
    plain = json.loads(Path(sets.file_of(wish.root)).read_text())["sets"]
    assert plain["hourly"] == {"at": "hourly", "retention": {"keep_last": 48}}, "defaults are left out"


@pytest.mark.parametrize(
    ("name", "plain", "said"),
    [
        ("Daily", {"at": "02:00"}, "its name"),
        ("daily", {}, "does not say when"),
        ("daily", None, "is no list of settings"),
        ("daily", {"at": "noon"}, "is no time"),
        ("daily", {"at": "02:00", "make": "copy"}, "make is 'copy'"),
        ("daily", {"at": "02:00", "colour": "red"}, "colour: there is no such setting"),
        ("daily", {"at": "02:00", "name": "other"}, "name: there is no such setting"),
        ("daily", {"at": "02:00", "source_paths": "/srv"}, "is no list"),
        ("daily", {"at": "02:00", "retention": {"daily": 3}}, "daily: rules are keep_last"),
    ],
)
def test_sets_that_cannot_be_followed_are_refused(name: str, plain: dict[str, Any], said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        parse_sets({name: plain}, "sets")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"format": 2}',
        '{"format": 1, "repository": "", "destination": "", "identity_files": [], "sets": [1]}',
    ],
)
def test_a_damaged_schedule_is_one_clear_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ScheduleError, match="has no schedule"):
        sets.read(str(tmp_path))
    (tmp_path / "schedule").mkdir()
    Path(sets.file_of(str(tmp_path))).write_text(content)
    with pytest.raises(ScheduleError):
        sets.read(str(tmp_path))


def test_without_the_program_nothing_is_scheduled(wish: Wish, programs: Programs) -> None:
    os.unlink(f"{wish.root}/continuity.pyz")
    with pytest.raises(ScheduleError, match="The program that runs the sets is not there"):
        installing.plan(wish, CRON, programs)


@pytest.mark.parametrize("path", ["/srv/with\nbreak", '/srv/with"quote', "/srv/with\\"])
def test_paths_that_a_unit_cannot_hold_are_refused(wish: Wish, path: str) -> None:
    with pytest.raises(ScheduleError, match="cannot hold this path"):
        timers.render(path, wish.python, wish.sets, 0)


def test_no_word_of_a_command_is_lost_on_systemd(wish: Wish) -> None:
    rendered = timers.render("/srv/a b$c%d", wish.python, {"daily": wish.sets["daily"]}, 0)
    (command,) = [
        line.partition("=")[2]
        for line in rendered["continuity-backup-daily.service"].splitlines()
        if line.startswith("ExecStart=")
    ]
    words = shlex.split(command.replace("%%", "%").replace("$$", "$"))
    assert words[1:] == ["/srv/a b$c%d/continuity.pyz", "scheduled", "--root", "/srv/a b$c%d", "--set", "daily"]
