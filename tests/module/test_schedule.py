# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the module schedule, with cron on hosts of their own: `crontab` keeps its file in the test's folder.

Timers of a real systemd are tested on the hosts of molecule and of tests/systemd.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playbook import COLLECTIONS, Playbook

from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp

CRONTAB = """#!/bin/sh
case "$1" in
  -l) cat "$0.tab" 2>/dev/null || { echo "no crontab for you" >&2; exit 1; } ;;
  -) cat > "$0.tab" ;;
esac
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host root, and a crontab that is nobody's."""
    root = tmp_path / "root"
    for name in ("state/Twin", "logs"):
        (root / name).mkdir(parents=True)
    (root / "state/Twin/profile.json").write_text("{}")
    (root / "continuity.pyz").write_bytes(zipapp.build())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/crontab").write_text(CRONTAB)
    (tmp_path / "bin/crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return root


def crontab(root: Path) -> str:
    file = root.parent / "bin/crontab.tab"
    return file.read_text().strip() if file.exists() else ""


def apply(play: Playbook, *arguments: str, **variables: Any) -> tuple[int, str]:
    """Run the role; (how much it changed, what it said)."""
    site = play.folder / "site.json"
    role = {"role": "fleetops.continuity.schedule"}
    site.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]))
    ended = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("--inventory", str(play.folder / "inventory.json"), "-e", json.dumps(variables), *arguments, str(site)),
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    changed = sum(int(part.split("=")[1]) for part in ended.stdout.split() if part.startswith("changed="))
    return changed, ended.stdout


def test_the_role_declares_runs_and_removes(root: Path, tmp_path: Path) -> None:
    common = {"continuity_root": str(root), "continuity_python": sys.executable, "schedule_scheduler": "cron"}
    play = Playbook(tmp_path / "play", {"pc2": common})
    changed, said = apply(play, "--check", "--diff")
    assert changed == 1 and "scheduled --root" in said and crontab(root) == ""
    assert not (root / "schedule").exists()
    assert apply(play)[0] == 1
    assert apply(play)[0] == 0, "a second run changes nothing"
    declared = json.loads((root / "schedule/sets.json").read_text())["sets"]
    assert set(declared) == {"hourly", "daily", "weekly", "scrub"}
    assert (declared["daily"]["at"], declared["weekly"]["at"]) == ("02:00", "Sun 03:00")
    command = crontab(root).splitlines()[-1].partition("nice")[2].replace("\\%", "%")
    subprocess.run(["/bin/sh", "-c", f"nice{command}"], check=True)
    said = (root / "logs/continuity-schedule.log").read_text()
    assert [line.split()[1:3] for line in said.splitlines() if not line.startswith(" ")] == [
        ["weekly:", "SUCCESS"],
        ["daily:", "SUCCESS"],
        ["scrub:", "SUCCESS"],
        ["hourly:", "SUCCESS"],
    ]
    fewer = {"schedule_sets": {"hourly": {"at": "hourly"}}}
    assert apply(play, **fewer)[0] == 1
    assert set(json.loads((root / "schedule/sets.json").read_text())["sets"]) == {"hourly"}
    assert apply(play, schedule_sets={})[0] == 1
    assert crontab(root) == "" and not (root / "schedule/sets.json").exists()
    assert apply(play, schedule_sets={})[0] == 0
    assert len(list((root / "03_BACKUPS/STAGING").glob("2*"))) == 2, "what was made stays"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sets": {"daily": {"at": "noon"}}}, "set 'daily': 'noon' is no time"),
        ({"sets": {"daily": {"at": "02:00"}}, "root": "/nonexistent"}, "Roll out a release first"),
    ],
)
def test_what_cannot_be_followed_is_one_clear_error(
    root: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    play = Playbook(tmp_path / "play", {"pc2": {}})
    failed = play.task("schedule", {"root": str(root), "scheduler": "cron", **options}).results["pc2"]
    assert failed["failed"] and said in failed["msg"], failed
    assert crontab(root) == ""
