# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scrub names what is damaged and whom it touches; heal replaces it from wherever a good copy is left."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import World

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import checkpoints
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.checkpoints import Checkpoint
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.scrubbing import Share

CLOCK = SystemClock()


def scrub(world: World, *, check: bool = False, **wanted: Any) -> maintenance.Upkeep:
    return maintenance.scrub(world.repository, maintenance.Scrubbing(wait=0.2, **wanted), CLOCK, check=check)


def heal(world: World, *copies: object, live: bool = False, **wanted: Any) -> maintenance.Upkeep:
    return scrub(world, heal=True, copies=tuple(map(str, copies)), live=live, **wanted)


def published(world: World, kind: str) -> list[Path]:
    return sorted(file for file in Path(world.repository).glob(kind) if file.is_file())


def flip(file: Path, place: float = 0.5, bit: int = 3) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 1 << bit
    file.write_bytes(bytes(content))


def pack_of(world: World, name: str) -> Path:
    """The pack that holds the first block of a file of the latest snapshot."""
    from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index

    repository = Repository.open(world.repository)
    digest = next(one["sha256"] for one in snapshots.list_entries(world.repository, "latest") if name in one["path"])
    (place,) = Index(repository).places(bytes.fromhex(digest))
    return repository.pack_file(place.pack.hex())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Four snapshots, one pinned, two forgotten, one more of another host."""
    world = World(tmp_path_factory.mktemp("template"))
    chance = random.Random(7)
    world.write({"shared": chance.randbytes(50_000), "documents/a.json": b'{"a": 1}'})
    for number in range(4):
        world.write({"changes": chance.randbytes(3_000), f"new/{number}": chance.randbytes(40_000)})
        world.take(pin=number == 3)
    wanted = maintenance.Dropping(maintenance.retention_from({"keep_last": 2}))
    maintenance.forget(world.repository, wanted, CLOCK, prune=True)
    world.write({"only-there": chance.randbytes(30_000)})
    world.take(host="mainpc")
    return world


@pytest.fixture
def filled(template: World, tmp_path: Path) -> World:
    """A repository of its own for each test; ``copy`` is a good copy of it."""
    world = World(tmp_path)
    world.tree = template.tree
    for name in ("repository", "copy"):
        shutil.copytree(template.repository, tmp_path / name)
    return world


KINDS = (
    "config.json",
    "index/*",
    "manifests/pc2/00000003-*",
    "manifests/mainpc/*",
    "manifests/pc2/forgotten.jsonl",
    "pins/*",
    "packs/*/*",
)


def test_a_sound_repository_is_sound(filled: World) -> None:
    found = scrub(filled)
    assert found.faults() == [] and found.fields()["touched"] == {}
    size = sum(
        file.stat().st_size
        for part in ("config.json", "packs", "index", "manifests", "pins")
        for file in [Path(filled.repository, part), *Path(filled.repository, part).rglob("*")]
        if file.is_file()
    )
    assert found.found.bytes == size
    assert not (heal(filled, filled.folder / "copy").healed)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0.0, 0.4, 0.999999])
def test_a_flipped_bit_is_noticed_and_comes_back_from_a_copy(filled: World, kind: str, place: float) -> None:
    file = published(filled, kind)[0]
    before = file.read_bytes()
    flip(file, place)
    looked = scrub(filled, check=True, heal=True, copies=(str(filled.folder / "copy"),), live=False)
    assert looked.faults() and looked.found.damages and looked.healed and file.read_bytes() != before
    done = heal(filled, filled.folder / "copy")
    assert done.faults() == [] and done.healed and file.read_bytes() == before
    assert filled.faults() == [] and len(os.listdir(f"{filled.repository}/quarantine")) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith(("manifests/pc2", "packs"))])
def test_what_is_gone_is_missed_and_comes_back_from_a_copy(filled: World, kind: str) -> None:
    file = published(filled, kind)[0]
    before = file.read_bytes()
    file.unlink()
    assert scrub(filled).faults()
    done = heal(filled, filled.folder / "copy")
    assert done.faults() == [] and done.healed and file.read_bytes() == before
    assert filled.faults() == [] and done.healed.quarantined == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("packs")])
def test_one_flipped_bit_of_a_small_file_needs_no_copy(filled: World, kind: str) -> None:
    (file, *_others) = published(filled, kind)
    before = file.read_bytes()
    for place in (0.0, 0.3, 0.999999):
        flip(file, place)
        done = heal(filled)
        assert done.faults() == [] and file.read_bytes() == before
        assert set(done.healed.replaced.values()) == {"itself, one bit turned back"}


def test_a_damaged_index_is_made_from_the_packs(filled: World) -> None:
    for file in published(filled, "index/*"):
        file.write_bytes(b"FCINDEX1 and then nothing")
    assert scrub(filled).left.touched
    done = heal(filled)
    assert done.faults() == [] and filled.faults() == []
    assert len(done.healed.quarantined) == len(done.found.damages)


def test_what_is_intact_of_a_damaged_pack_is_saved_and_the_rest_is_named(filled: World) -> None:
    pack = pack_of(filled, "only-there")
    flip(pack, 0.3)
    found = scrub(filled)
    touched = found.fields()["touched"]
    assert [damage.kind for damage in found.left.damages] == ["pack"]
    assert [path for paths in touched.values() for path in paths] == [f"{filled.tree}/only-there"]
    assert found.faults()[1] == f"{next(iter(touched))}:{filled.tree}/only-there: is lost"
    # Nobody has it: what can be saved is stored again, the pack stays where it is, and it is still named.
    done = heal(filled)
    assert done.fields()["touched"] == touched and pack.exists()
    # The live file has it.
    done = heal(filled, live=True)
    assert done.faults() == [] and not pack.exists() and filled.faults() == []
    assert f"the file {filled.tree}/only-there" in done.healed.blocks
    assert [Path(one).name[-69:] for one in done.healed.quarantined] == [pack.name]
    filled.restore(host="mainpc")
    assert filled.restored("only-there").read_bytes() == (filled.tree / "only-there").read_bytes()


def test_a_live_file_helps_as_far_as_it_is_the_same(world: World) -> None:
    chance = random.Random(1)
    large = chance.randbytes(6_000_000)
    world.write({"large.db": large, "small": b"s" * 100})
    world.take()
    for pack in published(world, "packs/*/*"):
        pack.unlink()
    # The list of entries is gone with them: no file is known by name.
    done = heal(world, live=True)
    assert "(list of entries)" in str(done.left.touched)
    shutil.rmtree(world.repository)
    world.take()
    (pack,) = published(world, "packs/*/*")
    content = bytearray(pack.read_bytes())
    content[10_000:5_000_000:5_000] = bytes(len(range(10_000, 5_000_000, 5_000)))
    pack.write_bytes(bytes(content))
    with (world.tree / "large.db").open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"changed")
    done = heal(world, live=True)
    assert [path for paths in done.left.touched.values() for path in paths] == [f"{world.tree}/large.db"]
    (world.tree / "large.db").write_bytes(large)
    assert heal(world, live=True).faults() == [] and world.faults() == []


def test_a_copy_that_was_packed_another_way_gives_single_blocks(filled: World) -> None:
    other = World.__new__(World)
    other.folder, other.tree, other.repository = filled.folder, filled.tree, str(filled.folder / "other")
    other.target = filled.target
    other.take(host="peer")
    for pack in published(filled, "packs/*/*"):
        content = pack.read_bytes()
        pack.write_bytes(content[:60] + bytes(len(content) - 60))
    done = heal(filled, other.repository)
    lost = {path for paths in done.left.touched.values() for path in paths}
    assert lost and not any("shared" in path or "only-there" in path for path in lost)
    done = heal(filled, filled.folder / "copy")
    assert done.faults() == [] and filled.faults() == []


def test_a_copy_that_lies_is_not_believed(filled: World) -> None:
    for part in ("packs/*/*", "manifests/*/*.json", "index/*"):
        for file in published(filled, part):
            flip(file)
        for file in sorted((filled.folder / "copy").glob(part)):
            file.write_bytes(file.read_bytes()[::-1])
    before = scrub(filled).found.damages
    done = heal(filled, filled.folder / "copy")
    assert not any("copy" in source for source in [*done.healed.replaced.values(), *done.healed.blocks])
    assert before and done.left.touched


def test_shares_together_read_everything_once(filled: World) -> None:
    for number in range(12):
        filled.write({f"more/{number}": os.urandom(2000)})
        filled.take()
    packs = {bytes.fromhex(file.stem) for file in published(filled, "packs/*/*")}
    read = [scrub(filled, share=f"{number}/5").found.sound for number in range(1, 6)]
    assert set().union(*read) == packs and sum(map(len, read)) == len(packs)
    for wrong in ("0/5", "6/5", "1", "a/b", "1/0", "-1/3"):
        with pytest.raises(ContinuityError, match="not a share"):
            Share.parse(wrong)


def test_a_scrub_that_was_killed_goes_on(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    packs = sorted(bytes.fromhex(file.stem) for file in published(filled, "packs/*/*"))
    repository = Repository.open(filled.repository)
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    began = Checkpoint(repository, "1/1", CLOCK)
    began.add(packs[0])
    resumed = scrub(filled)
    assert resumed.resumed == 1 and resumed.found.sound == set(packs[1:])
    assert scrub(filled).resumed == 0
    Checkpoint(repository, "1/1", CLOCK).add(packs[0])
    assert scrub(filled, restart=True).found.sound == set(packs)
    Path(filled.repository, "tmp/.scrub/1-1.json").write_text('{"begun": 1, "checked": ["../../x"]}')
    assert scrub(filled).resumed == 0


def test_a_repository_that_was_put_back_is_noticed_by_a_note_outside(filled: World) -> None:
    heads = filled.folder / "heads.json"
    assert scrub(filled, heads=str(heads)).faults() == []
    older = filled.folder / "older"
    shutil.copytree(filled.repository, older)
    filled.write({"newer": b"newer"})
    filled.take()
    assert scrub(filled, heads=str(heads), check=True).faults() == []
    noted = heads.read_text()
    assert scrub(filled, heads=str(heads)).faults() == [] and heads.read_text() != noted
    shutil.rmtree(filled.repository)
    shutil.copytree(older, filled.repository)
    (fault,) = scrub(filled, heads=str(heads)).faults()
    assert "number 5" in fault and "was put back" in fault
    filled.write({"newer": b"another"})
    filled.take()
    (fault,) = scrub(filled, heads=str(heads)).faults()
    assert "is another one now" in fault
    # One that was dropped properly is not missed.
    heads.unlink()
    assert scrub(filled, heads=str(heads)).faults() == []
    filled.take()
    forgetting = maintenance.Dropping(maintenance.retention_from({}), names=("latest",), host="pc2")
    maintenance.forget(filled.repository, forgetting, CLOCK)
    assert scrub(filled, heads=str(heads)).faults() == []
    heads.write_text("[]")
    with pytest.raises(ContinuityError, match="not a note"):
        scrub(filled, heads=str(heads))


def damage_swapped(world: World) -> None:
    one, other = published(world, "packs/*/*")[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def damage_truncated(world: World) -> None:
    for pack in published(world, "packs/*/*"):
        os.truncate(pack, 100)


def damage_all_but_packs(world: World) -> None:
    for kind in KINDS[:-1]:
        for file in published(world, kind):
            file.write_bytes(b"")


def damage_removed_folders(world: World) -> None:
    for name in ("packs", "index"):
        shutil.rmtree(Path(world.repository, name))
        Path(world.repository, name).mkdir()


@pytest.mark.parametrize("damage", [damage_swapped, damage_truncated, damage_all_but_packs, damage_removed_folders])
def test_large_damage_comes_back_from_a_copy_and_a_second_run_finds_nothing(
    filled: World, damage: Callable[[World], None]
) -> None:
    damage(filled)
    assert scrub(filled).faults()
    done = heal(filled, filled.folder / "copy")
    assert done.faults() == [], done.fields()
    assert filled.faults() == [] and not heal(filled, filled.folder / "copy").healed
