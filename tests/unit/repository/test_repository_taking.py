# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.layout import Repository
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.locks import writing


def settle() -> None:
    """Wait until a file's time stamps tell of any later change."""
    time.sleep(0.15)


def packs(world: Any) -> set[str]:
    return {file.name for file in Path(world.repository, "packs").glob("*/*")}


def test_unchanged_files_are_not_read_again(world: Any) -> None:
    world.write({f"folder/{number}": os.urandom(100) for number in range(50)})
    settle()
    assert world.take().files_read == 50
    before = packs(world)
    again = world.take()
    assert (again.files_read, bool(again.changes), again.bytes_stored) == (0, False, 0)
    assert packs(world) == before
    world.write({"folder/7": b"new", "folder/new": b"new too"})
    (world.tree / "folder/8").unlink()
    third = world.take()
    prefix = str(world.tree / "folder")
    assert third.changes.added == [f"{prefix}/new"]
    assert third.changes.changed == [f"{prefix}/7"]
    assert third.changes.removed == [f"{prefix}/8"]
    assert third.files_read == 2
    assert third.changes.render() == f"~ {prefix}/7\n- {prefix}/8\n+ {prefix}/new\n"
    assert world.faults() == []


def test_a_file_that_changed_within_the_clocks_grain_is_read_again(world: Any) -> None:
    world.write({"state": b"one"})
    world.take()
    status = (world.tree / "state").stat()
    (world.tree / "state").write_bytes(b"two")
    os.utime(world.tree / "state", ns=(status.st_mtime_ns, status.st_mtime_ns))
    world.take()
    world.restore()
    assert world.restored("state").read_bytes() == b"two"


def test_if_changed_takes_none_when_nothing_differs(world: Any) -> None:
    world.write({"state.json": b"{}"})
    first = world.take(if_changed=True)
    os.utime(world.tree)
    (world.tree / "passing").write_bytes(b"")
    (world.tree / "passing").unlink()
    second = world.take(if_changed=True)
    assert first.published and not second.published
    assert second.manifest.digest == first.manifest.digest
    world.write({"state.json": b"[]"})
    assert world.take(if_changed=True).published


def test_a_restore_point_is_taken_once_for_each_host(world: Any) -> None:
    world.write({"state": b"1"})
    first = world.take(restore_point="rp-1")
    world.write({"state": b"2"})
    again = world.take(restore_point="rp-1")
    other = world.take(restore_point="rp-1", host="mainpc")
    assert (first.published, again.published, other.published) == (True, False, True)
    assert again.manifest.digest == first.manifest.digest


def test_measuring_says_what_would_be_and_writes_nothing(world: Any) -> None:
    world.write({"state": b"1", "other": b"2"})
    measured = world.take(check=True)
    assert not os.path.exists(world.repository)
    assert measured.manifest is None and len(measured.changes.added) == 3
    world.take()
    before = sorted(Path(world.repository).rglob("*"))
    world.write({"state": b"3"})
    measured = world.take(check=True, if_changed=True)
    assert measured.changes.changed == [str(world.tree / "state")] and measured.manifest is None
    assert sorted(Path(world.repository).rglob("*")) == before


def test_the_same_tree_makes_the_same_packs(world: Any, tmp_path: Path) -> None:
    world.write({f"{number}": bytes([number]) * 3000 for number in range(200)})
    world.write({"large": os.urandom(3_000_000)})
    settle()
    world.take()
    first = packs(world)
    world.repository = str(tmp_path / "another")
    world.take()
    assert packs(world) == first


def test_a_large_file_that_changes_in_one_place_costs_little(world: Any) -> None:
    content = bytearray(os.urandom(8_000_000))
    world.write({"large": bytes(content)})
    world.take()
    content[4_000_000:4_000_010] = b"0123456789"
    world.write({"large": bytes(content)})
    assert world.take().bytes_stored < 200_000
    world.restore()
    assert world.restored("large").read_bytes() == content


