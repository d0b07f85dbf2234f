# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets as timers and cron run them: by continuity.pyz alone, in a process of its own."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule import sets
from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "continuity.pyz"
    path.write_bytes(zipapp.build())
    return path


class HostRoot:
    """A host root with a schedule."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.path, self.program = folder, program
        for name in ("state/Twin", "logs", "schedule"):
            (folder / name).mkdir(parents=True)
        self.document = folder / "state/Twin/profile.json"
        self.document.write_text('{"mood": "calm"}')
        (folder / "logs/Twin.log").write_text("a line\n")
        self.repository, self.staging = str(folder / "repository"), Staging(str(folder / "03_BACKUPS"))

    def declare(self, **declared: dict[str, Any]) -> None:
        settings = sets.Settings(self.repository, str(self.path / "03_BACKUPS"))
        parsed = sets.parse_sets(declared, "sets")
        Path(sets.file_of(str(self.path))).write_text(sets.render(parsed, settings))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(self.program), "scheduled", "--root", str(self.path), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def ran(self, *arguments: str) -> list[str]:
        """The sets that ran, with their status."""
        ended = self.run(*arguments, "--format", "json")
        return [f"{one['set']} {one['status']}" for one in json.loads(ended.stdout)["ran"]]

    def note(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.path / f"schedule/{name}.last.json").read_text()))

    def began(self, name: str, seconds_ago: float) -> None:
        """As if the last run of this set had begun so long ago."""
        started = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - seconds_ago))
        (self.path / f"schedule/{name}.last.json").write_text(json.dumps({**self.note(name), "started": started}))


@pytest.fixture
def host(tmp_path: Path, program: Path) -> HostRoot:
    return HostRoot(tmp_path / "root", program)


HOURLY = {"at": "hourly", "retention": {"keep_last": 2}}
DAILY = {"at": "02:00", "make": "backup", "backup_type": "incremental", "keep_backups": 2}
WEEKLY = {"at": "Sun 03:00", "make": "backup"}


def test_what_is_due_runs_once_and_again_when_it_was_missed(host: HostRoot) -> None:
    host.declare(hourly=HOURLY, daily=DAILY, weekly=WEEKLY, training={"at": "manual"})
    assert host.ran("--due") == ["weekly SUCCESS", "daily SUCCESS", "hourly SUCCESS"]
    if time.localtime().tm_min < 59:
        assert host.ran("--due") == []
    host.began("daily", 3 * 86400)
    host.began("weekly", 30 * 86400)
    assert host.ran("--due")[:2] == ["weekly SUCCESS", "daily SUCCESS"]
    assert [one.report["set"] for one in host.staging.backups()[0]] == ["weekly", "daily"] * 2
    listed = host.run("--list").stdout
    assert "training" in listed and "never ran" in listed and "SUCCESS" in listed


def test_a_note_of_a_clock_that_was_wrong_does_not_stop_a_set(host: HostRoot) -> None:
    host.declare(hourly=HOURLY)
    host.ran("--due")
    host.began("hourly", -30 * 86400)
    assert host.ran("--due") == ["hourly SUCCESS"]


def test_a_set_that_failed_is_due_again(host: HostRoot) -> None:
    host.declare(hourly={**HOURLY, "source_paths": [str(host.path / "gone")]})
    failed = host.run("--due")
    assert failed.returncode == 2 and "does not exist" in failed.stdout
    assert host.note("hourly")["status"] == "FAILED"
    (host.path / "gone").mkdir()
    assert host.ran("--due") == ["hourly SUCCESS"]
    assert host.note("hourly")["status"] == "SUCCESS"


def test_a_set_has_its_own_retention_and_spares_all_others(host: HostRoot) -> None:
    host.declare(
        hourly=HOURLY, daily={**DAILY, "retention": {"keep_last": 1}}, training={"at": "manual", "make": "backup"}
    )
    assert host.ran("--set", "training") == ["training SUCCESS"]
    for number in range(4):
        host.document.write_text(json.dumps({"mood": number}))
        assert host.ran("--set", "hourly") == ["hourly SUCCESS"]
        assert host.ran("--set", "daily") == ["daily SUCCESS"]
    tags = [tag for one in snapshots.list_snapshots(host.repository)[0] for tag in one["tags"]]
    assert sorted(tags) == ["daily", "hourly", "hourly", "training"]
    assert [one.report["set"] for one in host.staging.backups()[0]] == ["training", "daily", "daily"]
    assert snapshots.verify_repository(host.repository).faults() == []
    assert host.note("hourly")["dropped_snapshots"] == 1 and len(host.note("daily")["dropped_backups"]) == 1


def test_a_partial_backup_is_told_and_nothing_is_due_for_it(host: HostRoot) -> None:
    host.declare(daily=DAILY)
    host.ran("--due")
    host.document.write_text('{"mood": ')
    partial = host.run("--set", "daily")
    assert partial.returncode == 1 and str(host.document) in partial.stdout and "not valid JSON" in partial.stdout
    assert host.note("daily")["status"] == "PARTIAL"
    assert host.ran("--due") == []


def test_a_problem_with_a_name_of_any_bytes_is_noted(host: HostRoot) -> None:
    host.declare(daily=DAILY)
    (host.path / "logs").mkdir(exist_ok=True)
    os.mkfifo(os.fsencode(host.path) + b"/logs/\xff\xfe.log")
    partial = host.run("--set", "daily")
    assert partial.returncode == 1 and "\\udcff\\udcfe.log" in partial.stdout, partial.stderr
    assert host.note("daily")["status"] == "PARTIAL" and host.note("daily")["made"]


def test_a_scrub_finds_damage_and_heals_it(host: HostRoot) -> None:
    host.declare(daily=DAILY, scrub={"at": "04:30", "make": "scrub"})
    assert host.ran("--set", "daily") == ["daily SUCCESS"]
    assert host.ran("--set", "scrub") == ["scrub SUCCESS"]
    (pack,) = (file for file in Path(host.repository, "packs").rglob("*.pack") if b'"calm"' in file.read_bytes())
    content = bytearray(pack.read_bytes())
    content[content.index(b'"calm"') + 1] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(bytes(content))
    copy = next(Path(host.staging.path).rglob("profile.json"))
    copy.chmod(0o600)
    copy.write_text('{"mood": "evil"}')
    told = host.run("--set", "scrub")
    assert told.returncode == 1, told.stdout
    assert "healed: " in told.stdout and f"{copy.name}: changed" in told.stdout
    assert snapshots.verify_repository(host.repository).faults() == []


def test_one_at_a_time_is_enough_for_cron(host: HostRoot) -> None:
    host.declare(hourly=HOURLY)
    with open(host.path / "schedule/.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = host.run("--due")
    assert ended.returncode == 0 and "another run is at work" in ended.stderr
    assert not os.path.exists(host.repository)


def test_what_is_not_there_is_one_clear_error(host: HostRoot) -> None:
    ended = host.run("--set", "hourly")
    assert ended.returncode == 2 and "has no schedule" in ended.stderr
    host.declare(hourly=HOURLY)
    ended = host.run("--set", "nightly")
    assert ended.returncode == 2 and "There is no set 'nightly'" in ended.stderr


def test_the_command_backup_makes_and_verifies(host: HostRoot) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(host.program), "backup", "--root", str(host.path), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    name = "BACKUP_2026-01-31_020000"
    looked = command("--backup-id", name, "--dry-run")
    assert looked.returncode == 0 and "database/agent_states_2026-01-31.json" in looked.stdout
    assert not os.path.exists(host.staging.path)
    made = command("--backup-id", name, "--format", "json")
    document = json.loads(made.stdout)
    assert made.returncode == 0 and document["new"] and document["report"]["status"] == "SUCCESS"
    again = command("--backup-id", name)
    assert again.returncode == 0 and f"SHA-256 {document['report_checksum']}" in again.stdout
    assert command("--verify", name, "--expected", document["report_checksum"]).stdout == "1 backups: sound\n"
    archive = next(Path(document["folder"], "logs").glob("*.gz"))
    archive.unlink()
    broken = command("--verify", "all")
    assert broken.returncode == 1 and f"{archive.relative_to(document['folder'])}: missing" in broken.stdout
