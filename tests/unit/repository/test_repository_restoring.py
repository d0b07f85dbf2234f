# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository import manifests
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import RepositoryError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.index import Index
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main


def in_place(world: Any, **options: Any) -> Any:
    return snapshots.restore_snapshot(world.repository, "latest", **options)[1]


def test_in_place_only_what_differs_is_replaced_and_the_old_is_kept(world: Any) -> None:
    world.write({"a.json": b"{}", "b": b"bee", "folder/c": b"see"})
    world.take()
    world.write({"a.json": b"broken", "new": b"stays"})
    (world.tree / "folder/c").unlink()
    looked = in_place(world, check=True)
    done = in_place(world)
    assert (looked.created, looked.changed) == (done.created, done.changed)
    assert done.changed == [str(world.tree / "a.json")] and done.created == [str(world.tree / "folder/c")]
    assert done.render() == f"~ {world.tree}/a.json\n+ {world.tree}/folder/c\n"
    assert (world.tree / "a.json").read_bytes() == b"{}" and (world.tree / "new").read_bytes() == b"stays"
    (kept,) = done.kept_aside
    assert Path(kept).read_bytes() == b"broken" and Path(kept).parent.parent.parent == world.folder
    again = in_place(world)
    assert (again.created, again.changed, again.kept_aside) == ([], [], [])


def test_the_state_of_an_agent_alone_is_restored_by_its_name(world: Any) -> None:
    world.write({"state/Twin/memory.json": b"{}", "state/Twins/memory.json": b"{}", "config/startup.yaml": b"a: 1"})
    world.take(sources=[world.tree / "state", world.tree / "config"])
    for lost in ("state/Twin/memory.json", "state/Twins/memory.json", "config/startup.yaml"):
        (world.tree / lost).unlink()
    assert in_place(world, agents=["Twin"]).created == [str(world.tree / "state/Twin/memory.json")]
    with pytest.raises(ContinuityError, match="Nothing in this snapshot matches"):
        in_place(world, agents=["Nobody"])


def test_agents_are_asked_for_where_there_are_none(world: Any) -> None:
    world.write({"a": b"a"})
    world.take()
    with pytest.raises(ContinuityError, match="holds no agents' state"):
        in_place(world, agents=["Twin"])


def test_a_damaged_file_with_its_old_size_and_time_is_restored(world: Any) -> None:
    world.write({"a": b"right"})
    world.take()
    status = (world.tree / "a").stat()
    (world.tree / "a").write_bytes(b"wrong")
    os.utime(world.tree / "a", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert in_place(world).changed == [str(world.tree / "a")]
    assert (world.tree / "a").read_bytes() == b"right"


def test_the_journal_of_a_replaced_database_does_not_reach_the_restored_one(world: Any) -> None:
    file = world.tree / "memory.db"
    with sqlite3.connect(file) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table facts (fact)")
        database.execute("insert into facts values ('then')")
    database.close()
    # Old enough for its time stamps to be believed, although the new row is in the write-ahead log alone.
    time.sleep(0.15)
    world.take()
    writer = sqlite3.connect(file)
    with writer:
        writer.execute("insert into facts values ('later')")
    done = in_place(world)
    writer.close()
    assert {Path(kept).name for kept in done.kept_aside} >= {"memory.db", "memory.db-wal"}
    with sqlite3.connect(file) as database:
        assert database.execute("select fact from facts").fetchall() == [("then",)]
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_database_that_nobody_touched_is_left_alone(world: Any) -> None:
    with sqlite3.connect(world.tree / "memory.db") as database:
        database.execute("create table facts (fact)")
    database.close()
    world.take(check=True)
    time.sleep(0.15)
    world.take()
    assert in_place(world).changed == []
    assert snapshots.compare_tree(world.repository, "latest", "/").faults() == []


def test_types_that_changed_are_restored(world: Any) -> None:
    world.write({"file": b"1", "folder/inside": b"2"})
    (world.tree / "link").symlink_to("file")
    world.take()
    (world.tree / "file").unlink()
    (world.tree / "file").mkdir()
    (world.tree / "link").unlink()
    (world.tree / "link").write_bytes(b"no link")
    (world.tree / "folder/inside").unlink()
    (world.tree / "folder").rmdir()
    (world.tree / "folder").write_bytes(b"no folder")
    in_place(world)
    assert (world.tree / "file").read_bytes() == b"1"
    assert os.readlink(world.tree / "link") == "file"
    assert (world.tree / "folder/inside").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (["{tree}/state/Twin"], ["{tree}/state/Twin", "{tree}/state/Twin/a.json"]),
        (["*/b.json"], ["{tree}/state/Other/b.json"]),
        (
            ["{tree}/state/Twin/a.json", "{tree}/state/Other/b.json"],
            ["{tree}/state/Other/b.json", "{tree}/state/Twin/a.json"],
        ),
    ],
)
def test_only_what_is_included_is_restored(world: Any, include: list[str], expected: list[str]) -> None:
    world.write({"state/Twin/a.json": b"1", "state/TwinB/a": b"1", "state/Other/b.json": b"2"})
    world.take()
    done = world.restore(include=[one.format(tree=world.tree) for one in include])
    assert done.created == [one.format(tree=world.tree) for one in expected]


def test_an_include_that_matches_nothing_is_an_error(world: Any) -> None:
    world.write({"a": b"1"})
    world.take()
    with pytest.raises(ContinuityError, match="Nothing in this snapshot matches"):
        world.restore(include=["/elsewhere"])