def test_names_of_one_file_stay_one_file_and_are_read_once(world: Any) -> None:
    world.write({"a/first": b"x" * 10})
    os.link(world.tree / "a/first", world.tree / "second")
    assert world.take().files_read == 2
    world.restore()
    assert world.restored("a/first").stat().st_ino == world.restored("second").stat().st_ino


def test_holes_stay_holes(world: Any) -> None:
    with open(world.tree / "sparse", "wb") as stream:
        stream.seek(40_000_000)
        stream.write(b"end")
        stream.truncate(80_000_000)
    taken = world.take()
    assert taken.bytes_stored < 10_000
    world.restore()
    status = world.restored("sparse").stat()
    assert status.st_size == 80_000_000 and status.st_blocks * 512 < 1_000_000
    assert world.restored("sparse").read_bytes() == (world.tree / "sparse").read_bytes()


def test_what_is_excluded_is_not_there(world: Any) -> None:
    world.write({"keep": b"", "a.tmp": b"", "cache/deep/file": b"", "sub/cache2/x": b"", "logs/old/y": b""})
    world.take(exclude=("*.tmp", "cache", "logs/old", str(world.tree / "sub")))
    world.restore()
    assert sorted(file.name for file in world.restored("").iterdir()) == ["keep", "logs"]
    assert list(world.restored("logs").iterdir()) == []


def test_the_repository_does_not_take_itself(world: Any) -> None:
    world.write({"a": b"1"})
    world.repository = str(world.tree / "repository")
    world.take()
    world.restore()
    assert sorted(file.name for file in world.restored("").iterdir()) == ["a"]


def test_a_corrupt_document_never_replaces_the_last_good_one(world: Any) -> None:
    world.write({"state.json": b'{"good": 1}'})
    world.take()
    world.write({"state.json": b'{"good": '})
    taken = world.take()
    again = world.take()
    for outcome in (taken, again):
        (problem,) = outcome.problems
        assert (problem.kind, problem.path) == ("json", os.fsencode(world.tree / "state.json"))
        assert snapshots.incomplete(outcome)
    world.restore()
    assert world.restored("state.json").read_bytes() == b'{"good": 1}'
    assert world.faults() == []
    world.write({"state.json": b'{"good": 2}'})
    assert world.take().problems == []
    world.restore()
    assert json.loads(world.restored("state.json").read_bytes()) == {"good": 2}


def test_a_corrupt_document_without_a_good_one_is_kept_as_it_is(world: Any) -> None:
    world.write({"lines.json": b'{"a": 1}\n{"a": 2}\n'})
    assert [problem.kind for problem in world.take().problems] == ["json"]
    world.restore()
    assert world.restored("lines.json").read_bytes() == b'{"a": 1}\n{"a": 2}\n'


@contextmanager
def written_by_another_process(file: Path, loop: str) -> Iterator[None]:
    """Somebody who keeps writing the file; ``loop`` is what is done with its descriptor ``f`` each time."""
    program = f"import os\nf = os.open({str(file)!r}, os.O_RDWR)\nnumber = 0\nwhile True:\n number += 1\n {loop}\n"
    writer = subprocess.Popen([sys.executable, "-c", program])
    try:
        before = file.read_bytes()
        while file.read_bytes() == before:
            time.sleep(0.01)
        yield
    finally:
        writer.kill()
        writer.wait()


def test_a_file_that_never_settles_is_reported(world: Any) -> None:
    world.write({"counter": b"0" * 30_000_000})
    with written_by_another_process(world.tree / "counter", "os.pwrite(f, str(number).encode().zfill(20), 0)"):
        taken = world.take()
    assert [problem.kind for problem in taken.problems] == ["unsettled"]
    assert world.faults() == []
    settled = world.take()
    assert settled.problems == [] and settled.files_read == 1


