# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails at any moment of backups: each is there completely or not at all, and the next one goes on.

``CONTINUITY_ATTACKS`` says how often; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lost_writes import Disk, record

from ansible_collections.fleetops.continuity.plugins.module_utils.backup import verifying
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

CUTS = int(os.environ.get("CONTINUITY_ATTACKS", "15"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
WRITER = """\
import os, random, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main
root = Path(sys.argv[2])
chance = random.Random(7)
for folder in ("state/Twin", "ledger", "logs", "documents"):
    (root / folder).mkdir(parents=True)
os.sync()
for number, kind in enumerate(("full", "incremental")):
    (root / "state/Twin/state.json").write_text('{"number": %d}' % number)
    (root / "state/Twin/blob").write_bytes(chance.randbytes(5000))
    (root / f"documents/contract-{number}.md").write_text("signed")
    with open(root / "logs/Twin.log", "a") as log:
        log.write("a line\\n" * 500)
    status = main([
        "backup", "--root", str(root), "--host", "pc2", "--backup-type", kind,
        "--backup-id", f"BACKUP_2026-01-31_02000{number}", "--document-path", str(root / "documents"),
    ])
    assert status == 0, status
    os.write(2, b"made")
"""


def test_no_power_cut_leaves_half_a_backup(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace records what is written, and is not installed")
    usable = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if usable.returncode != 0:
        pytest.skip(f"strace may not be used here: {usable.stderr.decode().strip()}")
    root = tmp_path / "disk/root"
    root.parent.mkdir()
    recorded = record([sys.executable, "-c", WRITER, COLLECTIONS, str(root)], tmp_path / "calls")
    chance, disk, made = random.Random(SEED), Disk(root.parent), 0
    changing = [number for number, call in enumerate(recorded) if disk.touched_by(call)]
    cuts = {*chance.sample(changing, min(CUTS * 2, len(changing))), len(recorded) - 1}
    for number, call in enumerate(recorded):
        disk.play(call)
        made += call.name == "write" and call.texts == (b"made",)
        if number not in cuts:
            continue
        told = f"ATTACK_SEED={SEED}, call {number}, {made} made"
        left = tmp_path / "left"
        disk.leave(left, chance)
        found, damaged = Staging(str(left / "root/03_BACKUPS")).chosen(None)
        assert damaged == [] and len(found) >= made, told
        assert verifying.verify_all(found) == {}, told
        if made or (left / "root/repository/config.json").exists():
            assert snapshots.verify_repository(str(left / "root/repository")).faults() == [], told
        shutil.rmtree(left)
    assert made == 2
