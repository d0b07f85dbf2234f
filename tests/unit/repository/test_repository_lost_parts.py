# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole parts of a repository are lost: nothing is made worse by the next command, whatever it is."""

from __future__ import annotations

import contextlib
import copy
import errno
import fcntl
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance, snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError, RepositoryError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

if TYPE_CHECKING:
    from conftest import World

CLOCK = SystemClock()


@pytest.fixture
def filled(world: World) -> World:
    """Three snapshots with 60 kB each of their own; ``copy`` is one of the repository."""
    chance = random.Random(11)
    for _unused in range(3):
        world.write({"changes": chance.randbytes(60_000), "stays": b"stays" * 1000})
        world.take()
    shutil.copytree(world.repository, world.folder / "copy")
    return world


def files(world: World) -> dict[str, bytes]:
    root = Path(world.repository)
    published = (root / name for name in ("packs", "index", "manifests", "pins"))
    return {str(file): file.read_bytes() for folder in published for file in folder.rglob("*") if file.is_file()}


def heal(world: World) -> maintenance.Upkeep:
    wanted = maintenance.Scrubbing(heal=True, copies=(str(world.folder / "copy"),), live=False, wait=0.2)
    return maintenance.scrub(world.repository, wanted, CLOCK)


def as_link(config: Path) -> None:
    config.unlink()
    config.symlink_to("/etc/hostname")


def as_pipe(config: Path) -> None:
    config.unlink()
    os.mkfifo(config)


@pytest.mark.parametrize("lose", [Path.unlink, as_link, as_pipe], ids=["gone", "link", "pipe"])
def test_a_lost_config_is_missed_and_comes_back_from_a_copy(filled: World, lose: Callable[[Path], None]) -> None:
    lose(Path(filled.repository, "config.json"))
    before = files(filled)
    commands: list[Callable[[], Any]] = [
        filled.take,
        lambda: filled.take(check=True),
        lambda: Repository.init(filled.repository, 0.0),
        filled.faults,
        filled.restore,
        lambda: maintenance.prune(filled.repository, CLOCK),
    ]
    for command in commands:
        with pytest.raises(DamagedError, match=r"config.json.*continuity heal --from"):
            command()
    assert files(filled) == before
    assert maintenance.scrub(filled.repository, maintenance.Scrubbing(), CLOCK).faults()
    assert heal(filled).faults() == []
    assert filled.faults() == []


def test_an_encrypted_repository_never_goes_on_in_plain(world: World) -> None:
    """Its config.json says that it is encrypted: without it the next snapshot could be written as it is."""
    pyrage = pytest.importorskip("pyrage", reason="encryption needs pyrage")
    pytest.importorskip("cryptography", reason="encryption needs cryptography")
    key = pyrage.x25519.Identity.generate()
    identity = world.folder / "identity.txt"
    identity.write_text(f"{key}\n")
    Repository.init(world.repository, 0.0, recipients=[str(key.to_public())])
    world.write({"secret": b"secret"})
    wanted = snapshots.Wanted(host="pc2", sources=(str(world.tree),))
    snapshots.take_snapshot(world.repository, wanted, CLOCK, identity_files=[str(identity)])
    Path(world.repository, "config.json").unlink()
    before = files(world)
    for identities in ((), (str(identity),)):
        with pytest.raises(DamagedError):
            snapshots.take_snapshot(world.repository, wanted, CLOCK, identity_files=identities)
    assert files(world) == before


def test_without_the_folder_of_all_snapshots_nothing_is_begun_anew(filled: World) -> None:
    """Else the next snapshot would be the first, and prune would find that nobody needs the packs of the others."""
    shutil.rmtree(Path(filled.repository, "manifests"))
    before = files(filled)
    for command in (filled.take, filled.faults, lambda: maintenance.prune(filled.repository, CLOCK)):
        with pytest.raises(DamagedError, match="folder of all snapshots is missing"):
            command()
    assert files(filled) == before
    shutil.copytree(filled.folder / "copy/manifests", Path(filled.repository, "manifests"))
    assert filled.faults() == []


def test_what_was_taken_away_keeps_its_blocks_until_it_is_given_up(filled: World) -> None:
    first = sorted(Path(filled.repository, "manifests/pc2").glob("*.json"))[0]
    first.unlink()
    before = files(filled)
    for check in (True, False):
        with pytest.raises(RepositoryError, match="snapshot number 1 was taken away"):
            maintenance.prune(filled.repository, CLOCK, max_unused=0.0, check=check)
    assert files(filled) == before
    assert heal(filled).faults() == []
    assert filled.faults() == [] and filled.restore(first.name[9:21]).failed == {}
    first.unlink()
    assert filled.faults()
    wanted = maintenance.Dropping(maintenance.retention_from({}), lost=True, wait=0.2)
    for check in (True, False):
        given_up = maintenance.forget(filled.repository, wanted, CLOCK, check=check)
        assert given_up.changed and given_up.lost == {"pc2": [(1, first.name[9:73])]}
    assert not maintenance.forget(filled.repository, wanted, CLOCK).changed
    assert filled.faults() == []
    assert maintenance.prune(filled.repository, CLOCK, max_unused=0.0).bytes_freed > 50_000
    assert filled.take().published and filled.faults() == []


