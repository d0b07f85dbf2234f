# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.source import Found, plain
from ansible_collections.fleetops.continuity.plugins.module_utils.sources import sqlite
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.tree import TreeSource

WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
database.execute("pragma journal_mode=" + sys.argv[2])
database.execute("create table if not exists log (number integer primary key, twice integer)")
number = database.execute("select coalesce(max(number), 0) from log").fetchone()[0]
while True:
    number += 1
    database.execute("begin immediate")
    database.execute("insert into log values (?, null)", (number,))
    database.execute("update log set twice = ? where number = ?", (2 * number, number))
    database.execute("commit")
"""


@contextmanager
def writer(file: Path, mode: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(file), mode])
    try:
        while not rows(file):
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


def rows(file: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10)) as database:
            return int(database.execute("select count(*) from log").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def taken(folder: Path, staging: Path) -> dict[str, tuple[str, bytes, str]]:
    staging.mkdir(exist_ok=True)
    source = TreeSource([os.fsencode(folder)], staging=str(staging))
    result = {}
    for found in source.walk():
        assert isinstance(found, Found)
        if found.path != os.fsencode(folder):
            reading = source.read(found, 0)
            content = b"".join(part for piece in reading.pieces() for part in plain(piece))
            result[os.fsdecode(found.path.rpartition(b"/")[2])] = (reading.kind, content, reading.fault())
            reading.close()
    return result


def check(content: bytes, where: Path) -> int:
    """The number of rows of a copy that is whole, consistent, and a prefix of what was written."""
    where.write_bytes(content)
    with closing(sqlite3.connect(where)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        count, highest = database.execute("select count(*), max(number) from log").fetchone()
        assert database.execute("select count(*) from log where twice is not 2 * number").fetchone() == (0,)
    assert count == highest
    return int(count)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_is_copied_whole_while_it_is_written(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with writer(folder / "memory.db", mode):
        counts = []
        for _unused in range(5):
            copies = taken(folder, tmp_path / "staging")
            assert set(copies) == {"memory.db"}
            kind, content, fault = copies["memory.db"]
            assert (kind, fault) == ("sqlite", "")
            counts.append(check(content, tmp_path / "copy.db"))
            time.sleep(0.05)
    assert counts == sorted(counts) and counts[-1] > counts[0]
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_a_killed_writer_left_behind_is_recovered_in_the_copy_alone(tmp_path: Path) -> None:
    live, folder = tmp_path / "live", tmp_path / "state"
    live.mkdir()
    folder.mkdir()
    with closing(sqlite3.connect(live / "m.db", isolation_level=None)) as database:
        database.execute("create table log (number integer primary key, twice integer)")
        database.execute("begin")
        database.executemany("insert into log values (?, ?)", [(n, 2 * n) for n in range(1, 2001)])
        database.execute("commit")
        database.execute("pragma cache_size = 5")
        database.execute("begin")
        database.execute("update log set twice = 0")
        for name in ("m.db", "m.db-journal"):
            shutil.copyfile(live / name, folder / name)
        database.execute("rollback")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(before) == {"m.db", "m.db-journal"}
    kind, content, fault = taken(folder, tmp_path / "staging")["m.db"]
    assert (kind, fault) == ("sqlite", "")
    assert check(content, tmp_path / "copy.db") == 2000
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_file_that_only_starts_like_a_database_is_taken_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    content = b"SQLite format 3\0" + bytes(range(256)) * 40
    (folder / "odd.db").write_bytes(content)
    kind, copy, fault = taken(folder, tmp_path / "staging")["odd.db"]
    assert copy == content and kind == "" and "SQLite cannot copy" in fault


def test_companions_of_other_files_are_files(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for name in ("notes", "notes-journal", "lonely-wal"):
        (folder / name).write_bytes(b"text")
    assert set(taken(folder, tmp_path / "staging")) == {"notes", "notes-journal", "lonely-wal"}


VISITOR = """
import sqlite3, sys
number = 0
while True:
    # The last one to close moves everything into the database and removes the log.
    database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
    database.execute("pragma journal_mode=wal")
    database.execute("pragma synchronous=off")
    database.execute("create table if not exists log (number integer primary key, twice integer)")
    database.execute("begin immediate")
    for _ in range(50):
        number += 1
        database.execute("insert into log values (?, ?)", (number, 2 * number))
    database.execute("commit")
    database.close()
