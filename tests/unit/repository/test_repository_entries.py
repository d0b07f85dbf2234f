# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.repository import entries
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import DamagedError

DIGEST = "a" * 64
FILE = {
    "path": "/s/f",
    "seen": "",
    "type": "file",
    "mode": 420,
    "uid": 0,
    "gid": 0,
    "user": "",
    "group": "",
    "mtime": 1,
    "size": 3,
    "sha256": DIGEST,
    "md5": "b" * 32,
    "blocks": [DIGEST],
}
FOLDER = {key: FILE[key] for key in list(FILE)[:9]} | {"type": "directory"}


def text(**changes: Any) -> bytes:
    return json.dumps({**FILE, **changes}).encode()


def folder(path: str) -> bytes:
    return json.dumps({**FOLDER, "path": path}).encode()


def test_an_entry_is_read() -> None:
    entry = entries.parse(text())
    assert (entry.path, entry.type, entry.mode) == (b"/s/f", "file", 0o644)
    assert entry.content == entries.Content(3, DIGEST, "b" * 32, (DIGEST,))


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "s/f"},
        {"path": "/s/../f"},
        {"path": "/s//f"},
        {"path": "/s/%2E%2E/f"},
        {"path": "/s/a%00b"},
        {"path": None},
        {"type": "device"},
        {"mode": 0o10000},
        {"mode": -1},
        {"mode": "420"},
        {"mode": True},
        {"uid": -1},
        {"uid": 2**32},
        {"size": -1},
        {"size": 2**63},
        {"size": 1.5},
        {"sha256": "x"},
        {"md5": 5},
        {"blocks": [DIGEST, 0]},
        {"blocks": [-5]},
        {"blocks": ["../x"]},
        {"blocks": 7},
        {"xattrs": {"user.a": "not base64!"}},
        {"xattrs": []},
        {"user": 5},
        {"seen": 7},
        {"type": "symlink", "target": ""},
        {"type": "symlink", "target": "a%00b"},
        {"evidence": {}},
    ],
)
def test_an_entry_that_no_walk_can_make_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(DamagedError):
        entries.parse(text(**changes))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100000])
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(DamagedError):
        entries.parse(line)


@pytest.mark.parametrize(
    "lines",
    [
        [folder("/s"), text(path="/s/b"), text(path="/s/a")],
        [folder("/s"), text(path="/s/a"), text(path="/s/a")],
        [text(path="/etc/passwd")],
        [folder("/s"), text(path="/t")],
        [folder("/s"), text(path="/s/a"), text(path="/s/a/b")],
        [json.dumps({**FOLDER, "path": "/s", "type": "symlink", "target": "/etc"}).encode(), text(path="/s/passwd")],
        [folder("/s"), text(path="/s/missing/a")],
    ],
)
def test_a_list_that_no_walk_can_make_is_refused(lines: list[bytes]) -> None:
    with pytest.raises(DamagedError):
        list(entries.checked(lines, [b"/s"]))


def test_what_the_source_says_is_compared_without_what_the_writer_saw() -> None:
    one = entries.line(b"/s/a", b"1.2.3.4", {"type": "fifo"})
    other = entries.line(b"/s/a", b"", {"type": "fifo"})
    assert one != other
    assert entries.without_seen(one) == entries.without_seen(other)
    assert entries.line_path(one) == b"/s/a"
    assert one.startswith(entries.opening(b"/s/a", b"1.2.3.4"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mode": 0o7777},
        {"mode": 0},
        {"size": 0},
        {"mtime": 1_769_824_800_123_456_789},
        {"mtime": 9_223_372_036_854_775_807},
        {"mtime": -5},
        {"uid": 2**32 - 1},
        {"path": "/s/with blank/.hidden/..name"},
        {"path": "/s/%0A"},
        {"path": "/s/\u00e9"},
        {"seen": "1.2.3.4", "kind": "sqlite"},
        {"user": "j\u00f6rg"},
        {"blocks": [DIGEST, "c" * 64]},
        {"blocks": [DIGEST, 4096]},
        {"blocks": []},
        {"hard_link": "1.2"},
        {"unsettled": True},
    ],
)
def test_the_common_line_is_read_as_any_other(changes: dict[str, Any]) -> None:
    fields = {**FILE, **changes}
    compact = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    assert entries.parse(compact) == entries.parse(json.dumps(fields, ensure_ascii=False).encode())
