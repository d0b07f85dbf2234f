# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two writers, a reader, somebody who forgets and prunes and somebody who scrubs, all at once; and clocks that jump.

``CONTINUITY_ATTACKS`` says how many snapshots each writer takes; ``ATTACK_SEED`` repeats their contents.
"""

from __future__ import annotations

import filecmp
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError

ROUNDS = int(os.environ.get("CONTINUITY_ATTACKS", "8"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
COMMON = """\
import os, random, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
repository, rounds, seed = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
clock, chance = SystemClock(), random.Random(seed)
"""
WRITER = """\
host, tree = sys.argv[5:]
for number in range(rounds):
    for name in chance.sample(range(30), 6):
        Path(tree, str(name)).write_bytes(chance.randbytes(chance.randrange(60_000)))
    # What another host wrote, and what prune may just be dropping.
    Path(tree, "shared").write_bytes(random.Random(number // 2).randbytes(300_000))
    taken = snapshots.take_snapshot(repository, snapshots.Wanted(host, (tree,)), clock)
    assert taken.published and not taken.problems, taken.problems
"""
PRUNER = """\
while not os.path.exists(sys.argv[5]):
    retention = maintenance.retention_from({"keep_last": 2})
    for host in ("mainpc", "pc2"):
        maintenance.forget(repository, maintenance.Dropping(retention, (), host), clock, prune=True, max_unused=0.0)
"""
SCRUBBER = """\
while not os.path.exists(sys.argv[5]):
    for heal in (False, True):
        found = maintenance.scrub(repository, maintenance.Scrubbing(heal=heal, restart=True), clock)
        assert found.faults() == [], found.faults()
"""
RESTORER = """\
_unused, done = snapshots.restore_snapshot(repository, "latest", target=sys.argv[5])
assert done.failed == {}, done.failed
"""


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", COMMON + script, COLLECTIONS, *map(str, arguments)]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> str:
    _unused, said = process.communicate()
    return said.decode() if process.returncode != 0 else ""


def test_two_writers_a_reader_prune_and_scrub_at_once(tmp_path: Path) -> None:
    repository, stop = str(tmp_path / "repository"), tmp_path / "stop"
    trees = {host: tmp_path / host for host in ("mainpc", "pc2")}
    for tree in trees.values():
        tree.mkdir()
        (tree / "first").write_bytes(b"first")
        snapshots.take_snapshot(repository, snapshots.Wanted(tree.name, (str(tree),)), SystemClock())
    writers = [
        start(WRITER, repository, ROUNDS, SEED + number, host, tree)
        for number, (host, tree) in enumerate(trees.items())
    ]
    upkeep = [start(script, repository, ROUNDS, SEED, stop) for script in (PRUNER, SCRUBBER)]
    read = restored = 0
    try:
        while any(writer.poll() is None for writer in writers):
            assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
            read += 1
            for one in snapshots.list_snapshots(repository)[0][:2]:
                target = tmp_path / f"target-{read}-{one['id']}"
                try:
                    done = snapshots.restore_snapshot(repository, one["digest"], target=str(target))[1]
                except ContinuityError:
                    # Only if it was forgotten meanwhile.
                    assert one["digest"] not in {left["digest"] for left in snapshots.list_snapshots(repository)[0]}
                    continue
                forgotten = one["digest"] not in {left["digest"] for left in snapshots.list_snapshots(repository)[0]}
                assert forgotten or done.failed == {}, f"ATTACK_SEED={SEED}"
                restored += 1
    finally:
        stop.touch()
        said = [ended(process) for process in (*writers, *upkeep)]
    assert said == [""] * 4, f"ATTACK_SEED={SEED}"
    assert read and restored
    assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
    for host, tree in trees.items():
        snapshots.restore_snapshot(repository, "latest", host=host, target=str(tmp_path / "end"))
        names = sorted(os.listdir(tree))
        same = filecmp.cmpfiles(tree, Path(f"{tmp_path}/end{tree}"), names, shallow=False)
        assert same == (names, [], [])
    maintenance.prune(repository, SystemClock(), max_unused=0.0)
    assert snapshots.verify_repository(repository).faults() == []


def test_two_restores_at_once_do_not_mix(tmp_path: Path) -> None:
    tree, repository, target = tmp_path / "tree", str(tmp_path / "repository"), tmp_path / "target"
    tree.mkdir()
    chance = random.Random(SEED)
    for number in range(40):
        (tree / str(number)).write_bytes(chance.randbytes(500_000))
    snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(tree),)), SystemClock())
    restorers = [start(RESTORER, repository, 0, SEED, target) for _unused in range(4)]
    assert [ended(process) for process in restorers] == [""] * 4
    names = sorted(os.listdir(tree))
    assert filecmp.cmpfiles(tree, Path(f"{target}{tree}"), names, shallow=False) == (names, [], [])
    assert sorted(os.listdir(f"{target}{tree}")) == names


class JumpingClock(SystemClock):
    """The system's clock, set to something else before each look at it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def now(self) -> float:
        day = 86400.0
        return super().now() + self._chance.choice((0.0, -day, day, -400 * day, 400 * day, -20000 * day))


def test_a_clock_that_jumps_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    clock = JumpingClock(chance)
    tree, repository = tmp_path / "tree", str(tmp_path / "repository")
    tree.mkdir()
    for number in range(ROUNDS):
        # The same size and time each time, as after a clock that was set back.
        (tree / "state").write_bytes(b"%08d" % number)
        os.utime(tree / "state", (1_700_000_000, 1_700_000_000))
        taken = snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(tree),)), clock)
        assert taken.manifest is not None and taken.manifest.sequence == number + 1
        target = tmp_path / str(number)
        snapshots.restore_snapshot(repository, "latest", host="pc2", target=str(target))
        assert Path(f"{target}{tree}/state").read_bytes() == b"%08d" % number, f"ATTACK_SEED={SEED}"
        if number % 3 == 2:
            left = {one["digest"] for one in snapshots.list_snapshots(repository)[0]}
            maintenance.forget(
                repository,
                maintenance.Dropping(maintenance.retention_from({"keep_within": "30d"}), ()),
                clock,
                prune=True,
            )
            newest = {one["digest"] for one in snapshots.list_snapshots(repository)[0]}
            assert taken.manifest.digest in newest, f"ATTACK_SEED={SEED}"
            assert newest <= left, f"ATTACK_SEED={SEED}"
        assert snapshots.verify_repository(repository).faults() == []


@pytest.mark.parametrize("keep", [{"keep_last": 1}, {"keep_daily": 1}, {"keep_within": "1h"}])
def test_the_newest_snapshot_is_never_forgotten_by_its_time(tmp_path: Path, keep: dict[str, object]) -> None:
    """Its writer's clock stood years back, so by time it is the oldest."""
    tree, repository = tmp_path / "tree", str(tmp_path / "repository")
    tree.mkdir()
    for number, shift in enumerate((0.0, 3600.0, -4 * 365 * 86400.0)):
        (tree / "state").write_bytes(b"%d" % number)
        clock = SystemClock()
        clock.now = lambda shift=shift: time.time() + shift  # type: ignore[method-assign, misc]
        taken = snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(tree),)), clock)
    maintenance.forget(repository, maintenance.Dropping(maintenance.retention_from(keep), ()), SystemClock())
    left = {one["digest"] for one in snapshots.list_snapshots(repository)[0]}
    assert taken.manifest is not None and taken.manifest.digest in left