def test_several_lost_ones_in_a_row_are_given_up_and_may_still_come_back(world: World) -> None:
    for number in range(5):
        world.write({"file": bytes([number]) * 60_000})
        world.take()
    every = sorted(Path(world.repository, "manifests/pc2").glob("*.json"))
    kept = {file: file.read_bytes() for file in every}
    for file in every[1:4]:
        file.unlink()
    rules = maintenance.retention_from({"keep_last": 5})
    with pytest.raises(RepositoryError, match=r"2 to 4 was taken away.*forget --lost"):
        maintenance.forget(world.repository, maintenance.Dropping(rules, wait=0.2), CLOCK, prune=True)
    wanted = maintenance.Dropping(rules, lost=True, wait=0.2)
    given_up = maintenance.forget(world.repository, wanted, CLOCK)
    assert given_up.lost == {"pc2": [(2, None), (3, None), (4, every[3].name[9:73])]}
    assert world.faults() == []
    for file in (every[2], every[3]):
        file.write_bytes(kept[file])
    assert world.faults() == []


def test_a_copy_is_asked_before_anything_is_given_up(filled: World) -> None:
    first = sorted(Path(filled.repository, "manifests/pc2").glob("*.json"))[0]
    first.unlink()
    assert heal(filled).faults() == []
    wanted = maintenance.Dropping(maintenance.retention_from({}), lost=True, wait=0.2)
    assert not maintenance.forget(filled.repository, wanted, CLOCK).changed


@pytest.mark.parametrize("left", [0, 100])
def test_what_stood_in_a_pack_that_was_cut_off_is_stored_again(filled: World, left: int) -> None:
    for pack in Path(filled.repository, "packs").rglob("*.pack"):
        os.truncate(pack, left)
    taken = filled.take()
    assert taken.manifest is not None and taken.bytes_stored > 60_000
    assert filled.restore(taken.manifest.id).failed == {}
    assert filled.restored("changes").read_bytes() == (filled.tree / "changes").read_bytes()


@pytest.mark.parametrize("seed", range(4))
def test_prune_is_done_once_where_two_hosts_have_stored_the_same(world: World, seed: int) -> None:
    """Each of two writers has stored blocks that the other has too, and some of its own: what is rewritten because
    of that is won, and is not rewritten again, in whatever order the names of the packs are."""
    chance = random.Random(seed)
    for number in range(8):
        world.write({f"shared{number}": chance.randbytes(50_000)})
    for host in ("pc1", "pc2"):
        world.write({f"of_{host}": chance.randbytes(200_000)})
        apart = copy.copy(world)
        apart.repository = str(world.folder / host)
        apart.take(host=host)
        os.unlink(world.tree / f"of_{host}")
    shutil.copytree(world.folder / "pc1", world.repository)
    for folder in ("packs", "index", "manifests"):
        shutil.copytree(world.folder / "pc2" / folder, Path(world.repository, folder), dirs_exist_ok=True)
    first = maintenance.prune(world.repository, CLOCK, max_unused=5.0)
    assert first.bytes_freed > 390_000 and first.bytes_unused < 40_000
    again = maintenance.prune(world.repository, CLOCK, max_unused=5.0)
    assert not again.changed and world.faults() == []


@pytest.mark.parametrize("percent", [-1.0, float("nan")])
def test_less_than_nothing_cannot_stay_unused(filled: World, percent: float) -> None:
    with pytest.raises(RepositoryError, match="cannot stay unused"):
        maintenance.prune(filled.repository, CLOCK, max_unused=percent)


@pytest.mark.parametrize("lock", ["host-pc2.lock", "repository.lock", "maintenance.lock"])
@pytest.mark.parametrize("what", ["pipe", "link", "pipe as lock", "link as lock"])
def test_what_somebody_put_in_the_place_of_a_lock_hangs_nobody_and_leads_nowhere(
    filled: World, lock: str, what: str
) -> None:
    file = Path(filled.repository, "locks", lock if what.endswith("as lock") else f"{lock}.owner")
    precious = filled.folder / "precious"
    precious.write_text("as it was")
    file.unlink(missing_ok=True)
    if what.startswith("pipe"):
        os.mkfifo(file)
    else:
        file.symlink_to(precious)
    wanted = maintenance.Dropping(maintenance.retention_from({"keep_last": 1}), wait=0.2)
    for command in (filled.take, lambda: maintenance.forget(filled.repository, wanted, CLOCK, prune=True)):
        with contextlib.suppress(RepositoryError):
            command()
    assert precious.read_text() == "as it was"
    assert filled.faults() == []


