# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flipped bits, full disks, power cuts in the middle of publishing.

``CONTINUITY_ATTACKS`` says how many; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

FLIPS = int(os.environ.get("CONTINUITY_ATTACKS", "60"))
FULL = int(os.environ.get("CONTINUITY_ATTACKS", "12"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))


def take(repository: str, tree: Path) -> None:
    snapshots.take_snapshot(repository, snapshots.Wanted("pc2", (str(tree),)), SystemClock())


def noticed(repository: str) -> bool:
    try:
        return bool(snapshots.verify_repository(repository).faults())
    except ContinuityError:
        return True


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    tree, repository = tmp_path / "tree", str(tmp_path / "repository")
    tree.mkdir()
    for number in range(60):
        (tree / f"{number}.json").write_text(f'{{"number": {number}}}')
        (tree / f"{number}.bin").write_bytes(chance.randbytes(chance.randrange(3000)))
    for round_number in range(3):
        (tree / "log").write_bytes(b"a line of the log\n" * 1000 * (round_number + 1))
        take(repository, tree)
    published = [
        file
        for file in sorted(Path(repository).rglob("*"))
        if file.is_file() and file.relative_to(repository).parts[0] in ("packs", "index", "manifests", "config.json")
    ]
    assert {file.relative_to(repository).parts[0] for file in published} == {
        "packs",
        "index",
        "manifests",
        "config.json",
    }
    sizes = [file.stat().st_size for file in published]
    for number in range(FLIPS):
        # Every second flip by size, the others by file, so that small files are hit too.
        (file,) = chance.choices(published, sizes if number % 2 else None)
        content = file.read_bytes()
        place = chance.randrange(len(content) * 8)
        spoiled = bytearray(content)
        spoiled[place // 8] ^= 1 << place % 8
        file.write_bytes(bytes(spoiled))
        assert noticed(repository), f"bit {place} of {file}, ATTACK_SEED={SEED}"
        file.write_bytes(content)
    assert not noticed(repository)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
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


def test_a_full_disk_leaves_what_was_there_and_the_next_run_goes_on(tmp_path: Path, small_disk: Path) -> None:
    chance = random.Random(SEED)
    tree, repository, ballast = tmp_path / "tree", str(small_disk / "repository"), small_disk / "ballast"
    tree.mkdir()
    for number in range(100):
        (tree / f"{number}").write_bytes(chance.randbytes(20_000))
    take(repository, tree)
    refused = 0
    for number in range(FULL):
        for changed in range(0, 100, 10):
            (tree / f"{changed + number % 10}").write_bytes(chance.randbytes(20_000))
        room = os.statvfs(small_disk)
        free = room.f_bavail * room.f_frsize
        ballast.write_bytes(bytes(max(0, free - chance.randrange(230_000))))
        before = len(snapshots.list_snapshots(repository)[0])
        try:
            take(repository, tree)
        except ContinuityError as error:
            refused += 1
            assert "No space left" in str(error), error
            assert len(snapshots.list_snapshots(repository)[0]) == before
        assert snapshots.verify_repository(repository).faults() == [], f"ATTACK_SEED={SEED}"
        ballast.unlink()
    assert refused, f"the disk was never full: ATTACK_SEED={SEED}"
    take(repository, tree)
    assert snapshots.verify_repository(repository).faults() == []
    assert snapshots.compare_tree(repository, "latest", "/").faults() == []


def test_whatever_is_missing_of_the_last_steps_no_published_snapshot_is_broken(tmp_path: Path) -> None:
    """Replays the recorded renames of a snapshot in their order, cut after each one of them."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "large").write_bytes(random.Random(SEED).randbytes(40_000_000))
    renames: list[tuple[Path, bytes]] = []
    real = os.rename

    def recording(source: os.PathLike[str], target: os.PathLike[str], **options: int) -> None:
        renames.append((Path(target), Path(source).read_bytes()))
        real(source, target, **options)

    os.rename = recording  # type: ignore[assignment]
    try:
        take(str(tmp_path / "repository"), tree)
    finally:
        os.rename = real
    kinds = [target.relative_to(tmp_path / "repository").parts[0] for target, _unused in renames]
    assert kinds == ["packs", "packs", "index", "manifests"]
    for cut in range(len(renames) + 1):
        replayed = tmp_path / f"replayed-{cut}"
        Repository.init(str(replayed), 0.0)
        for target, content in renames[:cut]:
            file = replayed / target.relative_to(tmp_path / "repository")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        assert snapshots.verify_repository(str(replayed)).faults() == []
        assert len(snapshots.list_snapshots(str(replayed))[0]) == (1 if cut == len(renames) else 0)
        take(str(replayed), tree)
        assert snapshots.verify_repository(str(replayed)).faults() == []
