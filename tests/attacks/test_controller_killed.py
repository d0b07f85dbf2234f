# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL for the controller at a random moment of a rollout: one further run, and the fleet is whole.

A moment is a random step of the two ledgers and a random time after it, so that moments spread over
what a rollout does, however slow the machine is.

``CONTINUITY_KILLS`` says how many moments (default 3), ``CONTINUITY_SEED`` repeats a series. Every second
time the modules on the hosts die with the controller, otherwise they live on, as they do behind ssh. Every
third time the further run comes only after the dead men had their turn, and every fourth time it is a
rollback.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterator

import pytest
from small_fleet import AGENTS, SmallFleet

KILLS = int(os.environ.get("CONTINUITY_KILLS", "3"))
SEED = int(os.environ.get("CONTINUITY_SEED", "0")) or random.randrange(1, 10_000)
EVERYONE = [agent for agents in AGENTS.values() for agent in agents]
DEADMAN_SECONDS = 12


@pytest.fixture(scope="module")
def fleet() -> Iterator[SmallFleet]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    made = SmallFleet(folder)
    made.write_inventory(continuity_deadman_seconds=DEADMAN_SECONDS)
    try:
        assert _run(made, "rollout").returncode == 0
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _run(fleet: SmallFleet, playbook: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        fleet.command(playbook), env=fleet.environment(), capture_output=True, text=True, timeout=300, check=False
    )


def _change_all(fleet: SmallFleet, note: str) -> None:
    for agent in EVERYONE:
        fleet.change(agent, note=note)


def _family(pid: int) -> list[int]:
    """The process and everything that it started and that still hangs on it."""
    family = [pid]
    for member in family:
        try:
            family += [int(child) for child in Path(f"/proc/{member}/task/{member}/children").read_text().split()]
        except OSError:
            continue
    return family


def _is_controller(pid: int) -> bool:
    try:
        return b"ansible-playbook" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _wait_for_deadmen(fleet: SmallFleet) -> None:
    deadline = time.monotonic() + DEADMAN_SECONDS + 60
    while any(_armed(fleet, host) for host in AGENTS):
        assert time.monotonic() < deadline, "a dead man did not act"
        time.sleep(0.5)


def _armed(fleet: SmallFleet, host: str) -> bool:
    unfinished = fleet.open(host).ledger.state().unfinished
    return unfinished is not None and unfinished.deadline is not None


def _entries(fleet: SmallFleet) -> int:
    return sum(len(fleet.open(host).ledger.entries()) for host in AGENTS)


def _steps_of_a_rollout(fleet: SmallFleet) -> int:
    """How many entries an undisturbed rollout leaves in the two ledgers."""
    before = _entries(fleet)
    _change_all(fleet, "undisturbed")
    assert _run(fleet, "rollout").returncode == 0
    return _entries(fleet) - before


def _wait_for_step(fleet: SmallFleet, controller: subprocess.Popen[bytes], step: int, jitter: float) -> None:
    """Until the ledgers hold ``step`` entries, and a moment more; or until the rollout is through."""
    while controller.poll() is None and _entries(fleet) < step:
        time.sleep(0.02)
    try:
        controller.wait(jitter)
    except subprocess.TimeoutExpired:
        return


def test_one_further_run_makes_the_fleet_whole(fleet):
    chance = random.Random(SEED)
    steps = _steps_of_a_rollout(fleet)
    for kill in range(1, KILLS + 1):
        note = f"kill-{kill}"
        _change_all(fleet, note)
        step, jitter = chance.randint(0, steps), chance.uniform(0, 1.5)
        already = _entries(fleet)
        controller = subprocess.Popen(
            fleet.command("rollout"), env=fleet.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for_step(fleet, controller, already + step, jitter)
        moment = f"{jitter:.1f} s after step {step} of {steps}"
        family = _family(controller.pid) if controller.poll() is None else []
        _kill(family if kill % 2 else [pid for pid in family if _is_controller(pid)])
        controller.wait()
        stages = {host: _stage(fleet, host) for host in AGENTS}
        if kill % 3 == 0:
            _wait_for_deadmen(fleet)
        further = "rollback" if kill % 4 == 0 else "rollout"
        ended = _run(fleet, further)
        context = f"seed {SEED}, kill {kill} {moment}, {stages}, then {further}:\n{ended.stdout}{ended.stderr}"
        assert ended.returncode == 0, context
        notes = set(fleet.notes().values())
        assert len(notes) == 1, f"{notes}: {context}"
        assert further == "rollback" or notes == {note}, context
        for host in AGENTS:
            state = fleet.open(host).ledger.state()
            links = {release for slots in fleet.open(host).releases.pointers().values() for release in slots.values()}
            assert state.unfinished is None, context
            assert links == {state.current}, context
        print(f"kill {kill} {moment}, {stages}, {further}: all on {notes.pop()}")


def _stage(fleet: SmallFleet, host: str) -> str:
    state = fleet.open(host).ledger.state()
    return state.unfinished.stage if state.unfinished else "none"
