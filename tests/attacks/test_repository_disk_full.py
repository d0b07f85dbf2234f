# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk is full at a random point of whatever is done with a repository.

``CONTINUITY_ATTACKS`` says how many points of each kind; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError

POINTS = int(os.environ.get("CONTINUITY_ATTACKS", "8"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
FILES = 100
SIZE = 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def room(disk: Path, size: int) -> Iterator[None]:
    """The disk has no more than ``size`` bytes left."""
    now = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(0, now.f_bavail * now.f_frsize - size)))
    try:
        yield
    finally:
        ballast.unlink()


def take(repository: str, tree: Path, **wanted: bool) -> None:
    snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(tree),), **wanted), SystemClock())


def fill(tree: Path, chance: random.Random) -> None:
    tree.mkdir(exist_ok=True)
    for number in range(FILES):
        (tree / f"{number}").write_bytes(chance.randbytes(SIZE))


def no_room(error: ContinuityError) -> int:
    assert "No space left" in str(error), error
    return 1


def test_a_full_disk_leaves_what_was_there_and_the_next_run_goes_on(tmp_path: Path, disk: Path) -> None:
    chance = random.Random(SEED)
    tree, repository = tmp_path / "tree", str(disk / "repository")
    fill(tree, chance)
    take(repository, tree)
    refused = runs = 0
    while refused < POINTS:
        runs += 1
        assert runs < 4 * POINTS + 20, f"the disk was full only {refused} times: ATTACK_SEED={SEED}"
        for changed in range(0, FILES, 10):
            (tree / f"{changed + runs % 10}").write_bytes(chance.randbytes(SIZE))
        before = {one["digest"]: one["pinned"] for one in snapshots.list_snapshots(repository)[0]}
        with room(disk, chance.randrange(10 * SIZE + 16_000)):
            try:
                take(repository, tree, pin=runs % 2 == 0)
            except ContinuityError as error:
                refused += no_room(error)
            assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
            after = {one["digest"]: one["pinned"] for one in snapshots.list_snapshots(repository)[0]}
            assert before.items() <= after.items(), f"ATTACK_SEED={SEED}"
        if len(after) > 20:
            forget = maintenance.Dropping(maintenance.retention_from({"keep_last": 3, "allow": ["pins"]}), ())
            maintenance.forget(repository, forget, SystemClock(), prune=True, max_unused=0.0)
    take(repository, tree)
    assert snapshots.verify_repository(repository).faults() == []
    assert snapshots.compare_tree(repository, "latest", "/").faults() == []


def test_forget_and_prune_on_a_full_disk_lose_nothing(tmp_path: Path, disk: Path) -> None:
    chance = random.Random(SEED)
    tree, repository = tmp_path / "tree", str(disk / "repository")
    fill(tree, chance)
    refused = freed = runs = 0
    while refused < POINTS:
        runs += 1
        assert runs < 4 * POINTS + 20, f"the disk was full only {refused} times: ATTACK_SEED={SEED}"
        for _unused in range(3):
            for name in chance.sample(range(FILES), 20):
                (tree / str(name)).write_bytes(chance.randbytes(SIZE))
            take(repository, tree)
        names = [one["digest"] for one in snapshots.list_snapshots(repository)[0]]
        wanted = maintenance.Dropping(maintenance.retention_from({"keep_last": 2}), ())
        # Most points near the end of the room, where the lines of forgotten snapshots and the index are written.
        with room(disk, chance.choice((chance.randrange(12_000), chance.randrange(3_000_000)))):
            try:
                done = maintenance.forget(repository, wanted, SystemClock(), prune=True, max_unused=0.0)
                freed += done.pruned.bytes_freed if done.pruned else 0
            except ContinuityError as error:
                refused += no_room(error)
            left = [one["digest"] for one in snapshots.list_snapshots(repository)[0]]
            assert left[-2:] == names[-2:] and set(left) <= set(names), f"ATTACK_SEED={SEED}"
            assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
        maintenance.forget(repository, wanted, SystemClock(), prune=True, max_unused=0.0)
        assert snapshots.verify_repository(repository).faults() == []
    assert freed or POINTS < 10
    assert snapshots.compare_tree(repository, "latest", "/").faults() == []


def test_a_restore_to_a_full_disk_goes_on_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, target = tmp_path / "tree", str(tmp_path / "repository"), disk / "target"
    fill(tree, chance)
    take(repository, tree)
    refused = 0
    for _unused in range(POINTS):
        for file in chance.sample(list(Path(f"{target}{tree}").glob("*")), 30) if refused else ():
            file.unlink()
        with room(disk, chance.randrange(30 * SIZE)):
            try:
                snapshots.restore_snapshot(repository, "latest", target=str(target))
            except ContinuityError as error:
                refused += no_room(error)
            for file in Path(f"{target}{tree}").glob("*"):
                assert file.read_bytes() == (tree / file.name).read_bytes(), f"ATTACK_SEED={SEED}"
        snapshots.restore_snapshot(repository, "latest", target=str(target))
        assert snapshots.compare_tree(repository, "latest", str(target)).faults() == []
    assert refused


def test_a_repository_that_found_no_room_is_made_when_there_is(tmp_path: Path, disk: Path) -> None:
    chance = random.Random(SEED)
    tree = tmp_path / "tree"
    fill(tree, chance)
    for number in range(min(POINTS, 50)):
        repository = str(disk / f"repository-{number}")
        with room(disk, chance.choice((0, chance.randrange(30_000), chance.randrange(FILES * SIZE)))):
            try:
                take(repository, tree)
            except ContinuityError as error:
                no_room(error)
        take(repository, tree)
        assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
        subprocess.run(["rm", "-rf", repository], check=True)
