# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that are interrupted, that nobody listens to, or whose terminal cannot show the names of files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv.pop(1));"
    "from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main; sys.exit(main())"
)


def start(*arguments: object, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, COLLECTIONS, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in (b"plain", "\u00e9\u4e2d".encode(), b"\xff\xfe", b"line\nbreak", b"\x1b[2J"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
    snapshots.take_snapshot(str(tmp_path / "repository"), snapshots.Wanted("pc2", (str(folder),)), SystemClock())
    return folder


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "utf-8"])
def test_names_are_shown_on_any_terminal(tree: Path, encoding: str) -> None:
    listing = start("snapshots", "latest", "--repository", tree.parent / "repository", PYTHONIOENCODING=encoding)
    out, said = listing.communicate()
    assert (listing.returncode, said) == (0, b"")
    assert len(out.splitlines()) == 6 and b"%1B[2J" in out and b"line%0Abreak" in out


def test_ctrl_c_ends_without_a_traceback_and_leaves_everything_whole(tree: Path) -> None:
    (tree / "large").write_bytes(os.urandom(150_000_000))
    repository = str(tree.parent / "repository")
    command = start("snapshot", tree, "--repository", repository, "--host", "pc2")
    deadline = time.monotonic() + 60
    while not list(Path(repository, "tmp").glob("pc2/*")) and command.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    command.send_signal(signal.SIGINT)
    _unused, said = command.communicate()
    assert (command.returncode, said) == (130, b"continuity snapshot: interrupted\n")
    assert snapshots.verify_repository(repository).faults() == []
    assert len(snapshots.list_snapshots(repository)[0]) == 1


def test_nobody_who_stops_listening_is_told_that_all_is_well(tree: Path) -> None:
    for number in range(3000):
        (tree / f"a-name-that-fills-the-pipe-sooner-or-later-{number}").touch()
    repository = tree.parent / "repository"
    snapshots.take_snapshot(str(repository), snapshots.Wanted("pc2", (str(tree),)), SystemClock())
    listing = start("snapshots", "latest", "--repository", repository)
    assert listing.stdout is not None and listing.stderr is not None
    listing.stdout.readline()
    listing.stdout.close()
    said = listing.stderr.read()
    assert (listing.wait(), said) == (2, b"")
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(listing.args, stdout=full, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 2 and b"No space left" in ended.stderr and b"Traceback" not in ended.stderr
