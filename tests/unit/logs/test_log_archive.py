# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs at rest: what is archived, how it is named, recognised and removed."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from log_bench import Bench

from ansible_collections.fleetops.continuity.plugins.module_utils.logs import catalogue, compression
from ansible_collections.fleetops.continuity.plugins.module_utils.logs.names import logs_below, members, rotated

LINES = b"".join(b"%06d a line of the log\n" % number for number in range(2000))


def test_a_log_is_archived_once_and_then_only_what_is_new(bench: Bench) -> None:
    bench.log.write_bytes(LINES)
    looked = bench.run(check=True)
    assert looked[0].files == [{"log": str(bench.log), "source": "Twin.log", "size_bytes": len(LINES)}]
    assert not bench.archive.exists()

    first = bench.sound()[0].files[0]
    assert bench.archived() == LINES
    assert first["size_bytes"] == len(LINES) and first["lines"] == 2000
    assert first["compressed_bytes"] == os.path.getsize(first["path"])
    assert first["ratio"] == round(first["compressed_bytes"] / len(LINES), 4) < 0.5
    assert not bench.sound()[0].changed and not bench.run(check=True)[0].changed

    with bench.log.open("ab") as file:
        file.write(b"one more\n")
    assert [one["size_bytes"] for one in bench.sound()[0].files] == [9]
    assert bench.archived() == LINES + b"one more\n"


def test_an_unfinished_line_waits_for_its_end_while_somebody_writes(bench: Bench) -> None:
    with bench.log.open("ab", buffering=0) as file:
        file.write(b"whole\nhal")
        bench.sound()
        assert bench.archived() == b"whole\n"
        assert not bench.sound()[0].changed
        file.write(b"f\n")
        bench.sound()
        assert bench.archived() == b"whole\nhalf\n"
        file.write(b"cut sho")
    bench.sound()
    assert bench.archived() == b"whole\nhalf\ncut sho"


