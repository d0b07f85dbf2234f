# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back is killed too, at random moments, again and again: the last attempt still finds home."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterator

import pytest
from small_fleet import AGENTS, SmallFleet

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.apply import Request, apply_wave, confirm
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.request import decide

SEED = int(os.environ.get("CONTINUITY_SEED", "0")) or random.randrange(1, 10_000)
ROUNDS = int(os.environ.get("CONTINUITY_KILLS", "3"))
OPTIONS = Options(waves=["100%"], max_unavailable=5, bake_seconds=0, deadman_seconds=600)


@pytest.fixture(scope="module")
def fleet() -> Iterator[SmallFleet]:
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    made = SmallFleet(folder)
    try:
        for host in AGENTS:
            made.make_root(host)
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _forward(fleet: SmallFleet, release: str, *, final: bool) -> None:
    fleet.stage(release)
    hosts = {host: fleet.open(host) for host in AGENTS}
    plan = decide(fleet.results(release), OPTIONS, hosts["pc2"].ledger.load_plan).plan
    request = Request("tester", f"run of {release}")
    for host in hosts.values():
        host.lease.acquire("tester", request.run, 900)
        assert apply_wave(host, plan, 1, request).batch.ok
    for host in hosts.values() if final else ():
        host.ledger.append("verified", run=request.run, wave=1, verdict="pass", numbers={}, plan=plan.plan_hash)
        confirm(host, plan, request, keep=5)


def test_a_rollback_that_is_killed_is_done_again(fleet):
    chance = random.Random(SEED)
    _forward(fleet, "r-0", final=True)
    program = [sys.executable, f"{fleet.root('mainpc')}/continuity.pyz", "rollback", "--root", fleet.root("mainpc")]
    mine = list(AGENTS["mainpc"])
    for number in range(1, ROUNDS + 1):
        for agent in mine:
            fleet.change(agent, note=f"round {number}")
        _forward(fleet, f"r-{number}", final=False)
        assert {fleet.notes()[agent] for agent in mine} == {f"round {number}"}
        moments = []
        for _attempt in range(3):
            moments.append(round(chance.uniform(0.1, 3.5), 2))
            attempt = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                attempt.wait(moments[-1])
            except subprocess.TimeoutExpired:
                attempt.kill()
                attempt.wait()
        last = subprocess.run(program, capture_output=True, text=True, check=False)
        context = f"seed {SEED}, killed after {moments}: {last.stdout}{last.stderr}"
        assert last.returncode == 0, context
        assert {fleet.notes()[agent] for agent in mine} == {"1"}, context
        state = fleet.open("mainpc").ledger.state()
        assert (state.current, state.unfinished) == ("r-0", None), context
        assert fleet.open("pc2").ledger.state().unfinished is not None
        subprocess.run(
            [sys.executable, f"{fleet.root('pc2')}/continuity.pyz", "rollback", "--root", fleet.root("pc2")], check=True
        )
