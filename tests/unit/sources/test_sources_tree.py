# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.source import Found, Skipped
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.documents import DocumentReading
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.patterns import Patterns
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.tree import TreeSource, outermost


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.tmp", b"/a/b.tmp", True),
        ("*.tmp", b"/a.tmp/b", False),
        ("cache", b"/a/cache", True),
        ("cache/", b"/a/cache", True),
        ("cache", b"/a/cache2", False),
        ("/a/*", b"/a/b/c", True),
        ("/a", b"/b/a", False),
        ("logs/*.log", b"/x/logs/y.log", True),
        ("logs/*.log", b"/x/oldlogs/y.log", False),
        ("*\u00e4*", "/x/b\u00e4r".encode(), True),
        ("[", b"/[", True),
    ],
)
def test_patterns(pattern: str, path: bytes, matches: bool) -> None:
    assert Patterns([pattern]).match(path) is matches


def test_no_patterns_match_nothing() -> None:
    assert not Patterns([]).match(b"/anything")


def test_roots_inside_roots_are_left_out() -> None:
    assert outermost([b"/a/b", b"/a", b"/ab", b"/a.b", b"/a"]) == (b"/a", b"/a.b", b"/ab")
    assert outermost([b"/", b"/x"]) == (b"/",)


def test_sockets_are_passed_over_and_what_vanishes_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "agent.sock"))
        source = TreeSource([os.fsencode(tmp_path)], staging=str(tmp_path))
        assert [item.path.rpartition(b"/")[2] for item in source.walk()][1:] == [b"file"]
    gone = list(TreeSource([b"/nowhere/at/all"], staging=str(tmp_path)).walk())
    assert [(type(item), item.path) for item in gone] == [(Skipped, b"/nowhere/at/all")]


def test_a_folder_that_disappears_during_the_walk_is_named(tmp_path: Path) -> None:
    (tmp_path / "a/inside").mkdir(parents=True)
    walk = TreeSource([os.fsencode(tmp_path)], staging=str(tmp_path)).walk()
    assert isinstance(next(walk), Found)
    assert next(walk).path == os.fsencode(tmp_path / "a")
    (tmp_path / "a/inside").rmdir()
    (tmp_path / "a").rmdir()
    (rest,) = walk
    assert isinstance(rest, Skipped) and rest.kind == "vanished"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"a": [1, 2.5, null, "x"]}', False),
        (b"\xef\xbb\xbf{}", False),
        (b"", True),
        (b'{"a": 1', True),
        (b"\xff\xfe\xfa", True),
        (b"[" * 200_000, True),
    ],
)
def test_documents_are_parsed(tmp_path: Path, text: bytes, fault: bool) -> None:
    (tmp_path / "d.json").write_bytes(text)
    reading = DocumentReading(os.fsencode(tmp_path / "d.json"))
    assert b"".join(piece for piece in reading.pieces() if isinstance(piece, bytes)) == text
    assert bool(reading.fault()) is fault
    reading.close()
