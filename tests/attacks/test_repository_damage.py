# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flipped bits, and publishing that ends between two of its steps.

``CONTINUITY_ATTACKS`` says how many; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

FLIPS = int(os.environ.get("CONTINUITY_ATTACKS", "60"))
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
