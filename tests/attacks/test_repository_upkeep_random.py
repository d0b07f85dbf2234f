# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is done to a repository in whatever order: every snapshot that is left holds what was put in.

``CONTINUITY_ATTACKS`` says how many steps (times ten), ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Callable

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError

STEPS = 10 * int(os.environ.get("CONTINUITY_ATTACKS", "3"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
HOSTS = ("mainpc", "pc2")


class World:
    """A repository, and what every snapshot in it must hold. ``copy`` is a good copy from some time ago."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.repository, self.copy = str(folder / "repository"), folder / "copy"
        self.held: dict[str, dict[str, bytes]] = {}
        self.steps: list[str] = []
        for host in HOSTS:
            (folder / host).mkdir()
            self.take(host)

    def take(self, host: str = "") -> None:
        host = host or self.chance.choice(HOSTS)
        tree = self.folder / host
        for _unused in range(self.chance.randrange(1, 8)):
            file = tree / f"{self.chance.randrange(12)}"
            if file.exists() and self.chance.random() < 0.2:
                file.unlink()
            elif self.chance.random() < 0.5:
                # The same content under other names, in other snapshots, of other hosts.
                file.write_bytes(random.Random(self.chance.randrange(9)).randbytes(20_000))
            else:
                file.write_bytes(self.chance.randbytes(self.chance.randrange(1, 9_000)))
        wanted = snapshots.Wanted(host, (str(tree),), pin=self.chance.random() < 0.1 or None)
        taken = snapshots.take_snapshot(self.repository, wanted, SystemClock()).manifest
        assert taken is not None
        self.held[taken.digest] = {str(file): file.read_bytes() for file in tree.iterdir()}

    def forget(self) -> None:
        rules = {f"keep_{name}": self.chance.randrange(3) for name in ("last", "hourly", "yearly")}
        names: tuple[str, ...] = ()
        if self.chance.random() < 0.3:
            names = (self.chance.choice(sorted(self.held))[:12],)
        elif not any(rules.values()):
            rules = {"keep_last": 2}
        allow = ["pinned"] if self.chance.random() < 0.5 else []
        wanted = maintenance.Dropping(maintenance.retention_from({**rules, "allow": allow}), names)
        try:
            done = maintenance.forget(self.repository, wanted, SystemClock())
        except ContinuityError as error:
            assert names and ("pinned" in str(error) or "without a snapshot" in str(error)), error
            return
        for dropped in done.forgetting.dropped:
            del self.held[dropped.digest]

    def prune(self) -> None:
        allowed = self.chance.choice((0.0, 5.0, 40.0))
        looked = maintenance.prune(self.repository, SystemClock(), max_unused=allowed, check=True)
        done = maintenance.prune(self.repository, SystemClock(), max_unused=allowed)
        assert done.changed == looked.changed and abs(done.bytes_freed - looked.bytes_freed) < 200

    def keep_copy(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.repository, self.copy)

    def damage_and_heal(self) -> None:
        """Anything that a disk may do to some files: bits, stretches, truncated, gone."""
        self.keep_copy()
        if self.chance.random() < 0.5:
            maintenance.prune(str(self.copy), SystemClock(), max_unused=0.0)
        files = [
            file
            for part in ("packs", "index", "manifests", "pins")
            for file in sorted(Path(self.repository, part).rglob("*"))
            if file.is_file()
        ]
        for file in self.chance.sample(files, min(len(files), self.chance.randrange(1, 5))):
            content = bytearray(file.read_bytes())
            how = self.chance.randrange(4)
            if how == 0 and file.suffix == ".pack":
                file.unlink()
                continue
            if how == 1:
                content = content[: self.chance.randrange(len(content))]
            elif how == 2:
                start = self.chance.randrange(len(content))
                content[start : start + 500] = self.chance.randbytes(len(content[start : start + 500]))
            else:
                content[self.chance.randrange(len(content))] ^= 1 << self.chance.randrange(8)
            file.write_bytes(bytes(content))
        wanted = maintenance.Scrubbing(heal=True, copies=(str(self.copy),), live=False)
        done = maintenance.scrub(self.repository, wanted, SystemClock())
        assert done.faults() == [], done.fields()

    def leftovers(self) -> None:
        """What a killed writer leaves: packs that no index names, half a line, files in tmp/."""
        taken = sorted(Path(self.repository, "index").iterdir())
        if self.chance.random() < 0.5 and len(taken) > 1:
            tree = self.folder / "unpublished"
            tree.mkdir(exist_ok=True)
            (tree / "file").write_bytes(self.chance.randbytes(30_000))
            wanted = snapshots.Wanted("nobody", (str(tree),))
            snapshots.take_snapshot(self.repository, wanted, SystemClock())
            shutil.rmtree(Path(self.repository, "manifests/nobody"))
        with Path(self.repository, "manifests/pc2/forgotten.jsonl").open("ab") as file:
            file.write(b'{"digest":"12')

    def check(self) -> None:
        said = f"ATTACK_SEED={SEED} after {self.steps}"
        assert snapshots.verify_repository(self.repository).faults() == [], said
        listed = {one["digest"] for one in snapshots.list_snapshots(self.repository)[0]}
        assert listed == set(self.held), said
        digest = self.chance.choice(sorted(self.held))
        target = self.folder / "target"
        assert snapshots.restore_snapshot(self.repository, digest, target=str(target))[1].failed == {}, said
        found = {str(file)[len(str(target)) :]: file.read_bytes() for file in target.rglob("*") if file.is_file()}
        assert found == self.held[digest], said
        shutil.rmtree(target)


def test_any_order_of_work_keeps_what_is_kept(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    world = World(tmp_path, chance)
    steps: list[Callable[[], None]] = [
        *[world.take] * 4,
        *[world.forget] * 2,
        *[world.prune] * 2,
        world.damage_and_heal,
        world.leftovers,
    ]
    for _unused in range(STEPS):
        step = chance.choice(steps)
        world.steps.append(step.__name__)
        step()
        world.check()
    print(f"{STEPS} steps, {len(world.held)} snapshots left")
