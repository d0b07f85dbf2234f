# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upkeep of an encrypted repository, with its key and without."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from conftest import World

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy, send
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

pyrage = pytest.importorskip("pyrage", reason="encryption needs pyrage")
pytest.importorskip("cryptography", reason="encryption needs cryptography")
CLOCK = SystemClock()


@pytest.fixture
def identity(world: World) -> tuple[str, ...]:
    """Three snapshots in an encrypted repository; the file with its private key."""
    key = pyrage.x25519.Identity.generate()
    file = world.folder / "identity.txt"
    file.write_text(f"{key}\n")
    Repository.init(world.repository, 0.0, recipients=[str(key.to_public())])
    chance = random.Random(3)
    for _unused in range(3):
        world.write({"changes": chance.randbytes(60_000), "stays": b"stays" * 1000})
        wanted = snapshots.Wanted(host="pc2", sources=(str(world.tree),))
        snapshots.take_snapshot(world.repository, wanted, CLOCK, identity_files=[str(file)])
    return (str(file),)


def faults(world: World, identity: tuple[str, ...]) -> list[str]:
    return snapshots.verify_repository(world.repository, identity_files=identity).faults()


def scrub(world: World, **wanted: object) -> maintenance.Upkeep:
    return maintenance.scrub(world.repository, maintenance.Scrubbing(**wanted), CLOCK)  # type: ignore[arg-type]


def test_forget_needs_no_key_and_prune_does(world: World, identity: tuple[str, ...]) -> None:
    keep = maintenance.retention_from({"keep_last": 1})
    assert maintenance.forget(world.repository, maintenance.Dropping(keep), CLOCK).changed
    with pytest.raises(ContinuityError):
        maintenance.prune(world.repository, CLOCK, max_unused=0.0)
    pruned = maintenance.prune(world.repository, CLOCK, max_unused=0.0, identity_files=identity)
    assert pruned.bytes_freed > 100_000 and faults(world, identity) == []


def test_without_the_key_damage_is_named_and_whole_files_are_healed(world: World, identity: tuple[str, ...]) -> None:
    copy = world.folder / "copy"
    shutil.copytree(world.repository, copy)
    pack = max(Path(world.repository, "packs").rglob("*.pack"), key=lambda file: file.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(bytes(content))
    found = scrub(world)
    assert [damage.kind for damage in found.left.damages] == ["pack"] and found.found.unopened
    assert not found.fields()["touched"] and scrub(world, identity_files=identity).fields()["touched"]
    done = scrub(world, heal=True, copies=(str(copy),))
    assert done.faults() == [] and faults(world, identity) == []


@pytest.mark.parametrize("damage", ["all packs", "one block", "nothing but packs"])
def test_what_was_sent_off_site_comes_back(world: World, damage: str) -> None:
    key = pyrage.x25519.Identity.generate()
    (world.folder / "identity.txt").write_text(f"{key}\n")
    for number in range(3):
        world.write({"changes": bytes([number]) * 70_000, "stays": b"stays" * 1000})
        world.take()
    (world.folder / "far").mkdir()
    far = Copy(Destination(str(world.folder / "far")))
    send(world.repository, far, [str(key.to_public())], None, CLOCK)
    keep = maintenance.retention_from({"keep_last": 2})
    maintenance.forget(world.repository, maintenance.Dropping(keep), CLOCK, prune=True, max_unused=0.0)
    if damage == "all packs":
        for pack in Path(world.repository, "packs").rglob("*.pack"):
            pack.unlink()
    elif damage == "one block":
        for pack in Path(world.repository, "packs").rglob("*.pack"):
            content = pack.read_bytes()
            pack.write_bytes(content[:70] + b"spoiled" + content[77:])
    else:
        for file in [*Path(world.repository, "manifests/pc2").glob("0*"), *Path(world.repository, "index").iterdir()]:
            file.write_bytes(b"")
    identities = (str(world.folder / "identity.txt"),)
    done = scrub(world, heal=True, live=False, offsite=far, offsite_identity_files=identities)
    assert done.faults() == [] and world.faults() == []
    assert str(world.folder / "far") in {*done.healed.replaced.values(), *done.healed.blocks}


def test_with_the_key_blocks_come_from_live_files(world: World, identity: tuple[str, ...]) -> None:
    pack = max(Path(world.repository, "packs").rglob("*.pack"), key=lambda file: file.stat().st_mtime_ns)
    content = bytearray(pack.read_bytes())
    content[300:400] = bytes(100)
    pack.write_bytes(bytes(content))
    done = scrub(world, heal=True, identity_files=identity)
    assert done.faults() == [] and f"the file {world.tree}/changes" in done.healed.blocks
    assert faults(world, identity) == []
