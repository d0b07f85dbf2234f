# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums: formats that the standard tools read, and everything that differs is named."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.checksums import catalogues, folders
from ansible_collections.fleetops.continuity.plugins.module_utils.checksums.comparing import compare
from ansible_collections.fleetops.continuity.plugins.module_utils.checksums.digests import ChecksumError
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock

NASTY = [
    "a",
    "with blank",
    "-",
    "*star",
    "line\nbreak",
    "back\\slash",
    "back\\nslash",
    "re\rturn",
    "\\",
    "ümlaut",
    " lead",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    (folder / "deep/er").mkdir(parents=True)
    for number, name in enumerate([*NASTY, "deep/er/file", os.fsdecode(b"no utf-8 \xff")]):
        (folder / name).write_bytes(b"%d" % number)
    (folder / "empty").write_bytes(b"")
    (folder / "link").symlink_to("a")
    os.mkfifo(folder / "pipe")
    return folder


def both(folder: Path, **options: object) -> folders.Wanted:
    return folders.Wanted(paths=(str(folder),), **{"sidecars": True, "catalogues": True, **options})  # type: ignore[arg-type]


def write(wanted: folders.Wanted) -> folders.Plan:
    planned = folders.plan(wanted, SystemClock())
    folders.write(planned)
    return planned


def faults(wanted: folders.Wanted) -> list[str]:
    return folders.verify(wanted)[0].faults()


def test_the_standard_tools_accept_the_catalogues(folder: Path) -> None:
    write(both(folder))
    for tool, name in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
        checked = subprocess.run([tool, "--check", "--strict", name], cwd=folder, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stdout.decode(errors="replace") + checked.stderr.decode()
        assert checked.stdout.count(b": OK\n") == 2 * len([*NASTY, "deep/er/file", "no utf-8", "empty"])


def test_catalogues_are_those_of_the_standard_tools(folder: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    (folder / "-").unlink()
    write(both(folder, sidecars=False))
    names = sorted((path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()), key=os.fsencode)
    wanted = [os.fsencode(path.relative_to(folder)) for path in names if path.name not in catalogues.CATALOGUES]
    for tool, name in (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS")):
        made = subprocess.run([tool, "--", *sorted(wanted)], cwd=folder, capture_output=True, check=True)
        assert made.stdout == (folder / name).read_bytes()


@given(st.dictionaries(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name), st.integers()))
@settings(max_examples=200)
def test_any_name_comes_back(names: dict[bytes, int]) -> None:
    paths = {os.fsdecode(os.path.normpath(b"d/" + name.replace(b"/", b"_"))): number for name, number in names.items()}
    digests = {path: hashlib.sha256(b"%d" % number).hexdigest() for path, number in paths.items() if path != "d"}
    digests.pop(".", None)
    assert catalogues.parse(catalogues.content(digests)) == digests


def test_a_sidecar_is_exactly_what_was_agreed(folder: Path) -> None:
    write(both(folder))
    sidecar = json.loads((folder / "a.checksum").read_text())
    assert list(sidecar) == ["file_path", "checksum", "timestamp", "algorithm"]
    assert sidecar["file_path"] == str(folder / "a")
    assert sidecar["checksum"] == hashlib.sha256(b"0").hexdigest() and sidecar["algorithm"] == "SHA-256"


def test_what_did_not_change_is_not_written_again(folder: Path) -> None:
    first = write(both(folder))
    assert len(first.new) == first.files == len(NASTY) + 3 and first.updated == []
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*.checksum")}
    assert write(both(folder)).writes == {} and faults(both(folder)) == []
    (folder / "a").write_text("other")
    again = write(both(folder))
    assert again.updated == [str(folder / "a")] and again.new == []
    assert sorted(again.writes) == [str(folder / name) for name in ("MD5SUMS", "SHA256SUMS", "a.checksum")]
    after = {path: path.lstat().st_mtime_ns for path in folder.rglob("*.checksum")}
    assert {path for path in before if before[path] != after[path]} == {folder / "a.checksum"}
    assert faults(both(folder)) == []


@pytest.mark.parametrize("means", [{"catalogues": False}, {"sidecars": False}, {}])
def test_everything_that_differs_is_named(folder: Path, means: dict[str, bool]) -> None:
    wanted = both(folder, **means)
    write(wanted)
    assert faults(wanted) == []
    (folder / "empty").write_text("not empty")
    (folder / "deep/er/file").unlink()
    (folder / "deep/new").write_text("new")
    one, two = (folder / "a").read_text(), (folder / "with blank").read_text()
    (folder / "a").write_text(two)
    (folder / "with blank").write_text(one)
    found = folders.verify(wanted)[0]
    assert found.changed == [str(folder / "empty")]
    assert found.missing == [str(folder / "deep/er/file")]
    assert found.added == [str(folder / "deep/new")]
    assert found.swapped == [(str(folder / "a"), str(folder / "with blank"))]
    assert found.damaged == {} and len(found.faults()) == 4


def test_checksums_that_were_tampered_with(folder: Path) -> None:
    write(both(folder))
    os.rename(folder / "a.checksum", folder / "x")
    os.rename(folder / "with blank.checksum", folder / "a.checksum")
    os.rename(folder / "x", folder / "with blank.checksum")
    (folder / "empty.checksum").write_text('{"checksum": 1}')
    (folder / "*star.checksum").write_text("{")
    found = folders.verify(both(folder, catalogues=False))[0]
    assert {Path(path).name: wrong for path, wrong in found.damaged.items()} == {
        "a.checksum": f"not its sidecar: it speaks of another file: {folder}/with blank",
        "with blank.checksum": f"not its sidecar: it speaks of another file: {folder}/a",
        "empty.checksum": "not its sidecar: it does not have the keys algorithm, checksum, file_path, timestamp",
        "*star.checksum": "not its sidecar: it is not valid JSON",
    }
    (folder / "MD5SUMS").unlink()
    (folder / "SHA256SUMS").write_text("no sum\n")
    damaged = folders.verify(both(folder, sidecars=False))[0].damaged
    assert damaged == {
        str(folder / "MD5SUMS"): "there is no such catalogue",
        str(folder / "SHA256SUMS"): "not a catalogue: line 1 is not a checksum",
    }


def test_a_folder_that_was_moved_verifies(folder: Path, tmp_path: Path) -> None:
    write(both(folder))
    folder.rename(tmp_path / "moved")
    assert faults(both(tmp_path / "moved")) == []


def test_single_files(folder: Path) -> None:
    wanted = folders.Wanted(paths=(str(folder / "a"), str(folder / "deep/er/file")))
    assert len(write(wanted).writes) == 2
    assert faults(wanted) == []
    (folder / "a").unlink()
    assert faults(wanted) == [f"{folder}/a: missing"]


def test_no_new_checksum_for_a_changed_file(folder: Path) -> None:
    write(both(folder))
    (folder / "a").write_text("evil")
    planned = folders.plan(both(folder), SystemClock())
    with pytest.raises(ChecksumError, match=f"{folder}/a"):
        folders.refuse_updates(planned)


def test_exclude(folder: Path) -> None:
    wanted = both(folder, exclude=("deep", "*star", "er/nothing"))
    write(wanted)
    assert not (folder / "deep/er/file.checksum").exists() and not (folder / "*star.checksum").exists()
    assert (folder / "a.checksum").exists() and faults(wanted) == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (folders.Wanted(paths=("/nonexistent/file",)), "Cannot be read"),
        (folders.Wanted(paths=("/etc/hostname",), catalogues=True), "A catalogue stands in a folder"),
    ],
)
def test_what_cannot_be_done_is_said(wanted: folders.Wanted, said: str) -> None:
    with pytest.raises(ChecksumError, match=said):
        folders.plan(wanted, SystemClock())


def test_three_files_in_a_circle_are_changed_not_swapped() -> None:
    found = compare({"a": "1", "b": "2", "c": "3"}, {"a": "2", "b": "3", "c": "1"})
    assert found.changed == ["a", "b", "c"] and found.swapped == []
