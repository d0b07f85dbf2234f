# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups are killed at random moments, and run out of disk: each is wholly there or not at all.

``CONTINUITY_ATTACKS`` says how often; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.backup import verifying
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import BUILDING, Backup, Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

ATTACKS = int(os.environ.get("CONTINUITY_ATTACKS", "8"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
FOR_EVER = """
import os, resource, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import backups
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner
root, limit = sys.argv[2], int(sys.argv[3])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("begun", flush=True)
turn = 0
while True:
    turn += 1
    given = {"backup_type": ("full", "incremental")[turn % 2], "host": "pc2"}
    made = backups.make_backup(backups.wish_for(root, given), LocalRunner(), SystemClock())
    print(made.backup.id, made.checksum, flush=True)
    if limit:
        break
"""


def fill(root: Path, chance: random.Random) -> None:
    for number in range(40):
        folder = root / "state" / f"Agent{number % 8}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"memory-{number}.json").write_text(json.dumps({"number": number, "text": "x" * 500}))
    database = sqlite3.connect(root / "state" / "facts.db")
    database.execute("CREATE TABLE facts (fact BLOB)")
    database.executemany("INSERT INTO facts VALUES (?)", [(chance.randbytes(2000),) for _number in range(200)])
    database.commit()
    database.close()
    (root / "logs").mkdir()


def published(staging: Staging) -> list[Backup]:
    found, damaged = staging.backups()
    assert damaged == [], f"half a backup has a name, ATTACK_SEED={SEED}"
    return found


def test_a_backup_that_is_killed_is_wholly_there_or_not_at_all(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    root = tmp_path / "root"
    fill(root, chance)
    staging, log = Staging(str(root / "03_BACKUPS")), root / "logs" / "Agent.log"
    told: dict[str, str] = {}
    verified: set[str] = set()
    while_building = 0
    for number in range(ATTACKS):
        with log.open("a") as stream:
            stream.write("".join(f"line {number}.{line}\n" for line in range(100)))
        process = subprocess.Popen(
            [sys.executable, "-c", FOR_EVER, COLLECTIONS, str(root), "0"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(chance.uniform(0.0, 1.2))
        process.send_signal(signal.SIGKILL)
        said, _unused = process.communicate()
        assert process.returncode == -signal.SIGKILL
        told.update(line.split() for line in said.splitlines(keepends=True) if line.endswith("\n"))
        while_building += any(name.startswith(BUILDING) for name in os.listdir(staging.path)) if number else 0
        for backup in published(staging):
            if backup.id not in verified:
                faults = verifying.verify(backup, expected=told.get(backup.id))
                assert faults == [], f"ATTACK_SEED={SEED}: {faults}"
                verified.add(backup.id)
        assert set(told) <= {backup.id for backup in published(staging)}, "what was told is there"
    assert while_building, f"no backup was hit while it was built: ATTACK_SEED={SEED}"
    last = subprocess.Popen(
        [sys.executable, "-c", FOR_EVER, COLLECTIONS, str(root), "0"], stdout=subprocess.PIPE, text=True
    )
    assert last.stdout is not None
    last.stdout.readline()
    name = last.stdout.readline().split()[0]
    last.kill()
    last.communicate()
    backup = staging.find(name)
    assert backup is not None and verifying.verify(backup) == []
    assert snapshots.verify_repository(str(root / "repository")).faults() == []
    print(f"{ATTACKS} kills, {while_building} while a backup was built, {len(verified)} backups published and verified")


def test_no_line_of_a_log_is_lost_or_doubled_by_kills(tmp_path: Path) -> None:
    """The newest full backup and the incremental ones after it hold every line once."""
    chance = random.Random(SEED + 1)
    root = tmp_path / "root"
    fill(root, chance)
    staging, log = Staging(str(root / "03_BACKUPS")), root / "logs" / "Agent.log"
    wanted = "given = {'backup_type': 'incremental', 'host': 'pc2'}"
    program = FOR_EVER.replace('given = {"backup_type": ("full", "incremental")[turn % 2], "host": "pc2"}', wanted)
    assert program != FOR_EVER
    lines = ""
    for number in range(max(3, ATTACKS // 3)):
        new = "".join(f"line {number}.{line}\n" for line in range(100))
        lines += new
        with log.open("a") as stream:
            stream.write(new)
        process = subprocess.Popen(
            [sys.executable, "-c", program, COLLECTIONS, str(root), "0"], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.0, 1.0))
        process.kill()
        process.communicate()
    ended = subprocess.run(
        [sys.executable, "-c", program, COLLECTIONS, str(root), str(1 << 30)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    archived = [
        gzip.decompress(Path(backup.folder, name).read_bytes()).decode()
        for backup in published(staging)
        for name in backup.report["compressed_logs"]["files"]
    ]
    assert "".join(archived) == lines, f"ATTACK_SEED={SEED}"


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_backup_that_finds_no_room_is_not_there(tmp_path: Path, share: float) -> None:
    """No file may grow beyond a limit: writing fails in the middle, as on a full disk."""
    root = tmp_path / "root"
    fill(root, random.Random(SEED))
    (root / "state" / "facts.db").unlink()
    # Small in the repository, large in the folder of the backup.
    size = (root / "state" / "large.json").write_text(json.dumps("x" * 400_000))
    ended = subprocess.run(
        [sys.executable, "-c", FOR_EVER, COLLECTIONS, str(root), str(int(size * share))],
        capture_output=True,
        text=True,
        check=False,
    )
    staging = Staging(str(root / "03_BACKUPS"))
    assert ended.returncode != 0 and "Error" in ended.stderr
    assert published(staging) == []
    assert [name for name in os.listdir(staging.path) if name.startswith(BUILDING)] == []
    again = subprocess.run(
        [sys.executable, "-c", FOR_EVER, COLLECTIONS, str(root), str(1 << 30)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    (backup,) = published(staging)
    assert verifying.verify(backup) == []
