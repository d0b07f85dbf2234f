# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forget and prune on a real repository: what is left is whole, what is gone leaves its line."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import World

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import forgotten, packs, pruning
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.blocks import BlockReader, entries_of
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository

CLOCK = SystemClock()


def forget(world: World, *names: str, check: bool = False, prune: bool = False, **options: Any) -> Any:
    host, root = options.pop("host", None), options.pop("root", None)
    max_unused = options.pop("max_unused", 0.0)
    wanted = maintenance.Dropping(maintenance.retention_from(options), names, host, root, wait=0.2)
    return maintenance.forget(world.repository, wanted, CLOCK, prune=prune, max_unused=max_unused, check=check)


def prune(world: World, **options: Any) -> Any:
    return maintenance.prune(world.repository, CLOCK, wait=0.2, **{"max_unused": 0.0, **options})


def left(world: World) -> list[int]:
    return [one["sequence"] for one in snapshots.list_snapshots(world.repository)[0]]


def size(world: World) -> int:
    return sum(file.stat().st_size for file in Path(world.repository, "packs").rglob("*.pack"))


def everything(world: World) -> dict[str, bytes]:
    return {
        str(file.relative_to(world.repository)): file.read_bytes()
        for file in sorted(Path(world.repository).rglob("*"))
        if file.is_file() and file.relative_to(world.repository).parts[0] not in ("locks", "tmp")
    }


@pytest.fixture
def filled(world: World) -> World:
    """Six snapshots: what stays, and 300 kB each that come and go."""
    chance = random.Random(5)
    world.write({"stays": chance.randbytes(200_000), "small.json": b"{}"})
    for number in range(6):
        world.write({"changes": chance.randbytes(300_000), f"new/{number}": chance.randbytes(5_000)})
        world.take()
    return world


def test_what_is_forgotten_leaves_its_line_and_the_chain_whole(filled: World) -> None:
    before = everything(filled)
    looked = forget(filled, keep_last=2, check=True)
    assert everything(filled) == before and looked.changed
    done = forget(filled, keep_last=2)
    assert [one.sequence for one in done.forgetting.dropped] == [4, 3, 2, 1]
    assert done.forgetting.render() == looked.forgetting.render()
    assert left(filled) == [5, 6] and filled.faults() == []
    lines = forgotten.read(Repository.open(filled.repository), "pc2")
    assert [(line.sequence, line.reason) for line in lines] == [(n, "by policy") for n in (1, 2, 3, 4)]
    assert not forget(filled, keep_last=2).changed
    assert filled.take().manifest.sequence == 7
    assert filled.faults() == []


def test_a_number_is_never_used_twice(filled: World) -> None:
    forget(filled, "latest")
    assert left(filled) == [1, 2, 3, 4, 5] and filled.faults() == []
    assert filled.take().manifest.sequence == 7
    assert filled.faults() == []


def test_a_stolen_snapshot_is_told_from_a_dropped_one(filled: World) -> None:
    forget(filled, keep_last=4)
    (stolen,) = Path(filled.repository, "manifests/pc2").glob("00000004-*")
    stolen.unlink()
    assert filled.faults() == ["pc2: snapshot number 4 was taken away"]
    lines = Path(filled.repository, "manifests/pc2/forgotten.jsonl")
    content = lines.read_bytes()
    lines.write_bytes(content.replace(b'"number":2', b'"number":4'))
    assert any("forgotten" in fault for fault in filled.faults())
    with pytest.raises(ContinuityError, match="forgotten"):
        forget(filled, keep_last=1)
    assert filled.take().manifest.sequence == 7


def test_prune_frees_what_it_said_and_everything_left_is_whole(filled: World) -> None:
    looked = forget(filled, keep_last=1, prune=True, check=True)
    before = size(filled)
    assert looked.pruned.bytes_before == before and looked.pruned.bytes_freed > 1_500_000
    done = forget(filled, keep_last=1, prune=True)
    assert size(filled) == before - done.pruned.bytes_freed
    assert abs(done.pruned.bytes_freed - looked.pruned.bytes_freed) < 100
    assert done.pruned.bytes_unused == 0 and filled.faults() == []
    filled.restore()
    for name in ("stays", "changes", "new/0", "new/5"):
        assert filled.restored(name).read_bytes() == (filled.tree / name).read_bytes()
    assert not prune(filled).changed and not prune(filled, check=True).changed
    assert os.listdir(f"{filled.repository}/tmp") == []


def test_some_waste_is_allowed_and_many_small_packs_are_put_together(filled: World) -> None:
    assert not prune(filled, max_unused=5).changed
    for number in range(pruning.MANY_SMALL):
        filled.write({f"more/{number}": bytes([number]) * 3000})
        filled.take()
    done = prune(filled, max_unused=5)
    assert done.rewritten >= pruning.MANY_SMALL and len(list(Path(filled.repository, "packs").rglob("*.pack"))) == 1
    assert len(list(Path(filled.repository, "index").iterdir())) == 1
    assert filled.faults() == [] and len(left(filled)) == 14


