# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving logs is killed at random moments, and runs out of disk, while logs are written and rotated.

``CONTINUITY_ATTACKS`` says how often; ``ATTACK_SEED`` repeats a run.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ATTACKS = int(os.environ.get("CONTINUITY_ATTACKS", "6"))
SEED = int(os.environ.get("ATTACK_SEED", str(time.time_ns() % 1_000_000)))
COLLECTIONS = os.environ["ANSIBLE_COLLECTIONS_PATH"]
WRITER = Path(__file__).parents[1] / "unit/logs/log_writer.py"
PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.logs.batch import Wanted, archive_logs, summary
wanted = Wanted(paths=(sys.argv[2],), archive=sys.argv[3], original=sys.argv[4])
print("begun", flush=True)
while sys.argv[5] == "for ever":
    archive_logs(wanted, SystemClock())
print(json.dumps(summary(archive_logs(wanted, SystemClock()))["problems"]))
"""


class Work:
    """Logs with their writers and a rotation that never rests; an archive."""

    MODES = ("keep", "each", "stubborn")

    def __init__(self, folder: Path) -> None:
        self.logs, self.archive = folder / "logs", folder / "archive"
        self.logs.mkdir()
        self._turns = {mode: folder / f"turn-{mode}" for mode in self.MODES}
        self._writers = {
            mode: subprocess.Popen(
                [sys.executable, str(WRITER), str(self.logs / f"{mode}.log"), mode, str(turn)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for mode, turn in self._turns.items()
        }
        while not all((self.logs / f"{mode}.log").exists() for mode in self.MODES):
            time.sleep(0.01)
        self._over = threading.Event()
        self._rotations = threading.Thread(target=self._rotate)
        self._rotations.start()

    def _rotate(self) -> None:
        chance = random.Random(SEED)
        while not self._over.wait(chance.uniform(0.1, 0.6)):
            for mode in ("keep", "each"):
                log, number = self.logs / f"{mode}.log", time.time_ns() // 1_000_000_000
                with open(self._turns[mode], "a") as turn:
                    fcntl.flock(turn, fcntl.LOCK_EX)
                    if not log.exists():
                        continue
                    rotated = self.logs / f"{mode}.log.{number:010d}.{chance.randrange(10**6)}"
                    if chance.random() < 0.5:
                        log.rename(rotated)
                    else:
                        shutil.copyfile(log, rotated)
                        os.truncate(log, 0)

    def archiving(self, original: str, times: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, COLLECTIONS, str(self.logs), str(self.archive), original, times],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        return process

    def end(self) -> dict[str, int]:
        """How many lines each writer wrote."""
        self._over.set()
        self._rotations.join()
        written = {}
        for mode, writer in self._writers.items():
            writer.terminate()
            written[mode] = int(writer.communicate(timeout=30)[0])
        return written

    def kill(self) -> None:
        self._over.set()
        for writer in self._writers.values():
            if writer.poll() is None:
                writer.kill()
                writer.communicate()

    def numbers(self, mode: str) -> list[int]:
        """The numbers of all lines in the archive."""
        files = sorted(self.archive.glob(f"{mode}.log.*.gz"))
        text = b"".join(gzip.decompress(path.read_bytes()) for path in files).decode()
        return [int(line.split()[0]) for line in text.splitlines()]


@pytest.mark.parametrize("original", ["keep", "remove", "truncate"])
def test_killed_at_any_moment_no_line_is_lost_or_doubled(tmp_path: Path, original: str) -> None:
    chance = random.Random(SEED)
    work = Work(tmp_path)
    try:
        for _round in range(ATTACKS):
            process = work.archiving(original, "for ever")
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            process.communicate()
        written = work.end()
    finally:
        work.kill()
    for _last in range(2):
        said, _unused = work.archiving(original, "once").communicate()
        assert json.loads(said) == [], f"ATTACK_SEED={SEED}"
    for mode, count in written.items():
        assert sorted(work.numbers(mode)) == list(range(count)), f"{mode}: ATTACK_SEED={SEED}"
    assert list(work.archive.glob("*.partial")) == []
    if original == "remove":
        assert [path.name for path in work.logs.iterdir() if path.stat().st_size] == []
    print(f"{original}: killed {ATTACKS} times, {sum(written.values())} lines")


DISK = """
import os, random, subprocess, sys, gzip
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.logs.batch import Wanted, archive_logs
folder, seed, rounds = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance, full = random.Random(seed), 0
for number in range(rounds):
    logs, disk = folder / f"logs-{number}", folder / f"disk-{number}"
    logs.mkdir()
    disk.mkdir()
    contents = {}
    for name in "abcd":
        contents[name] = "".join(f"{line} {chance.random()}\\n" for line in range(chance.randrange(200, 3000))).encode()
        (logs / f"{name}.log").write_bytes(contents[name])
    size = chance.randrange(4096, 140_000)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", disk], check=True)
    wanted = Wanted(paths=(str(logs),), archive=str(disk), original="remove")
    try:
        results = archive_logs(wanted, SystemClock())
    except OSError as error:
        assert error.errno == 28, error
        results = []
    failed = [one for one in results if one.problems]
    full += bool(failed) or not results
    for one in failed:
        assert os.path.exists(one.log) and not one.removed, one
        assert all("No space left" in str(problem) and "Make room" in str(problem) for problem in one.problems), one
    subprocess.run(["mount", "-o", "remount,size=50M", disk], check=True)
    again = archive_logs(wanted, SystemClock())
    assert not any(one.problems for one in again), again
    for name, content in contents.items():
        archived = b"".join(gzip.decompress(path.read_bytes()) for path in sorted(disk.glob(f"{name}.log.*.gz")))
        assert archived == content, (name, len(archived), len(content))
        assert not (logs / f"{name}.log").exists()
    assert not list(disk.glob("*.partial"))
    subprocess.run(["umount", disk], check=True)
print(full)
"""


def test_a_full_disk_at_random_points(tmp_path: Path) -> None:
    """In a mount namespace of its own: disks of random sizes, full at random points, then made larger."""
    unshare = shutil.which("unshare")
    isolated = [str(unshare), "--user", "--map-root-user", "--mount"]
    if unshare is None or subprocess.run([*isolated, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace of our own here")
    ran = subprocess.run(
        [*isolated, sys.executable, "-c", DISK, COLLECTIONS, str(tmp_path), str(SEED), str(ATTACKS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"ATTACK_SEED={SEED}\n{ran.stdout}{ran.stderr}"
    assert int(ran.stdout) >= ATTACKS // 4, f"the disk was full only {ran.stdout.strip()} times: ATTACK_SEED={SEED}"