@pytest.mark.parametrize("move", ["rename", "copy and cut"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("mark", [".1", "-20260131", ".2026-01-31"])
def test_a_rotated_file_is_known_by_inode_and_by_content(bench: Bench, move: str, suffix: str, mark: str) -> None:
    bench.log.write_bytes(LINES)
    bench.sound()
    with bench.log.open("ab") as file:
        file.write(b"between\n")
    old = bench.folder / f"Twin.log{mark}"
    if move == "rename":
        bench.log.rename(old)
    else:
        shutil.copyfile(bench.log, old)
        os.truncate(bench.log, 0)
    if suffix:
        packed = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](old.read_bytes())
        old.with_name(old.name + suffix).write_bytes(packed)
        old.unlink()
    with bench.log.open("ab") as file:
        file.write(b"after\n")
    taken = bench.sound()[0].files
    assert [one["size_bytes"] for one in taken] == [8, 6]
    assert bench.archived() == LINES + b"between\nafter\n"
    assert not bench.sound()[0].changed


def test_files_that_begin_alike_are_told_apart(bench: Bench) -> None:
    """Logs without a time in their lines: every generation begins with the same bytes."""
    bench.log.write_bytes(b"tick\n" * 10)
    bench.sound()
    bench.log.write_bytes(b"tick\n" * 12)
    bench.log.rename(bench.folder / "Twin.log.1")
    bench.log.write_bytes(b"tick\n" * 30)
    bench.sound()
    assert bench.archived() == b"tick\n" * 42
    (bench.folder / "Twin.log.1").rename(bench.folder / "Twin.log.2")
    bench.log.rename(bench.folder / "Twin.log.1")
    bench.log.write_bytes(b"tick\n" * 5)
    bench.sound()
    assert bench.archived() == b"tick\n" * 47


def test_a_copy_that_logrotate_is_just_making_is_no_second_log(bench: Bench) -> None:
    bench.log.write_bytes(LINES)
    bench.sound()
    (bench.folder / "Twin.log.1").write_bytes(LINES[:500])
    assert not bench.sound()[0].changed
    (bench.folder / "Twin.log.1").write_bytes(LINES)
    assert not bench.sound()[0].changed
    os.truncate(bench.log, 0)
    assert not bench.sound()[0].changed
    assert bench.archived() == LINES


def test_what_was_rotated_before_the_first_run_is_archived_in_order(bench: Bench) -> None:
    for number, content in ((3, b"oldest\n"), (2, b"older\n"), (1, b"old\n")):
        path = bench.folder / f"Twin.log.{number}.gz"
        path.write_bytes(gzip.compress(content))
        os.utime(path, (1e9 - number, 1e9 - number))
    bench.log.write_bytes(b"new\n")
    bench.sound()
    assert bench.archived() == b"oldest\nolder\nold\nnew\n"
    assert not bench.sound()[0].changed


def test_a_damaged_rotated_file_is_named_and_the_rest_is_archived(bench: Bench) -> None:
    (bench.folder / "Twin.log.1.gz").write_bytes(gzip.compress(LINES)[:-9])
    bench.log.write_bytes(b"new\n")
    result = bench.run(original="remove")[0]
    assert [problem.where for problem in result.problems] == [str(bench.folder / "Twin.log.1.gz")]
    assert bench.archived() == b"new\n"
    assert (bench.folder / "Twin.log.1.gz").exists()


def test_all_logs_of_a_host_and_their_names(bench: Bench) -> None:
    for place in ("web", "api"):
        (bench.folder / place).mkdir()
        (bench.folder / place / "access.log").write_bytes(place.encode() + b"\n")
    for number in range(20):
        (bench.folder / f"Agent{number}.log").write_bytes(b"%d\n" % number)
    (bench.folder / "notes.txt").write_text("no log")
    assert len(bench.sound()) == 22
    assert bench.archived("access.log") == b"api\n" and bench.archived("web_access.log") == b"web\n"
    assert bench.archived("Agent7.log") == b"7\n"
    (bench.folder / "aaa").mkdir()
    (bench.folder / "aaa/access.log").write_bytes(b"aaa\n")
    bench.sound()
    assert bench.archived("access.log") == b"api\n" and bench.archived("aaa_access.log") == b"aaa\n"


def test_runs_into_folders_of_their_own_share_a_catalogue(bench: Bench, tmp_path: Path) -> None:
    catalogue = str(tmp_path / "catalogue")
    bench.log.write_bytes(b"monday\n")
    bench.archive = tmp_path / "2026-01-05/logs"
    bench.sound(catalogue=catalogue)
    assert bench.archived() == b"monday\n"
    with bench.log.open("ab") as file:
        file.write(b"tuesday\n")
    bench.archive = tmp_path / "2026-01-06/logs"
    bench.sound(catalogue=catalogue)
    assert bench.archived() == b"tuesday\n"
    assert bench.sound(catalogue=catalogue, original="remove")[0].removed == [str(bench.log)]


@pytest.mark.parametrize("original", ["remove", "truncate"])
def test_a_closed_log_is_removed_or_cut_and_the_archive_has_it_all(bench: Bench, original: str) -> None:
    bench.log.write_bytes(LINES)
    old = bench.folder / "Twin.log.1"
    old.write_bytes(b"old\n")
    os.utime(old, (1e9, 1e9))
    looked = bench.run(check=True, original=original)[0]
    done = bench.sound(original=original)[0]
    assert (looked.removed, looked.truncated) == (done.removed, done.truncated)
    assert bench.archived() == b"old\n" + LINES
    if original == "remove":
        assert done.removed == [str(old), str(bench.log)] and list(bench.folder.iterdir()) == []
    elif done.kept:
        pytest.skip(done.kept[0]["reason"])
    else:
        assert done.removed == [str(old)] and done.truncated == [str(bench.log)]
        assert LINES.endswith(bench.log.read_bytes()) and bench.log.stat().st_size <= 4096
    with bench.log.open("ab") as file:
        file.write(LINES[:10000])
    bench.sound(original=original)
    assert bench.archived() == b"old\n" + LINES + LINES[:10000]
    assert [one.files for one in bench.sound(original=original) if one.files] == []


def test_a_log_that_is_open_for_writing_is_not_removed(bench: Bench) -> None:
    with bench.log.open("ab", buffering=0) as file:
        file.write(b"one\n")
        result = bench.sound(original="remove")[0]
        assert result.kept == [{"path": str(bench.log), "reason": "a process has it open for writing"}]
        assert bench.log.read_bytes() == b"one\n"
    assert bench.sound(original="remove")[0].removed == [str(bench.log)]


def test_a_log_is_not_cut_under_a_writer_that_does_not_append(bench: Bench) -> None:
    with bench.log.open("wb", buffering=0) as file:
        file.write(LINES)
        result = bench.sound(original="truncate")[0]
        assert result.kept == [{"path": str(bench.log), "reason": "a process writes to it without appending"}]
    assert bench.log.read_bytes() == LINES


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_no_original_is_removed_when_its_archive_does_not_hold_it(bench: Bench, harm: str) -> None:
    bench.log.write_bytes(LINES)
    archived = Path(bench.sound()[0].files[0]["path"])
    if harm == "gone":
        archived.unlink()
    else:
        archived.write_bytes(gzip.compress(LINES[:-1] + b"!"))
    result = bench.run(original="remove")[0]
    assert len(result.problems) == 1 and result.removed == []
    assert bench.log.read_bytes() == LINES


def test_a_removal_that_was_interrupted_is_done_the_next_time(bench: Bench) -> None:
    """Set aside, then killed: under that name the file is a rotated one."""
    bench.log.write_bytes(LINES)
    bench.sound()
    aside = bench.folder / "Twin.log.continuity-0123456789ab"
    bench.log.rename(aside)
    bench.log.write_bytes(b"new\n")
    result = bench.sound(original="remove")[0]
    assert result.removed == [str(aside), str(bench.log)]
    assert bench.archived() == LINES + b"new\n"


def test_an_archive_that_lacks_only_its_name_gets_it(bench: Bench) -> None:
    bench.log.write_bytes(LINES)
    path = Path(bench.sound()[0].files[0]["path"])
    path.rename(f"{path}.partial")
    Path(f"{path.parent}/Twin.log.00000002.20260131T020000Z.gz.partial").write_bytes(b"half")
    assert not bench.sound()[0].changed
    assert bench.archived() == LINES
    assert [one.name for one in bench.archive.glob("*.partial")] == []


@pytest.mark.parametrize(
    ("kind", "wanted", "level"), [("gzip", "low", 1), ("gzip", "high", 9), ("gzip", "4", 4), ("zstd", "high", 19)]
)
def test_levels(bench: Bench, kind: str, wanted: str, level: int) -> None:
    if kind == "zstd":
        pytest.importorskip("zstandard")
    bench.log.write_bytes(LINES)
    entry = bench.sound(compression=kind, level=wanted)[0].files[0]
    assert (entry["compression"], entry["level"]) == (kind, level)
    program = shutil.which(kind)
    if program is None:
        pytest.skip(f"{kind} is not installed")
    shown = subprocess.run([program, "-dc", entry["path"]], capture_output=True, check=True)
    assert shown.stdout == LINES
    assert bench.sound(compression=kind, level=wanted, original="remove")[0].removed == [str(bench.log)]


@pytest.mark.parametrize(("kind", "wanted"), [("gzip", "10"), ("gzip", "0"), ("zstd", "23"), ("gzip", "best")])
def test_a_level_that_there_is_not(kind: str, wanted: str) -> None:
    with pytest.raises(compression.CompressionError, match="no compression level"):
        compression.level_of(kind, wanted)


def test_the_catalogue_says_what_docs_say_it_does(bench: Bench) -> None:
    bench.log.write_bytes(LINES)
    bench.sound()
    first, second = (json.loads(line) for line in (bench.archive / "catalogue/Twin.log.jsonl").read_text().splitlines())
    assert first["log"] == str(bench.log)
    fields = "log source file size_bytes compressed_bytes ratio lines sha256 archive_sha256 compression level time"
    assert set(fields.split()) <= set(second)


def test_a_long_catalogue_is_begun_anew_and_names_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "LONGEST", 30)
    monkeypatch.setattr(catalogue, "NEWEST", 2)
    for number in range(60):
        with bench.log.open("ab") as file:
            file.write(b"%d\n" % number)
        bench.sound()
        if number % 3 == 2:
            bench.log.unlink()
    entries = [json.loads(line) for line in (bench.archive / "catalogue/Twin.log.jsonl").read_text().splitlines()]
    listed = sum(entry["event"] == "archived" for entry in entries)
    assert len(entries) <= 31 and entries[0]["before"] + listed == 60 and len(entries[0]["older"]) == 64
    names = sorted(path.name.split(".")[2] for path in bench.archive.glob("Twin.log.*.gz"))
    assert names == [f"{number:08d}" for number in range(1, 61)]
    assert bench.archived() == b"".join(b"%d\n" % number for number in range(60))


