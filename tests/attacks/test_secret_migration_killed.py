# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration is killed at any line of its code, again and again, or finds the disk full; then it goes on, or back.

``CONTINUITY_ATTACKS`` says how often; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "unit" / "secrets")]

from moving import COMPOSE, HUB, MARKS, VALUES, Moving
from reading import bed

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

ATTACKS = int(os.environ.get("CONTINUITY_ATTACKS", "16"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
KILLED_IN = ("/secrets/migration", "/secrets/writers", "/secrets/age_file", "/secrets/vault", "/journal/")
"""Parts of the paths of files whose lines count."""


def in_a_child(work: Callable[[], object], at: int) -> int:
    """Do it in a process of its own, which SIGKILL ends before line ``at`` that it comes to; 0 for the end.
    How it ended: -9 killed, 0 done, 1 an error of ours."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = at

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if not any(part in frame.f_code.co_filename for part in KILLED_IN):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    status = 2
    try:
        sys.settrace(trace)
        work()
        status = 0
    except ContinuityError:
        status = 1
    finally:
        os._exit(status)
    return status


def lines_of(work: Callable[[], object]) -> int:
    """How many lines it comes to."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        if not any(part in frame.f_code.co_filename for part in KILLED_IN):
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return undisturbed(Moving(tmp_path_factory.mktemp("undisturbed")))[0]


def undisturbed(moving: Moving) -> tuple[dict[str, bytes], int, int]:
    """What an undisturbed migration leaves, and how many lines it and its undoing take."""
    forward = lines_of(moving.apply)
    moved = moving.files()
    assert moved != moving.originals
    run = next(path.name for path in moving.backup.iterdir() if path.is_dir())
    return moved, forward, lines_of(lambda: moving.undo(run))


def check(moving: Moving, moved: dict[str, bytes]) -> None:
    """What holds at every moment: files are old or new, what was taken out of them can be read, and no value stands
    in clear elsewhere but where it stood."""
    files = moving.files()
    beside = {name for name in files if name not in moving.originals}
    assert all(Path(name).name.startswith(".") for name in beside), beside
    for name in moving.originals:
        assert files[name] in (moving.originals[name], moved[name]), name
    edited = [name for name in ("conf/hub.yaml", "docker-compose.yml") if files[name] != moving.originals[name]]
    if edited:
        names = {name for name in VALUES if any(f"${{{name}}}".encode() in files[one] for one in edited)}
        assert moving.read(*names) == {name: VALUES[name] for name in names}
    asides = tuple(beside)
    assert moving.traces(but=(*moving.originals, *asides)) == []


def begun(moving: Moving) -> str | None:
    run = moving.unfinished()
    return run.id if run else None


@pytest.fixture(params=["age", "vault"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path], Moving]]:
    """Makes a tree whose values go to an age file, or to a folder of their own in Vault."""
    if request.param == "age":
        yield Moving
        return
    with bed(tmp_path) as vault:
        yield lambda folder: Moving(folder, vault, f"kv/fleet/{folder.name}")


def test_killed_at_any_line_it_goes_on_or_back(tmp_path: Path, make: Callable[[Path], Moving]) -> None:
    moved, forward, backward = undisturbed(make(tmp_path / "undisturbed"))
    chance = random.Random(SEED)
    ends = {"on": 0, "back": 0, "kills": 0}
    points = sorted(chance.sample(range(1, forward - 50), min(ATTACKS, forward - 51)))
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        moving = make(folder)
        where = f"seed {SEED}, line {point}"
        assert in_a_child(moving.apply, point) == -signal.SIGKILL, where
        check(moving, moved)
        ends["kills"] += 1
        for _again in range(chance.randrange(3)):
            status = in_a_child(moving.apply, chance.randrange(1, forward))
            assert status in (0, -signal.SIGKILL), where
            ends["kills"] += status != 0
            check(moving, moved)
        run = begun(moving)
        if run is not None and number % 2:
            for _again in range(chance.randrange(3)):
                status = in_a_child(lambda: moving.undo(run), chance.randrange(1, backward))  # noqa: B023
                assert status in (0, -signal.SIGKILL), where
                ends["kills"] += status != 0
                check(moving, moved)
            assert moving.undo(run).kept == {}, where
            assert moving.files() == moving.originals, where
            with pytest.raises(ContinuityError, match="cannot be read|deleted|nothing at this path"):
                moving.read("WEB_URL")
            ends["back"] += 1
        else:
            moving.apply()
            assert moving.files() == moved, where
            assert moving.read(*VALUES) == VALUES, where
            ends["on"] += 1
        assert moving.traces(but=tuple(moving.originals)) == []
        assert moving.unfinished() is None
        shutil.rmtree(folder)
    print(f"seed {SEED}: {ends} of {forward} lines")


def with_an_error(moving: Moving, told: Path, at: int, *arguments: str) -> int:
    """The command in a child; before line ``at`` an error arises that tells every value of the frame. Its status."""
    settings = moving.folder / "migration.yml"
    settings.write_text(json.dumps(moving.options))
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = at

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if not any(part in frame.f_code.co_filename for part in (*KILLED_IN, "/secrets/placeholder")):
            return None
        left -= event == "line"
        if left == 0:
            left = -1
            raise (ValueError, KeyError, RuntimeError, AttributeError)[at % 4](repr(frame.f_locals), *VALUES.values())
        return trace

    status = 99
    try:
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.settrace(trace)
        status = main(["secrets-migrate", "--settings", str(settings), *arguments])
        sys.settrace(None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def test_an_error_at_any_line_shows_no_value(tmp_path: Path, after: dict[str, bytes]) -> None:
    chance = random.Random(SEED)
    told, shown = tmp_path / "told", set()
    for number in range(ATTACKS):
        moving = Moving(tmp_path / str(number))
        root = ("--root", str(moving.tree), "--apply")
        point = chance.randrange(1, 20_000)
        status = with_an_error(moving, told, point, *root)
        output = told.read_bytes()
        assert not any(mark in output for mark in MARKS), f"seed {SEED}, line {point}"
        assert status in (0, 2), output
        shown.add(status)
        check(moving, after)
        moving.apply()
        assert moving.files() == after
        run = next(path.name for path in moving.backup.iterdir() if path.is_dir())
        undo = ("--undo", run, "--identity-file", str(moving.folder / "operator.txt"))
        assert with_an_error(moving, told, chance.randrange(1, 8_000), *undo) in (0, 2)
        assert not any(mark in told.read_bytes() for mark in MARKS)
        check(moving, after)
        assert moving.undo(run).kept == {}
        assert moving.files() == moving.originals
    assert 2 in shown


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def room(disk: Path, pages: int) -> Iterator[None]:
    """The disk has no more than so many pages of 4 KiB left."""
    now = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(max(0, now.f_bavail - pages) * now.f_frsize))
    try:
        yield
    finally:
        ballast.unlink()


def test_a_full_disk_leaves_what_was_there(disk: Path, after: dict[str, bytes]) -> None:
    moved = after
    failed = 0
    for pages in range(0, 14):
        folder = disk / str(pages)
        moving = Moving(folder)
        with room(disk, pages):
            try:
                moving.apply()
            except ContinuityError as error:
                failed += 1
                assert "No space left" in str(error), error
            check(moving, moved)
            assert set(moving.files()) == set(moving.originals), "nothing is left beside the files"
        if pages % 2 and begun(moving):
            assert moving.undo(str(begun(moving))).kept == {}
            assert moving.files() == moving.originals
        else:
            moving.apply()
            assert moving.files() == moved and moving.read(*VALUES) == VALUES
        shutil.rmtree(folder)
    assert failed > 5


def test_undoing_on_a_full_disk_changes_nothing_and_can_be_repeated(disk: Path, after: dict[str, bytes]) -> None:
    moving = Moving(disk / "work")
    run = moving.apply()
    assert run is not None
    with room(disk, 0):
        kept = moving.undo(run.id).kept
    assert sorted(kept) == ["conf/hub.yaml", "docker-compose.yml"]
    assert all("No space left" in why for why in kept.values())
    check(moving, after)
    assert moving.undo(run.id).kept == {}
    assert moving.files() == moving.originals
    assert (moving.files()["conf/hub.yaml"], moving.files()["docker-compose.yml"]) == (HUB.encode(), COMPOSE.encode())