def test_who_waits_for_a_lock_does_not_wait_for_a_pipe(filled: World) -> None:
    held = Path(filled.repository, "locks/host-pc2.lock")
    (held.parent / "host-pc2.lock.owner").unlink(missing_ok=True)
    os.mkfifo(held.parent / "host-pc2.lock.owner")
    with held.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RepositoryError, match="its owner left no record"):
            filled.take(wait=0.2)


def test_a_copy_that_is_not_there_keeps_no_other_from_helping(filled: World) -> None:
    pack = sorted(Path(filled.repository, "packs").rglob("*.pack"))[0]
    for rotten in (True, False):
        if rotten:
            pack.write_bytes(b"rotten")
        copies = (str(filled.folder / "not mounted"), str(filled.folder / "copy"))
        done = maintenance.scrub(
            filled.repository, maintenance.Scrubbing(heal=True, copies=copies, live=False, wait=0.2), CLOCK
        )
        assert done.left.damages == [] and done.absent == copies[:1]
        assert [fault for fault in done.faults() if "not mounted" in fault] == done.faults() != []


def test_a_restore_point_of_other_paths_does_not_pass_for_one_of_these(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write({"one/file": b"1", "two/file": b"2"})
    take = ["snapshot", "--repository", world.repository, "--host", "pc2", "--restore-point", "rp-1"]
    assert main([*take, f"{world.tree}/one"]) == 0
    assert main([*take, f"{world.tree}/one/file"]) == 0
    assert main([*take, f"{world.tree}/two"]) == 2
    assert "already, of other paths" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write into what belongs to somebody else")
def test_who_is_refused_is_told_to_whom_it_belongs(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, *_unused: object, **_also: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(RepositoryError, match=r"Permission denied \(.* belongs to root\)"):
        Repository.init(str(filled.folder / "another"), 0.0)


def test_what_lies_in_a_folder_that_only_looks_like_one_of_ours_stays(world: World) -> None:
    """A prune would throw away what it finds in tmp/."""
    kept = Path(world.repository, "tmp/drafts/thesis")
    kept.parent.mkdir(parents=True)
    kept.write_text("precious")
    world.write({"file": b"1"})
    with pytest.raises(RepositoryError, match="holds something else"):
        world.take()
    assert kept.read_text() == "precious" and os.listdir(world.repository) == ["tmp"]
    shutil.rmtree(kept.parent)
    killed = Path(world.repository, "tmp/init-4711/config.json")
    killed.parent.mkdir()
    killed.write_text("{")
    assert world.take().manifest is not None


def test_the_newest_snapshot_comes_back_as_it_was_noted(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(filled.folder)
    noting = maintenance.Scrubbing(heads="heads.json")
    assert maintenance.scrub(filled.repository, noting, CLOCK).noted and Path("heads.json").exists()
    manifests = sorted(Path(filled.repository, "manifests/pc2").glob("*.json"))
    for file in manifests[1:]:
        file.unlink()
    assert filled.faults() == [], "only the note knows of it"
    wanted = maintenance.Scrubbing(heads="heads.json", heal=True, copies=(str(filled.folder / "copy"),), wait=0.2)
    done = maintenance.scrub(filled.repository, wanted, CLOCK)
    assert done.found.damages and done.faults() == []
    assert [file.exists() for file in manifests] == [True] * 3 and filled.faults() == []


def test_what_was_taken_since_is_not_replaced_by_what_was_noted(filled: World) -> None:
    """Somebody put the repository back, and went on: that is named, and nothing is mixed."""
    heads = str(filled.folder / "heads.json")
    maintenance.scrub(filled.repository, maintenance.Scrubbing(heads=heads), CLOCK)
    sorted(Path(filled.repository, "manifests/pc2").glob("*.json"))[-1].unlink()
    filled.take()
    before = files(filled)
    wanted = maintenance.Scrubbing(heads=heads, heal=True, copies=(str(filled.folder / "copy"),), wait=0.2)
    assert "is another one now" in " ".join(maintenance.scrub(filled.repository, wanted, CLOCK).faults())
    assert files(filled) == before


def test_a_note_that_is_a_device_is_none(filled: World) -> None:
    with pytest.raises(RepositoryError, match="not a note of the newest snapshots"):
        maintenance.scrub(filled.repository, maintenance.Scrubbing(heads="/dev/zero"), CLOCK)


def test_tags_move_no_terminal(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write({"file": b"1"})
    world.take(tags=("a\x1b[2J", "\u00fc"))
    assert main(["snapshots", "--repository", world.repository]) == 0
    listed = capsys.readouterr().out
    assert "\x1b" not in listed and "a\\x1b[2J \u00fc" in listed