def test_a_block_that_stands_twice_is_kept_once(filled: World, tmp_path: Path) -> None:
    once = size(filled)
    repository = Repository.open(filled.repository)
    index = Index(repository)
    writer = packs.PackWriter(repository, "pc2")
    for pack in sorted(index.packs()):
        content = repository.pack_file(pack.hex()).read_bytes()
        for digest, place in packs.scan(repository.pack_file(pack.hex())):
            payload = content[place.offset : place.offset + place.stored]
            writer.add(digest, place.length, place.compression, payload, place.encryption)
    writer.flush()
    writer.sync()
    index.publish(writer.published, "pc2")
    assert size(filled) > 1.9 * once
    done = prune(filled)
    assert size(filled) < once and done.rewritten == 0 and filled.faults() == []


@pytest.mark.parametrize("rotten", ["first", "second"])
def test_of_two_copies_the_intact_one_stays(filled: World, rotten: str) -> None:
    repository = Repository.open(filled.repository)
    index = Index(repository)
    writer = packs.PackWriter(repository, "pc2")
    places = [one for pack in sorted(index.packs()) for one in packs.scan(repository.pack_file(pack.hex()))]
    for digest, place in places:
        payload = repository.pack_file(place.pack.hex()).read_bytes()[place.offset : place.offset + place.stored]
        writer.add(digest, place.length, place.compression, payload, place.encryption)
    writer.flush()
    writer.sync()
    index.publish(writer.published, "pc2")
    for digest, place in places if rotten == "first" else writer.published:
        if digest[0] % 2:
            with repository.pack_file(place.pack.hex()).open("r+b") as file:
                file.seek(place.offset + place.stored // 2)
                file.write(b"rotten")
    try:
        prune(filled)
    except ContinuityError as error:
        assert "damaged repository" in str(error)
    restored = filled.restore()
    assert restored.failed == {}
    for name in ("stays", "changes", "new/0", "new/5"):
        assert filled.restored(name).read_bytes() == (filled.tree / name).read_bytes()


def test_leftovers_of_killed_writers_go(filled: World) -> None:
    stray = Path(filled.repository, "packs/ab", "ab" * 32 + ".pack")
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(packs.MAGIC + b"half of something")
    Path(filled.repository, "tmp/gone").mkdir()
    Path(filled.repository, "tmp/gone/database").write_bytes(b"copy")
    assert prune(filled, check=True).leftovers == 1 and stray.exists()
    assert prune(filled).leftovers == 1 and not stray.exists()
    assert not Path(filled.repository, "tmp/gone").exists()


def test_prune_waits_for_a_writer_and_then_says_so(filled: World) -> None:
    forget(filled, keep_last=1)
    before = everything(filled)
    lock = Path(filled.repository, "locks/repository.lock")
    import fcntl

    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        with pytest.raises(ContinuityError, match="snapshots are being taken"):
            prune(filled)
    assert before.keys() <= everything(filled).keys() and filled.faults() == []
    prune(filled)
    assert filled.faults() == [] and size(filled) < 600_000


def test_prune_refuses_what_is_damaged(filled: World, tmp_path: Path) -> None:
    good = tmp_path / "good"
    shutil.copytree(filled.repository, good)
    for kind in ("manifests/pc2/00000002-*", "index/*", "packs/*/*"):
        first = sorted(Path(filled.repository).glob(kind))[0]
        content = first.read_bytes()
        first.write_bytes(content[:-3] + b"xxx")
        if kind.startswith("packs"):
            first.unlink()
        with pytest.raises(ContinuityError, match="does not touch a damaged repository"):
            prune(filled)
        first.write_bytes(content)
    # A damaged snapshot can be given up by name.
    (damaged,) = Path(filled.repository).glob("manifests/pc2/00000002-*")
    damaged.write_bytes(b"{}")
    forget(filled, damaged.name[9:21])
    prune(filled)
    assert filled.faults() == [] and left(filled) == [1, 3, 4, 5, 6]


def test_an_append_only_repository_refuses(filled: World) -> None:
    assert Repository.open(filled.repository).set_append_only(True)
    for refused in (lambda: forget(filled, keep_last=1), lambda: prune(filled), lambda: forget(filled, "latest")):
        with pytest.raises(ContinuityError, match="append-only"):
            refused()
    for number in range(12):
        filled.write({f"more/{number}": bytes([number]) * 3000})
        filled.take()
    assert len(list(Path(filled.repository, "index").iterdir())) == 18
    assert filled.faults() == [] and Repository.open(filled.repository).set_append_only(False)
    assert not Repository.open(filled.repository).set_append_only(False)
    assert forget(filled, keep_last=1).changed and filled.faults() == []


def test_pins_and_rollouts_hold_by_name_too(filled: World, tmp_path: Path) -> None:
    filled.write({"x": b"x"})
    pinned = filled.take(pin=True).manifest
    filled.write({"x": b"y"})
    point = filled.take(restore_point="rp-9").manifest
    ledger = tmp_path / "root/ledger/ledger.jsonl"
    ledger.parent.mkdir(parents=True)
    maintenance.Chain(str(ledger)).append({"event": "staged", "restore_point": "rp-9"})
    filled.write({"x": b"z"})
    filled.take()
    done = forget(filled, keep_last=1, root=str(tmp_path / "root"), check=True)
    reasons = {one.snapshot.sequence: one.reasons for one in done.forgetting.verdicts if one.kept}
    assert reasons == {9: ["last snapshot"], 8: ["a rollout relies on it"], 7: ["pinned"]}
    for name, why in ((pinned.id, "is pinned"), ("rp-9", "a rollout relies")):
        with pytest.raises(ContinuityError, match=why):
            forget(filled, name, root=str(tmp_path / "root"))
    with pytest.raises(ContinuityError, match="without a snapshot"):
        forget(filled, *(one["id"] for one in snapshots.list_snapshots(filled.repository)[0]), allow=["pinned"])
    forget(filled, pinned.id, point.id, allow=["pinned", "rollout"], root=str(tmp_path / "root"))
    assert left(filled) == [1, 2, 3, 4, 5, 6, 9] and filled.faults() == []
    assert list(Path(filled.repository, "pins").iterdir()) == []


def test_a_pin_that_is_set_after_the_plan_counts(filled: World) -> None:
    repository = Repository.open(filled.repository)
    retention = maintenance.retention_from({"keep_last": 1})
    planned = maintenance.forgetting.plan(repository, retention, CLOCK.now())
    maintenance.forgetting.pins.pin(repository, maintenance.forgetting.manifests.find(repository, "latest"), 0.0)
    third = next(one for one in planned.dropped if one.sequence == 3)
    Path(filled.repository, "pins", f"{third.digest}.json").write_bytes(b"{}\n")
    maintenance.forgetting.apply(repository, planned, CLOCK, 1.0, frozenset())
    assert left(filled) == [3, 6] and filled.faults() == []


def test_killed_between_line_and_manifest_the_snapshot_is_there_and_goes_next_time(filled: World) -> None:
    repository = Repository.open(filled.repository)
    planned = maintenance.forgetting.plan(repository, maintenance.retention_from({"keep_last": 4}), CLOCK.now())
    lines = [
        forgotten.Forgotten(one.digest, one.sequence, None, one.time, "by policy", "") for one in planned.dropped[-1:]
    ]
    forgotten.note(repository, "pc2", lines)
    assert filled.faults() == [] and left(filled) == [1, 2, 3, 4, 5, 6]
    forget(filled, keep_last=4)
    assert left(filled) == [3, 4, 5, 6] and filled.faults() == []
    text = Path(filled.repository, "manifests/pc2/forgotten.jsonl").read_text()
    assert [json.loads(line)["number"] for line in text.splitlines()] == [1, 2]


def test_a_reader_that_looked_before_reads_on_after(filled: World) -> None:
    repository = Repository.open(filled.repository)
    reader = BlockReader(repository, Index(repository))
    manifest = maintenance.forgetting.manifests.find(repository, "latest")
    forget(filled, keep_last=1, prune=True)
    for entry in entries_of(reader, manifest):
        for part in entry.content.blocks if entry.content else ():
            assert reader.read(bytes.fromhex(str(part)))
    reader.close()


def test_a_missing_pack_that_nobody_needs_is_struck_off_the_index(world: World) -> None:
    for number in range(3):
        world.write({"changes": bytes([number]) * 9000})
        world.take()
    forget(world, keep_last=1)
    packs_there = sorted(Path(world.repository, "packs").rglob("*.pack"))
    contents = [file.read_bytes() for file in packs_there]
    refused = 0
    for file, content in zip(packs_there, contents):
        file.unlink()
        try:
            assert prune(world, check=True).merged
        except ContinuityError as error:
            assert "damaged repository" in str(error)
            file.write_bytes(content)
            refused += 1
    assert refused == 1 and prune(world).merged
    assert not prune(world).changed and world.faults() == []


def test_other_folders_beside_those_of_hosts_do_not_disturb(filled: World) -> None:
    Path(filled.repository, "manifests/lost+found").mkdir()
    upkeep = maintenance.scrub(filled.repository, maintenance.Scrubbing(heads=str(filled.folder / "heads")), CLOCK)
    assert upkeep.faults() == [] and '"lost+found"' not in (filled.folder / "heads").read_text()
    assert forget(filled, keep_last=1, prune=True).changed and filled.faults() == []
