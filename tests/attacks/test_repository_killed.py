# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot and restore are killed at random moments; nothing that was published may suffer.

``CONTINUITY_ATTACKS`` says how often, ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots

KILLS = int(os.environ.get("CONTINUITY_ATTACKS", "5"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main; sys.exit(main())"
)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", PROGRAM, COLLECTIONS, *map(str, arguments)]


def run(*arguments: object) -> None:
    ended = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def kill_within(seconds: float, *arguments: object) -> bool:
    """Start a command and kill it after so many seconds; False when it had ended before."""
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def fill(tree: Path, chance: random.Random) -> None:
    for number in range(300):
        file = tree / f"agent-{number % 20}" / f"{number}.state"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(chance.randrange(4000)))
    (tree / "large").write_bytes(chance.randbytes(20_000_000))


def same(one: Path, other: Path) -> bool:
    compared = filecmp.dircmp(one, other)
    pending = [compared]
    while pending:
        now = pending.pop()
        if now.left_only or now.right_only or now.funny_files:
            return False
        if filecmp.cmpfiles(now.left, now.right, now.common_files, shallow=False)[0] != now.common_files:
            return False
        pending += now.subdirs.values()
    return True


def duration(*arguments: object) -> float:
    begun = time.monotonic()
    run(*arguments)
    return time.monotonic() - begun


def test_a_snapshot_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository = tmp_path / "tree", str(tmp_path / "repository")
    fill(tree, chance)
    wanted = ("snapshot", "--repository", repository, "--host", "pc2", tree)
    run(*wanted)
    # From when it begins to work until it should have ended; starting Python is not what is attacked.
    begin = 0.8 * duration("snapshots", "--repository", repository)
    killed = runs = published = 0
    end = 3.0
    while killed < KILLS:
        runs += 1
        assert runs < 4 * KILLS + 20, f"only {killed} of {runs} were killed: ATTACK_SEED={SEED}"
        (tree / f"agent-{runs % 20}" / "new").write_bytes(chance.randbytes(3_000_000))
        begun = time.monotonic()
        if kill_within(chance.uniform(begin, end), *wanted):
            killed += 1
        else:
            end = min(end, time.monotonic() - begun)
        assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
        listed = snapshots.list_snapshots(repository)[0]
        assert len(listed) >= published
        published = len(listed)
    run(*wanted)
    assert snapshots.verify_repository(repository).faults() == []
    snapshots.restore_snapshot(repository, "latest", target=str(tmp_path / "target"))
    assert same(tree, Path(f"{tmp_path}/target{tree}"))
    assert list(Path(repository, "tmp", "pc2").iterdir()) == []


def test_a_repository_that_is_killed_while_it_is_made_is_made_by_the_next_run(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree = tmp_path / "tree"
    fill(tree, chance)
    whole = duration("snapshot", "--repository", tmp_path / "measured", "--host", "pc2", tree)
    for number in range(KILLS):
        repository = str(tmp_path / f"repository-{number}")
        wanted = ("snapshot", "--repository", repository, "--host", "pc2", tree)
        kill_within(chance.uniform(0.3, 1) * whole, *wanted)
        run(*wanted)
        assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
        assert list(Path(repository, "tmp", "pc2").iterdir()) == []
        shutil.rmtree(repository)


def test_a_restore_that_is_killed_goes_on(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, target = tmp_path / "tree", str(tmp_path / "repository"), tmp_path / "target"
    fill(tree, chance)
    run("snapshot", "--repository", repository, "--host", "pc2", tree)
    wanted = ("restore", "latest", "--repository", repository, "--target", target)
    begin = 0.8 * duration("snapshots", "--repository", repository)
    killed = runs = 0
    end = duration(*wanted)
    while killed < KILLS:
        runs += 1
        assert runs < 4 * KILLS + 20, f"only {killed} of {runs} were killed: ATTACK_SEED={SEED}"
        if chance.random() < 0.7:
            shutil.rmtree(target, ignore_errors=True)
        else:
            (Path(f"{target}{tree}") / "large").unlink(missing_ok=True)
        killed += kill_within(chance.uniform(begin, end), *wanted)
        for file in Path(f"{target}{tree}").rglob("*"):
            if file.is_file() and not file.name.startswith(".continuity-restore-"):
                original = tree / file.relative_to(f"{target}{tree}")
                assert filecmp.cmp(file, original, shallow=False), f"half a file: {file}, ATTACK_SEED={SEED}"
    run(*wanted)
    assert same(tree, Path(f"{target}{tree}"))
    assert snapshots.compare_tree(repository, "latest", str(target)).faults() == []


def test_two_writers_at_once_leave_every_snapshot_whole(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    repository = str(tmp_path / "repository")
    trees = {host: tmp_path / host for host in ("mainpc", "pc2")}
    for tree in trees.values():
        fill(tree, chance)
    started = [
        subprocess.Popen(
            command("snapshot", "--repository", repository, "--host", host, tree),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for host, tree in trees.items()
        for _unused in range(2)
    ]
    for process in started:
        _unused, said = process.communicate()
        assert process.returncode == 0, said.decode()
    assert len(snapshots.list_snapshots(repository)[0]) == 4
    assert snapshots.verify_repository(repository).faults() == []
    for host, tree in trees.items():
        snapshots.restore_snapshot(repository, "latest", host=host, target=str(tmp_path / f"target-{host}"))
        assert same(tree, Path(f"{tmp_path}/target-{host}{tree}"))