def test_a_catalogue_that_was_changed_is_an_error(bench: Bench) -> None:
    bench.log.write_bytes(LINES)
    bench.sound()
    catalogue = bench.archive / "catalogue/Twin.log.jsonl"
    catalogue.write_text(catalogue.read_text().replace('"lines":2000', '"lines":2001'))
    assert "was changed" in str(bench.run()[0].problems[0])


def test_a_log_that_is_not_there(bench: Bench, tmp_path: Path) -> None:
    bench.folder = tmp_path / "nowhere/x.log"
    assert "does not exist" in str(bench.run()[0].problems[0])
    bench.folder = tmp_path / "x.log"
    assert "no such log" in str(bench.run()[0].problems[0])


def test_names() -> None:
    listed = ["x.log", "x.log.1", "x.log.2.gz", "x.log-20260131", "x.log.2026-01-31T02.zst", "x-20260131.log"]
    assert sorted(name for name, _number in members([*listed, "x.log.old", "xx.log.1"], "x.log")) == sorted(listed[1:])
    assert rotated("x.log") is None and rotated("worker-1.log") is None
    assert members(["x.log", "x.log.1", "x.log.1.gz"], "x.log") == [("x.log.1", 1)]


def test_a_dated_log_is_its_own_unless_it_was_rotated(tmp_path: Path) -> None:
    for name in ("session-20260131.log", "x.log", "x-20260131.log", "gone.log.1"):
        (tmp_path / name).write_text("")
    found = sorted(os.path.basename(log) for log in logs_below(str(tmp_path), ["*.log"], [], []))
    assert found == ["gone.log", "session-20260131.log", "x.log"]
