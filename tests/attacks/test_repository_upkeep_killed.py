# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget, prune and heal are killed at random moments; no published snapshot may suffer, the next run goes on.

Bits are flipped all over the repository; every one is noticed and healed.

``CONTINUITY_ATTACKS`` says how often (flips: 2.5 times that), ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

KILLS = int(os.environ.get("CONTINUITY_ATTACKS", "4"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
PROGRAM = """\
import importlib, sys
sys.path.insert(0, sys.argv.pop(1))
command_line = "ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line"
importlib.import_module(f"{command_line}.{sys.argv[1]}")
print("at work", flush=True)
sys.exit(importlib.import_module(command_line).main())
"""
"""A command that says when it begins: what is killed is its work, not the start of Python."""


def start(*arguments: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, COLLECTIONS, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None and process.stdout.readline() == b"at work\n"
    return process


def run(*arguments: object) -> float:
    process = start(*arguments)
    begun = time.monotonic()
    said = process.communicate()[0]
    assert process.returncode == 0, said.decode()
    return time.monotonic() - begun


def kill_after(seconds: float, *arguments: object) -> bool:
    """Start a command and kill it so many seconds after it begins; False when it had ended before."""
    process = start(*arguments)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    return process.returncode < 0


def take(repository: Path, tree: Path, chance: random.Random) -> None:
    for name in ("large", *(f"small-{chance.randrange(60)}" for _unused in range(20))):
        (tree / name).write_bytes(chance.randbytes(1_500_000 if name == "large" else 4_000))
    snapshots.take_snapshot(str(repository), snapshots.Wanted("pc2", (str(tree),)), SystemClock())


def faults(repository: Path) -> list[str]:
    return snapshots.verify_repository(str(repository)).faults()


def listed(repository: Path) -> list[int]:
    return [one["sequence"] for one in snapshots.list_snapshots(str(repository))[0]]


def test_forget_and_prune_that_are_killed_lose_nothing_that_is_kept(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, measured = tmp_path / "tree", tmp_path / "repository", tmp_path / "measured"
    tree.mkdir()
    for _unused in range(6):
        take(repository, tree, chance)
    shutil.copytree(repository, measured)
    keep = ("--keep-last", "3", "--prune", "--max-unused", "0", "--repository")
    whole = run("forget", *keep, measured)
    killed = attempts = 0
    while killed < KILLS and attempts < KILLS * 4:
        attempts += 1
        take(repository, tree, chance)
        take(repository, tree, chance)
        newest = listed(repository)[-3:]
        killed += kill_after(chance.uniform(0, whole), "forget", *keep, repository)
        assert listed(repository)[-3:] == newest, f"ATTACK_SEED={SEED}"
        assert faults(repository) == [], f"ATTACK_SEED={SEED}"
    assert killed, f"nothing was killed: ATTACK_SEED={SEED}"
    print(f"{killed} of {attempts} forget and prune were killed at work")
    run("forget", *keep, repository)
    assert faults(repository) == [] and len(listed(repository)) == 3
    pruned = maintenance.prune(str(repository), SystemClock(), max_unused=0.0, check=True)
    assert not pruned.changed and pruned.bytes_unused == 0
    assert sorted(os.listdir(repository / "tmp")) == []
    assert snapshots.compare_tree(str(repository), "latest", "/").faults() == []


def spoil(repository: Path, chance: random.Random) -> None:
    """One bit in each of up to six published files, and now and then a pack that is gone."""
    files = [
        file
        for part in ("packs", "index", "manifests", "pins", "config.json")
        for file in sorted([repository / part, *(repository / part).rglob("*")])
        if file.is_file()
    ]
    for file in chance.sample(files, min(len(files), chance.randint(1, 6))):
        content = bytearray(file.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(bytes(content))
    if chance.random() < 0.3:
        chance.choice(sorted((repository / "packs").rglob("*.pack"))).unlink()


def test_a_heal_that_is_killed_goes_on(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, other = tmp_path / "tree", tmp_path / "repository", tmp_path / "other"
    tree.mkdir()
    for _unused in range(6):
        take(repository, tree, chance)
    maintenance.forget(
        str(repository), maintenance.Dropping(maintenance.retention_from({"keep_last": 4})), SystemClock(), prune=True
    )
    # The same snapshots in other packs: blocks must be put together, files cannot be copied.
    shutil.copytree(repository, other)
    run("prune", "--max-unused", "0", "--repository", other)
    good = snapshots.list_snapshots(str(repository))[0]
    wanted = ("heal", "--no-live", "--repository", repository)
    killed = attempts = 0
    whole = 0.2
    while killed < KILLS and attempts < KILLS * 4:
        attempts += 1
        spoil(repository, chance)
        source = ("--from", other)
        killed += kill_after(chance.uniform(0, whole), *wanted, *source)
        whole = max(whole / 2, run(*wanted, *source))
        assert faults(repository) == [], f"ATTACK_SEED={SEED}"
        assert snapshots.list_snapshots(str(repository))[0] == good, f"ATTACK_SEED={SEED}"
    assert killed, f"nothing was killed: ATTACK_SEED={SEED}"
    print(f"{killed} of {attempts} heals were killed at work")
    assert snapshots.compare_tree(str(repository), "latest", "/").faults() == []


def test_every_flipped_bit_is_noticed_by_scrub_and_healed_from_a_copy(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    flips = KILLS * 5 // 2
    tree, repository, copy = tmp_path / "tree", tmp_path / "repository", tmp_path / "copy"
    tree.mkdir()
    for number in range(40):
        (tree / f"{number}.json").write_text(f'{{"number": {number}}}')
        (tree / f"{number}.bin").write_bytes(chance.randbytes(chance.randrange(3000)))
    for number in range(5):
        (tree / "log").write_bytes(b"a line of the log\n" * 1000 * (number + 1))
        wanted = snapshots.Wanted("pc2", (str(tree),), pin=number == 1)
        snapshots.take_snapshot(str(repository), wanted, SystemClock())
    dropping = maintenance.Dropping(maintenance.retention_from({"keep_last": 3}))
    maintenance.forget(str(repository), dropping, SystemClock())
    shutil.copytree(repository, copy)
    files = [
        file.relative_to(repository)
        for file in sorted(repository.rglob("*"))
        if file.is_file() and file.relative_to(repository).parts[0] not in ("locks", "tmp")
    ]
    kinds = {str(file) if len(file.parts) == 1 else file.parts[0] for file in files}
    assert kinds == {"config.json", "packs", "index", "manifests", "pins"}
    assert any(file.name == "forgotten.jsonl" for file in files)
    sizes = [(copy / file).stat().st_size for file in files]
    alone = 0
    for number in range(flips):
        # Every second flip by size, the others by file, so that small files are hit too.
        (name,) = chance.choices(files, sizes if number % 2 else None)
        content = bytearray((copy / name).read_bytes())
        place = chance.randrange(len(content) * 8)
        content[place // 8] ^= 1 << place % 8
        (repository / name).write_bytes(bytes(content))
        said = f"bit {place} of {name}, ATTACK_SEED={SEED}"
        found = maintenance.scrub(str(repository), maintenance.Scrubbing(), SystemClock())
        assert found.faults(), f"not noticed: {said}"
        assert str(name) in {damage.where for damage in found.found.damages}, said
        if number % 5 == 0:
            shutil.rmtree(tmp_path / "alone", ignore_errors=True)
            shutil.copytree(repository, tmp_path / "alone")
            by_itself = maintenance.Scrubbing(heal=True)
            alone += maintenance.scrub(str(tmp_path / "alone"), by_itself, SystemClock()).faults() == []
        healing = maintenance.Scrubbing(heal=True, copies=(str(copy),), live=False)
        done = maintenance.scrub(str(repository), healing, SystemClock())
        assert done.faults() == [], f"not healed: {said}"
        assert (repository / name).read_bytes() == (copy / name).read_bytes(), said
    tried = len(range(0, flips, 5))
    print(f"{flips} flips noticed and healed; {alone} of {tried} also without a copy, from the live files and the rest")
    assert faults(repository) == []
