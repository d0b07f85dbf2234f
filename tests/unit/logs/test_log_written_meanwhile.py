# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that a process of its own writes while they are archived and rotated: no line is lost, none comes twice."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from log_bench import Bench

from ansible_collections.fleetops.continuity.plugins.module_utils.logs import archive, catalogue

ROUNDS = 12


def finish(bench: Bench, **options: str) -> None:
    written = bench.stop()
    bench.sound(**options)
    numbers = bench.numbers()
    assert sorted(numbers) == list(range(written)), "a line was lost, or came twice"
    assert written > 20
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("mode", ["keep", "each", "stubborn"])
def test_a_writer_that_appends(bench: Bench, mode: str) -> None:
    bench.start(mode)
    for _round in range(ROUNDS):
        bench.sound()
        time.sleep(0.02)
    finish(bench)


def rename(bench: Bench) -> None:
    """What logrotate does with ``create``, and with ``compress`` and ``delaycompress``."""
    for number in range(6, 0, -1):
        for suffix in (".gz", ""):
            old = bench.folder / f"Twin.log.{number}{suffix}"
            if old.exists():
                old.rename(bench.folder / f"Twin.log.{number + 1}{suffix}")
    bench.log.rename(bench.folder / "Twin.log.1")
    bench.log.touch()
    compress(bench, "Twin.log.2")


def copy_and_cut(bench: Bench) -> None:
    for number in range(6, 0, -1):
        old = bench.folder / f"Twin.log.{number}"
        if old.exists():
            old.rename(bench.folder / f"Twin.log.{number + 1}")
    with bench.between_lines():
        shutil.copyfile(bench.log, bench.folder / "Twin.log.1")
        os.truncate(bench.log, 0)


def compress(bench: Bench, name: str) -> None:
    plain = bench.folder / name
    if plain.exists():
        packed = plain.with_name(name + ".gz")
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        found = plain.stat()
        os.utime(packed, ns=(found.st_atime_ns, found.st_mtime_ns))
        plain.unlink()


@pytest.mark.parametrize("rotate", [rename, copy_and_cut])
def test_rotations_between_runs(bench: Bench, rotate: Callable[[Bench], None]) -> None:
    bench.start("keep")
    for number in range(ROUNDS):
        bench.sound()
        time.sleep(0.02)
        if number % 2:
            rotate(bench)
    finish(bench)


@pytest.mark.parametrize("rotate", [rename, copy_and_cut])
def test_rotations_at_any_moment(bench: Bench, rotate: Callable[[Bench], None]) -> None:
    """Rotations in another thread while the archive is at work, at moments that nobody chose."""
    bench.start("keep")
    over = threading.Event()

    def rotating() -> None:
        while not over.wait(random.uniform(0.01, 0.15)):
            rotate(bench)

    thread = threading.Thread(target=rotating)
    thread.start()
    begun = time.monotonic()
    while time.monotonic() - begun < 1:
        bench.run()  # A log that is rotated all the time may not settle in one run.
    over.set()
    thread.join()
    finish(bench)


@pytest.mark.parametrize("rotate", [rename, copy_and_cut])
def test_a_rotation_while_a_log_is_read(
    bench: Bench, rotate: Callable[[Bench], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rotation comes after the log was opened, before it is read."""
    bench.start("keep")
    bench.sound()
    time.sleep(0.05)
    rotated = []
    write = archive._LogArchive._write

    def rotated_first(self: archive._LogArchive, *arguments: object) -> object:
        if not rotated:
            rotated.append(True)
            rotate(bench)
            while bench.log.stat().st_size < 50:
                time.sleep(0.01)
        return write(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(archive._LogArchive, "_write", rotated_first)
    bench.sound()
    assert rotated
    finish(bench)


def test_a_log_is_cut_and_grows_again_while_its_copy_is_compared(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.log.write_bytes(b"one\n")
    bench.sound()
    shutil.copyfile(bench.log, bench.folder / "Twin.log.1")
    copies, cut = catalogue._copies, []

    def cut_first(*arguments: object) -> object:
        if not cut:
            cut.append(True)
            bench.log.write_bytes(b"two\nthree\n")
        return copies(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(catalogue, "_copies", cut_first)
    bench.sound()
    assert cut and bench.archived() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("mode", ["keep", "each"])
def test_originals_are_removed_under_a_writer(bench: Bench, mode: str) -> None:
    """A writer that opens the log for every line, and one that keeps it open until it is renamed."""
    bench.start(mode)
    removed = 0
    for number in range(ROUNDS):
        removed += sum(len(one.removed) for one in bench.sound(original="remove"))
        if mode == "keep" and number % 2:
            rename(bench)
        time.sleep(0.02)
    assert removed
    finish(bench, original="remove")


def test_a_log_is_cut_under_a_writer(bench: Bench) -> None:
    bench.start("stubborn")
    truncated = 0
    for _round in range(ROUNDS):
        time.sleep(0.1)
        result = bench.sound(original="truncate")[0]
        truncated += len(result.truncated)
        if any("file system" in kept["reason"] for kept in result.kept):
            pytest.skip(result.kept[0]["reason"])
    assert truncated and bench.log.stat().st_size < 30_000
    finish(bench, original="truncate")


@pytest.mark.parametrize("way", ["create", "copytruncate"])
def test_the_real_logrotate(bench: Bench, way: str, tmp_path: Path) -> None:
    logrotate = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin")
    if logrotate is None:
        pytest.skip("logrotate is not installed")
    settings = tmp_path / "logrotate.conf"
    settings.write_text(f"{bench.log} {{\n rotate 50\n {way}\n compress\n delaycompress\n}}\n")
    settings.chmod(0o644)
    bench.folder.chmod(0o755)
    bench.start("keep")
    for _round in range(5):
        bench.sound()
        time.sleep(0.05)
        with bench.between_lines():
            subprocess.run(
                [logrotate, "--force", "--state", str(tmp_path / "state"), str(settings)],
                check=True,
                capture_output=True,
            )
    assert (bench.folder / "Twin.log.4.gz").exists()
    finish(bench)
