# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that are interrupted, that nobody listens to, or whose terminal cannot show the names of files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
    repository = str(tree.parent / "repository")
    before = 1
    for _attempt in range(10):
        (tree / "large").write_bytes(os.urandom(150_000_000))
        command = start("snapshot", tree, "--repository", repository, "--host", "pc2")
        deadline = time.monotonic() + 60
        while not list(Path(repository, "tmp").glob("pc2/*")) and command.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        command.send_signal(signal.SIGINT)
        _unused, said = command.communicate()
        if command.returncode:
            break
        # It had ended before the signal came.
        before += 1
    assert (command.returncode, said) == (130, b"continuity snapshot: interrupted\n")
    assert snapshots.verify_repository(repository).faults() == []
    assert len(snapshots.list_snapshots(repository)[0]) == before


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


def as_document(command: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
    """(exit status, the one JSON document on standard output)."""
    out, _said = command.communicate()
    document = json.loads(out)
    assert isinstance(document, dict)
    return command.returncode, document


@pytest.mark.parametrize(
    "command",
    [
        ["init", "--append-only", "yes"],
        ["snapshot", "{tree}"],
        ["snapshots"],
        ["snapshots", "latest"],
        ["verify"],
        ["scrub"],
        ["heal"],
        ["restore", "latest", "--target", "{tree}-restored"],
        ["forget", "--keep-last", "1"],
        ["prune"],
    ],
    ids=" ".join,
)
def test_json_is_one_document_also_when_nothing_came_of_it(tree: Path, command: list[str]) -> None:
    words = [word.format(tree=tree) for word in command]
    status, document = as_document(start(*words, "--repository", tree.parent / "repository", "--format", "json"))
    assert status == 0 and "error" not in document
    config = tree.parent / "repository/config.json"
    config.write_bytes(b"rotten")
    status, document = as_document(start(*words, "--repository", tree.parent / "repository", "--format", "json"))
    assert status != 0
    if words[0] in ("scrub", "heal"):
        assert not document["sound"]
    else:
        assert status == 2 and document["error"]["where"] == str(config)
        assert "JSON" in document["error"]["what"] and "heal" in document["error"]["fix"]


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
def test_closed_streams_are_no_reason_to_fail(tree: Path, closed: tuple[int, ...]) -> None:
    repository = tree.parent / "repository"

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    for words, expected in ((["verify"], 0), (["snapshot", str(tree)], 0), (["verify", "nobody"], 2)):
        arguments = [sys.executable, "-c", PROGRAM, COLLECTIONS, *words, "--repository", str(repository)]
        ended = subprocess.run(arguments, capture_output=True, preexec_fn=close, check=False)
        assert ended.returncode == expected, ended.stderr
        assert b"Traceback" not in ended.stderr
        # What is for standard error does not land on the other.
        assert b"nobody" not in ended.stdout
    assert snapshots.verify_repository(str(repository)).faults() == []


def test_a_name_that_was_kept_moves_no_terminal(tree: Path) -> None:
    for name in (b"\x1b[2J", b"line\nbreak"):
        Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_bytes(b"spoiled")
    command = start("restore", "latest", "--in-place", "--repository", tree.parent / "repository")
    out, said = command.communicate()
    assert (command.returncode, said) == (0, b"")
    assert out.count(b"  kept: /") == 2 and b"\x1b" not in out and len(out.splitlines()) == 3