"""


def test_a_database_that_is_opened_and_closed_all_the_time_is_copied_whole(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    visitor = subprocess.Popen([sys.executable, "-c", VISITOR, str(folder / "m.db")])
    try:
        while not rows(folder / "m.db"):
            time.sleep(0.02)
        for number in range(15):
            kind, content, fault = taken(folder, tmp_path / "staging")["m.db"]
            assert (kind, fault) == ("sqlite", "")
            assert check(content, tmp_path / f"copy-{number}.db") % 50 == 0
    finally:
        visitor.kill()
        visitor.wait()


def test_a_database_at_rest_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "m.db", isolation_level=None)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table log (number integer primary key, twice integer)")
        database.execute("insert into log values (1, 2)")
    before = (os.listdir(folder), os.stat(folder).st_mtime_ns, (folder / "m.db").read_bytes())
    assert before[0] == ["m.db"]
    assert check(taken(folder, tmp_path / "staging")["m.db"][1], tmp_path / "copy.db") == 1
    assert (os.listdir(folder), os.stat(folder).st_mtime_ns, (folder / "m.db").read_bytes()) == before


def numbered(file: Path, mode: str) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute(f"pragma journal_mode={mode}")
        database.execute("create table log (number integer primary key, twice integer)")
        database.executemany("insert into log values (?, ?)", [(n, 2 * n) for n in range(1, 101)])


@pytest.mark.parametrize("mode", ["wal", "delete", "persist", "truncate"])
def test_a_quiet_database_is_read_as_it_stands(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    numbered(folder / "m.db", mode)
    time.sleep(sqlite.GRAIN / 1e9)
    kind, content, fault = taken(folder, tmp_path / "staging")["m.db"]
    assert (kind, fault) == ("sqlite", "")
    assert content == (folder / "m.db").read_bytes()
    assert check(content, tmp_path / "copy.db") == 100
    with closing(sqlite3.connect(folder / "m.db", timeout=0)) as database:
        assert database.execute("delete from log").rowcount == 100


def test_writers_wait_while_a_database_is_read_whatever_else_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    numbered(folder / "m.db", "delete")
    check_readable, refused = sqlite._check_readable, []

    def writes_in_between(path: bytes, how: str) -> None:
        check_readable(path, how)
        # A lock of the process would end here.
        (folder / "m.db").read_bytes()
        with closing(sqlite3.connect(folder / "m.db", timeout=0, isolation_level=None)) as database:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                database.execute("delete from log")
        refused.append(path)

    monkeypatch.setattr(sqlite, "_check_readable", writes_in_between)
    assert check(taken(folder, tmp_path / "staging")["m.db"][1], tmp_path / "copy.db") == 100
    assert refused == [os.fsencode(folder / "m.db")]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_under_a_writers_lock_and_a_large_one_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    numbered(tmp_path / "m.db", mode)
    path = os.fsencode(tmp_path / "m.db")
    time.sleep(sqlite.GRAIN / 1e9)
    held = sqlite._held(path)
    assert held is not None
    with closing(sqlite3.connect(tmp_path / "m.db", timeout=0, isolation_level=None)) as database:
        database.execute("begin exclusive")
        database.execute("update log set twice = 0")
        assert sqlite._held(path) is None or mode == "wal"
        database.execute("commit")
        assert sqlite._held(path) is None or mode == "delete"
    monkeypatch.setattr(sqlite, "AT_ONCE", 4096)
    assert sqlite._held(path) is None