def test_a_log_that_only_grows_is_taken_as_far_as_it_went(world: Any) -> None:
    world.write({"agent.log": b"line\n" * 1000})
    with written_by_another_process(world.tree / "agent.log", 'os.lseek(f, 0, 2); os.write(f, b"line\\n")'):
        taken = world.take()
    assert taken.problems == []
    world.restore()
    assert world.restored("agent.log").read_bytes().startswith(b"line\n" * 1001)


def test_what_cannot_be_read_is_reported(world: Any, request: pytest.FixtureRequest) -> None:
    world.write({"secret": b"x", "open": b"y"})
    (world.tree / "secret").chmod(0)
    if os.access(world.tree / "secret", os.R_OK):
        # Root may read everything, until it gives that up.
        give_up = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
        again = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", request.node.nodeid]
        ended = subprocess.run(
            [*give_up, *again], cwd=request.config.rootpath, check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stdout
        return
    taken = world.take()
    assert [problem.kind for problem in taken.problems] == ["unreadable"]
    assert taken.totals["files"] == 1


def test_lost_packs_are_stored_again_by_the_next_snapshot(world: Any) -> None:
    world.write({"a": os.urandom(1000), "b": os.urandom(1000)})
    settle()
    world.take()
    for pack in Path(world.repository, "packs").glob("*/*"):
        pack.unlink()
    assert world.faults()
    assert world.take().files_read == 2
    assert [fault for fault in world.faults() if ".pack" not in fault] == []
    world.restore()
    assert world.restored("a").read_bytes() == (world.tree / "a").read_bytes()


def test_a_second_writer_of_a_host_waits_and_then_names_the_first(world: Any) -> None:
    world.write({"a": b"1"})
    world.take()
    with writing(Repository.open(world.repository), "pc2", SystemClock(), 0):
        with pytest.raises(ContinuityError, match=f"process {os.getpid()} on"):
            world.take(wait=0.2)
        assert world.take(host="mainpc").published
    assert world.take().published


def test_sources_that_do_not_exist_and_no_sources_at_all_are_refused(world: Any, tmp_path: Path) -> None:
    with pytest.raises(ContinuityError, match="does not exist"):
        world.take(sources=[tmp_path / "nowhere"])
    with pytest.raises(ContinuityError, match="nothing to take"):
        snapshots.take_snapshot(world.repository, snapshots.Wanted("pc2", ()), SystemClock())


def test_the_sources_of_a_fleet_host(tmp_path: Path) -> None:
    for folder in ("state/Twin", "ledger", "releases/r-1/config"):
        (tmp_path / folder).mkdir(parents=True)
    assert snapshots.default_sources(str(tmp_path)) == (f"{tmp_path}/state", f"{tmp_path}/ledger")
    (tmp_path / "current").symlink_to("releases/r-1")
    assert f"{tmp_path}/current/config" in snapshots.default_sources(str(tmp_path))
    (tmp_path / "host.json").write_text('{"format": 1, "host": "pc2"}')
    assert snapshots.host_name(str(tmp_path), None) == "pc2"
    assert snapshots.host_name(str(tmp_path), "given") == "given"
    with pytest.raises(ContinuityError):
        snapshots.host_name(None, "../elsewhere")


def test_a_snapshot_is_pinned_and_the_pin_taken_away(world: Any) -> None:
    world.write({"a": b"1"})
    taken = world.take(restore_point="rp-1", pin=True)
    assert (taken.published, taken.pinned, taken.pin_changed) == (True, True, True)
    again = world.take(restore_point="rp-1", pin=True)
    assert (again.published, again.pinned, again.pin_changed) == (False, True, False)
    assert [one["pinned"] for one in snapshots.list_snapshots(world.repository)[0]] == [True]
    looked = world.take(restore_point="rp-1", pin=False, check=True)
    assert looked.pin_changed
    assert world.take(restore_point="rp-1").pinned
    assert world.take(restore_point="rp-1", pin=False).pin_changed
    assert [one["pinned"] for one in snapshots.list_snapshots(world.repository)[0]] == [False]
