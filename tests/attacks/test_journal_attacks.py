# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that append are killed with SIGKILL, compete, and run out of disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.journal.chain import Chain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.lease import Lease
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.ledger import Ledger

ENGINE = "ansible_collections.fleetops.continuity.plugins.module_utils"
APPEND = f"""
import sys
from {ENGINE}.journal.chain import Chain
chain, writer, number = Chain(sys.argv[1]), sys.argv[2], 0
while True:
    number += 1
    chain.append({{"writer": writer, "number": number, "filling": "x" * 3000}})
    print(number, flush=True)
"""
HOLD_LEASE = f"""
import sys, time
from {ENGINE}.effects import SystemClock
from {ENGINE}.rollout.ledger import Ledger
from {ENGINE}.rollout.lease import Lease
ledger = Ledger(sys.argv[1], "MainPC", SystemClock())
Lease(sys.argv[1], ledger, SystemClock()).acquire("killed", "run1", 1.0)
print("taken", flush=True)
time.sleep(60)
"""

WANT_LEASE = f"""
import sys
from {ENGINE}.effects import SystemClock
from {ENGINE}.rollout.ledger import Ledger
from {ENGINE}.rollout.lease import Lease, LeaseHeld
lease = Lease(sys.argv[1], Ledger(sys.argv[1], "MainPC", SystemClock()), SystemClock())
print("ready", flush=True)
sys.stdin.readline()
try:
    lease.acquire(sys.argv[2], "run", 60.0)
    print("taken")
except LeaseHeld:
    print("held")
"""


def start(program, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def test_what_was_acknowledged_survives_the_kill_of_its_writer(tmp_path):
    path = str(tmp_path / "chain")
    acknowledged = {}
    for kill in range(12):
        writers = {f"{kill}.{number}": start(APPEND, path, f"{kill}.{number}") for number in range(2)}
        for writer in writers.values():
            writer.stdout.readline()
        time.sleep(random.uniform(0.0, 0.05))
        for name, writer in writers.items():
            writer.send_signal(signal.SIGKILL)
            said = writer.communicate()[0].split()
            acknowledged[name] = max([1, *map(int, said)])
        Chain(path).append({"writer": "survivor", "number": kill})
    entries = Chain(path).entries()
    for name, last in acknowledged.items():
        numbers = [entry["number"] for entry in entries if entry["writer"] == name]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= last
    assert [entry["number"] for entry in entries if entry["writer"] == "survivor"] == list(range(12))


@pytest.mark.parametrize("torn_bytes", [1, 10, 500, 3000])
def test_a_half_written_line_of_a_dead_writer_is_cut(tmp_path, torn_bytes):
    path = str(tmp_path / "chain")
    chain = Chain(path)
    chain.append({"event": "first"})
    chain.append({"event": "second", "filling": "x" * 3100})
    whole = os.stat(path).st_size
    os.truncate(path, whole - torn_bytes)
    assert [entry["event"] for entry in chain.entries()] == ["first"]
    chain.append({"event": "second again"})
    assert [entry["event"] for entry in chain.entries()] == ["first", "second again"]


def test_a_full_disk_is_an_error_and_leaves_the_chain_whole(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        chain = Chain(str(disk / "chain"))
        with pytest.raises(OSError, match="No space left"):
            while True:
                chain.append({"filling": "x" * 3000})
        kept = len(chain.entries())
        assert kept >= 10
        assert (disk / "chain").read_bytes().endswith(b"\n")
        with pytest.raises(OSError, match="No space left"):
            chain.append({"filling": "x" * 5000})
        assert len(chain.entries()) == kept
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_of_many_that_want_the_lease_one_gets_it(tmp_path):
    contenders = [start(WANT_LEASE, str(tmp_path), f"owner{number}") for number in range(8)]
    for contender in contenders:
        assert contender.stdout.readline() == "ready\n"
    for contender in contenders:
        contender.stdin.write("go\n")
        contender.stdin.flush()
    said = [contender.communicate()[0].strip() for contender in contenders]
    assert sorted(said) == ["held"] * 7 + ["taken"]
    ledger = Ledger(str(tmp_path), "MainPC", SystemClock())
    (entry,) = ledger.entries()
    winner = f"owner{said.index('taken')}"
    assert (entry["event"], entry["owner"]) == ("lease_taken", winner)
    assert Lease(str(tmp_path), ledger, SystemClock()).live().owner == winner


def test_the_lease_of_a_killed_controller_ends_by_itself(tmp_path):
    holder = start(HOLD_LEASE, str(tmp_path))
    assert holder.stdout.readline() == "taken\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    ledger = Ledger(str(tmp_path), "MainPC", SystemClock())
    lease = Lease(str(tmp_path), ledger, SystemClock())
    remaining = lease.live()
    assert remaining is None or remaining.owner == "killed"
    time.sleep(1.0)
    lease.acquire("next", "run2", 60)
    assert [entry["event"] for entry in ledger.entries()] == ["lease_taken", "lease_taken_over"]
