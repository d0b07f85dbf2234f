# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback leads, from the ledger alone; and the dead man and the boot check on real hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from small_fleet import SmallFleet
from test_apply_and_back import EVERYONE, OPTIONS, Rollout, installed

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.deadman import check_boot
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.rollback import RollbackError, Wish, find_way


def staged(plan, release, previous):
    return {
        "event": "staged",
        "run": f"run of {plan}",
        "plan": plan,
        "request": "q",
        "release": release,
        "previous_release": previous,
        "digest": "d",
    }


def confirmed(plan, release):
    return {"event": "confirmed", "run": f"run of {plan}", "release": release, "seconds": 1.0, "plan": plan}


def back(plan, release, to):
    return {
        "event": "rolled_back",
        "run": f"run of {plan}",
        "from_release": release,
        "to": to,
        "ok": True,
        "agents": [],
    }


FIRST = [staged("p1", "r1", None), confirmed("p1", "r1")]
SECOND = [*FIRST, staged("p2", "r2", "r1"), confirmed("p2", "r2")]
UNDER_WAY = [*SECOND, staged("p3", "r3", "r2")]


@pytest.mark.parametrize(
    ("entries", "wish", "leads"),
    [
        (SECOND, Wish("w"), ("r2", "r1")),
        (SECOND, Wish("w", plan="p2"), ("r2", "r1")),
        (SECOND, Wish("w", plan="p9"), None),
        (SECOND, Wish("w", to="r1"), ("r2", "r1")),
        (UNDER_WAY, Wish("w"), ("r3", "r2")),
        (UNDER_WAY, Wish("w", plan="p3"), ("r3", "r2")),
        (UNDER_WAY, Wish("w", to="r1"), ("r3", "r1")),
        ([*UNDER_WAY, back("p3", "r3", "r2")], Wish("w"), None),
        ([*UNDER_WAY, back("p3", "r3", "r2")], Wish("w", plan="p3"), None),
        ([*UNDER_WAY, back("p3", "r3", "r2")], Wish("w", to="r1"), ("r2", "r1")),
        ([*SECOND, back("p2", "r2", "r1"), *UNDER_WAY[4:]], Wish("w", plan="p2"), None),
        (FIRST, Wish("w", plan="p1"), ("r1", None)),
        (FIRST[:1], Wish("w"), ("r1", None)),
    ],
)
def test_where_a_wish_leads(entries, wish, leads):
    way = find_way(entries, wish)
    assert (None if way is None else (way.from_release, way.to)) == leads


def test_what_cannot_be_gone_back_to_is_refused():
    with pytest.raises(RollbackError, match="no release before r1"):
        find_way(FIRST, Wish("w"))
    with pytest.raises(RollbackError, match="this host has no release"):
        find_way([], Wish("w"))
    with pytest.raises(RollbackError, match="r1 is quarantined"):
        find_way([*SECOND, {"event": "quarantined", "release": "r1", "reason": "bad"}], Wish("w", to="r1"))


def test_the_dead_man_brings_a_host_back_that_nobody_confirms(small_fleet: SmallFleet):
    installed(small_fleet)
    for agent in EVERYONE:
        small_fleet.change(agent, note="2")
    small_fleet.stage("r-2")
    rollout = Rollout(
        small_fleet, "r-2", "run2", Options(waves=["100%"], max_unavailable=2, bake_seconds=0.2, deadman_seconds=12)
    )
    begun = time.monotonic()
    assert all(result.batch.ok for result in rollout.wave(1)), "both hosts run the new release"
    assert set(small_fleet.notes().values()) == {"2"}
    while set(small_fleet.notes().values()) != {"1"}:
        assert time.monotonic() - begun < 120
        time.sleep(0.2)
    for host in rollout.hosts.values():
        while host.ledger.state().unfinished is not None:
            assert time.monotonic() - begun < 150
            time.sleep(0.2)
        assert host.ledger.state().quarantined == frozenset(), "nobody judged the release"
        assert host.ledger.entries()[-1]["to"] == "r-1"


def test_a_confirmed_host_is_left_alone(small_fleet: SmallFleet):
    installed(small_fleet)
    host = small_fleet.open("pc2")
    assert check_boot(host) is None
    program = [sys.executable, f"{host.root}/continuity.pyz"]
    ended = subprocess.run([*program, "deadman", "--root", host.root], capture_output=True, text=True, check=True)
    assert "nothing to do" in ended.stdout
    ended = subprocess.run(
        [*program, "status", "--root", host.root, "--format", "json"], capture_output=True, text=True, check=False
    )
    assert json.loads(ended.stdout)["current"] == "r-1"
    assert ended.returncode == 0, ended.stdout


def test_the_boot_check_takes_back_what_an_earlier_boot_left_and_an_operator_needs_no_controller(
    small_fleet: SmallFleet,
):
    installed(small_fleet)
    for agent in EVERYONE:
        small_fleet.change(agent, note="2")
    small_fleet.stage("r-2")
    rollout = Rollout(small_fleet, "r-2", "run2", OPTIONS)
    rollout.wave(1)
    rollout.wave(2)
    edge, mainpc = rollout.hosts["pc2"], rollout.hosts["mainpc"]
    edge.ledger.append("armed", run="run2", deadline=edge.clock.monotonic() + 60, boot_id="an earlier boot", seconds=60)
    program = [sys.executable, f"{edge.root}/continuity.pyz"]
    ended = subprocess.run([*program, "boot-check", "--root", edge.root], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert edge.ledger.state().current == "r-1"
    assert "restarted before" in edge.ledger.entries()[-1]["reason"]
    ended = subprocess.run([*program, "rollback", "--root", mainpc.root], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "r-2 -> r-1" in ended.stdout
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "1")
