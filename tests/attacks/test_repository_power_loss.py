# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power fails at any moment of snapshots, forget and prune: what was not synced is dropped, torn or reordered.

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
from lost_writes import Call, Disk, record

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

CUTS = int(os.environ.get("CONTINUITY_ATTACKS", "20"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
WRITER = """\
import os, random, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
tree, repository = sys.argv[2:]
chance = random.Random(7)
for number in range(11):
    # Enough index files to be merged, once with more than one pack.
    for name in chance.sample(range(20), 5):
        with open(f"{tree}/{name}.state", "wb") as stream:
            stream.write(chance.randbytes(34_000_000 if number == 1 and name == 3 else chance.randrange(1, 9000)))
    wanted = snapshots.Wanted("pc2", (tree,), pin=number == 2 or None)
    outcome = snapshots.take_snapshot(repository, wanted, SystemClock())
    os.write(1, b"published " + outcome.manifest.digest.encode())
    if number in (6, 10):
        digests = [one["digest"] for one in snapshots.list_snapshots(repository)[0] if not one["pinned"]]
        os.write(1, b"forgetting " + " ".join(digests[:-2]).encode())
        dropping = maintenance.Dropping(maintenance.retention_from({"keep_last": 2}), (), "pc2")
        maintenance.forget(repository, dropping, SystemClock(), prune=True, max_unused=0.0)
"""


RESTORER = """\
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
root, repository, count = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
for word in ("then", "later"):
    for number in range(count):
        file = root / f"tree/{number % 3}/{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{word} {number} " + "x" * 300)
    if word == "then":
        snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(root / "tree"),)), SystemClock())
os.sync()
os.write(1, b"restoring")
snapshots.restore_snapshot(repository, "latest")
os.write(1, b"restored")
"""


def traced(argv: list[str], folder: Path) -> list[Call]:
    if shutil.which("strace") is None:
        pytest.skip("strace records what is written, and is not installed")
    usable = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if usable.returncode != 0:
        pytest.skip(f"strace may not be used here: {usable.stderr.decode().strip()}")
    return record(argv, folder)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Call]]:
    folder = tmp_path_factory.mktemp("power")
    tree, disk = folder / "tree", folder / "disk"
    tree.mkdir()
    disk.mkdir()
    argv = [sys.executable, "-c", WRITER, COLLECTIONS, str(tree), str(disk / "repository")]
    return tree, disk, traced(argv, folder / "calls")


def test_no_power_cut_breaks_what_was_published(calls: tuple[Path, Path, list[Call]], tmp_path: Path) -> None:
    tree, root, recorded = calls
    chance = random.Random(SEED)
    published: list[str] = []
    said = 0
    disk = Disk(root)
    changing = [number for number, call in enumerate(recorded) if disk.touched_by(call)]
    cuts = sorted(chance.sample(changing, min(CUTS, len(changing))))
    survived = set()
    for number, call in enumerate(recorded):
        disk.play(call)
        if call.name == "write" and call.descriptors[0][0] == "1":
            word, *digests = call.texts[0].decode().split()
            said += 1
            published = (
                [*published, *digests] if word == "published" else [one for one in published if one not in digests]
            )
        if number in cuts:
            left = tmp_path / f"left-{number}"
            disk.leave(left, chance)
            examine(left / "repository", tree, published)
            survived.add(said)
            shutil.rmtree(left)
    assert said == 13 and len(published) == 3
    if CUTS >= 20:
        assert len(survived) > 3, "every cut fell into the same part"


def examine(repository: Path, tree: Path, published: list[str]) -> None:
    """Every snapshot that was said to be published is there and whole, and so is any other that is seen; the
    next writer goes on."""
    told = f"ATTACK_SEED={SEED}, {len(published)} published"
    if published or (repository / "config.json").exists():
        assert snapshots.verify_repository(str(repository)).faults() == [], told
        seen = {one["digest"] for one in snapshots.list_snapshots(str(repository))[0]}
        assert set(published) <= seen, told
        if len(seen) > 3:
            # The third snapshot was pinned before its writer said that it is there.
            assert [one["sequence"] for one in snapshots.list_snapshots(str(repository))[0] if one["pinned"]] == [3]
    outcome = snapshots.take_snapshot(str(repository), snapshots.Wanted("pc2", (str(tree),)), SystemClock())
    assert outcome.published
    assert snapshots.verify_repository(str(repository)).faults() == [], told
    assert snapshots.compare_tree(str(repository), "latest", "/").faults() == [], told


@pytest.mark.parametrize("count", [12, 150])
def test_a_power_cut_in_a_restore_in_place_leaves_each_file_old_or_new(tmp_path: Path, count: int) -> None:
    """Few files are made durable one by one, many at once."""
    chance = random.Random(SEED)
    root = tmp_path / "disk"
    root.mkdir()
    argv = [sys.executable, "-c", RESTORER, COLLECTIONS, str(root), str(tmp_path / "repository"), str(count)]
    recorded = traced(argv, tmp_path / "calls")
    disk, said = Disk(root), ""
    changing = [number for number, call in enumerate(recorded) if disk.touched_by(call)]
    cuts = {*chance.sample(changing, min(CUTS * 4, len(changing))), len(recorded) - 1}
    looked = 0
    for number, call in enumerate(recorded):
        disk.play(call)
        if call.name == "write" and call.descriptors[0][0] == "1":
            said = call.texts[0].decode()
        if number not in cuts or not said:
            continue
        left = tmp_path / "left"
        disk.leave(left, chance)
        looked += 1
        for place in range(count):
            whole = [f"{word} {place} " + "x" * 300 for word in ("then", "later")]
            now = (left / f"tree/{place % 3}/{place}").read_text()
            assert now in (whole[:1] if said == "restored" else whole), f"ATTACK_SEED={SEED}, file {place}"
            if said == "restored":
                (kept,) = left.glob(f".replaced-*/tree/{place % 3}/{place}")
                assert kept.read_text() == whole[1], f"ATTACK_SEED={SEED}, file {place}"
        shutil.rmtree(left)
    assert looked > 1