def test_a_damaged_block_fails_its_file_and_no_other(world: Any) -> None:
    world.write({"bad": os.urandom(5000), "good": os.urandom(5000)})
    world.take()
    for pack in Path(world.repository, "packs").glob("*/*"):
        content = bytearray(pack.read_bytes())
        content[100] ^= 1
        pack.write_bytes(bytes(content))
    done = world.restore()
    assert len(done.failed) == 1
    assert len([name for name in ("bad", "good") if world.restored(name).exists()]) == 1
    assert not [file for file in world.restored("").iterdir() if file.name.startswith(".continuity")]


def test_modes_times_owners_and_attributes_come_back(world: Any) -> None:
    world.write({"tool": b"#!/bin/sh\n"})
    (world.tree / "tool").chmod(0o4751)
    os.utime(world.tree / "tool", ns=(1_000_000_007, 1_000_000_007))
    try:
        os.setxattr(world.tree / "tool", "user.origin", b"\xff\0")
    except OSError as error:
        pytest.skip(f"this file system has no user attributes: {error}")
    world.take()
    world.restore()
    status = world.restored("tool").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o4751, 1_000_000_007)
    assert os.getxattr(world.restored("tool"), "user.origin") == b"\xff\0"


def test_what_differs_from_a_snapshot_is_named(world: Any) -> None:
    world.write({"one": b"1", "two": b"2", "three": b"3", "four.json": json.dumps({}).encode(), "five": b"5"})
    world.take()
    world.write({"one": b"2", "two": b"1", "three": b"x", "six": b"6"})
    (world.tree / "five").unlink()
    (world.tree / "four.json").chmod(0o777)
    compared = snapshots.compare_tree(world.repository, "latest", "/")
    tree = world.tree
    assert compared.swapped == [(f"{tree}/one", f"{tree}/two")]
    assert compared.changed == {f"{tree}/three": "content differs", f"{tree}/four.json": "mode is 0777, was 0644"}
    assert compared.missing == [f"{tree}/five"] and compared.added == [f"{tree}/six"]


def test_where_nothing_can_be_written_it_says_so(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write({"a": b"1"})
    world.take()

    def refuse(*_unused: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere")

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(ContinuityError, match="/somewhere: Cannot restore: No space left"):
        world.restore()
    monkeypatch.undo()
    assert list(world.restored("").iterdir()) == []
    assert world.restore().created == [f"{world.tree}/a"]


def test_one_path_is_restored_without_the_lists_of_others(world: Any) -> None:
    """Blocks of entries that hold nothing of it are not even read: here they cannot be."""
    world.write({f"{folder}/{number:04d}": b"%d" % number for folder in "abc" for number in range(1100)})
    world.take()
    manifest = manifests.find(Repository.open(world.repository), "latest")
    assert len(manifest.segments) > 2
    index = Index(Repository.open(world.repository))
    (pack,) = Path(world.repository, "packs").glob("*/*")
    content = bytearray(pack.read_bytes())
    (place,) = index.places(manifest.segments[0].block)
    content[place.offset + place.stored // 2] ^= 1
    pack.write_bytes(bytes(content))
    for wanted, count in (("c/1099", 1), ("c", 1101)):
        done = world.restore(include=[f"{world.tree}/{wanted}"])
        assert done.matched == count and not done.failed
    assert world.restored("c/1099").read_bytes() == b"1099"
    with pytest.raises(ContinuityError):
        world.restore()


def test_what_stands_in_the_way_of_one_costs_no_other(world: Any) -> None:
    world.write({"file": b"1", "folder/one": b"2", "folder/two": b"3", "other": b"4"})
    world.take()
    Path(f"{world.target}{world.tree}/file/full").mkdir(parents=True)
    Path(f"{world.target}{world.tree}/folder").symlink_to("/nonexistent")
    done = world.restore()
    assert list(done.failed) == [f"{world.tree}/file"]
    assert "A folder stands where" in done.failed[f"{world.tree}/file"]
    assert world.restored("other").read_bytes() == b"4" and world.restored("folder/two").read_bytes() == b"3"


def test_a_file_system_that_is_read_only_is_said(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some calls name what they refuse by its descriptor alone."""
    world.write({"file": b"1"})
    world.take()

    def refuse(descriptor: int, _mode: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system", descriptor)

    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(RepositoryError, match=f"^{world.target}: Cannot restore: Read-only file system"):
        world.restore()


def test_a_target_without_a_name_is_no_target(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell's variable that is not set."""
    world.write({"file": b"1"})
    world.take()
    elsewhere = world.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    place = ["--repository", world.repository, "--target", ""]
    assert main(["restore", "latest", *place]) == main(["verify", "latest", *place]) == 2
    assert not list(elsewhere.iterdir())


def test_a_comparison_is_with_one_snapshot_and_with_the_one_that_was_expected(world: Any) -> None:
    world.write({"file": b"1"})
    digests = [world.take().manifest.digest, world.take().manifest.digest]
    compare = ["verify", "--repository", world.repository, "--target", "/"]
    assert main([*compare, "--expected", digests[1]]) == 0
    assert main([*compare, "--expected", digests[0]]) == 2
    assert main([*compare, *digests]) == 2


def test_what_is_refused_by_its_name_alone_is_said_with_its_place(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write({"file": b"1"})
    world.take()
    world.target.mkdir()

    def refuse(name: bytes, *_unused: object, **_also: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", name)

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(RepositoryError, match=f"^{world.target}: [^/]+: Cannot restore: Read-only file system"):
        world.restore()
