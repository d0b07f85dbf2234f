# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read off the host: logs, the release of a process, the change lock."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.exclusive import BusyError, changing
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.running import release_of
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.sampling import TAIL, LogWatch, error_share


def test_only_what_a_log_gains_is_counted(tmp_path):
    log = tmp_path / "agent.log"
    log.write_text("ERROR long ago\n")
    watch = LogWatch(str(log))
    watch.begin()
    with log.open("a") as file:
        file.write("INFO fine\n2026-01-31 ERROR disk\nTraceback (most recent call last):\n")
        file.write('{"level": "error", "message": "x"}\nno TERROR here\n')
    watch.advance()
    assert (watch.lines, watch.errors) == (5, 3)
    watch.advance()
    assert (watch.lines, watch.errors) == (5, 3)


def test_a_log_may_be_rotated_truncated_or_absent(tmp_path):
    log = tmp_path / "agent.log"
    watch = LogWatch(str(log))
    watch.begin()
    watch.advance()
    log.write_text("ERROR one\n")
    watch.advance()
    os.rename(log, tmp_path / "agent.log.1")
    log.write_text("ERROR two\nINFO\n")
    watch.advance()
    log.write_text("")
    watch.advance()
    log.write_text("CRITICAL three\n")
    watch.advance()
    assert (watch.lines, watch.errors) == (4, 3)


def test_a_flood_is_bounded(tmp_path):
    log = tmp_path / "agent.log"
    log.write_text("ERROR\n" * (TAIL // 3))
    watch = LogWatch(str(log))
    watch.advance()
    assert watch.errors <= TAIL // 6 + 1
    assert error_share(str(log)) == pytest.approx(1, abs=0.01)
    assert error_share(str(tmp_path / "absent")) is None


def test_a_process_says_which_release_it_was_started_from():
    wait = [sys.executable, "-c", "print('up', flush=True); input()"]
    child = subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"AGENT_RELEASE": "r-7"})
    try:
        assert child.stdout is not None and child.stdout.readline() == b"up\n"  # its environment is in place only then
        assert release_of(child.pid) == "r-7"
    finally:
        child.communicate(b"\n")
    assert release_of(child.pid) is None
    assert release_of(None) is None


def test_one_change_at_a_time_and_a_dead_one_locks_nobody_out(tmp_path):
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True); "
        "input()"
    )
    with changing(str(tmp_path), SystemClock()):
        pass
    lock = tmp_path / "ledger" / "change.lock"
    other = subprocess.Popen([sys.executable, "-c", hold, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"held\n"
    with pytest.raises(BusyError, match="another process has been changing this host"):
        with changing(str(tmp_path), SystemClock(), wait=0.3):
            raise AssertionError("two at once")
    other.kill()
    other.communicate()
    with changing(str(tmp_path), SystemClock(), wait=1):
        pass
