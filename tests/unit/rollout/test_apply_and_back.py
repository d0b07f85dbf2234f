# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forward and back on two real host roots: waves, gates, confirmation, rollback, resumption."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_fleet import AGENTS, SmallFleet

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import boot_id
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout import apply
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.bake import bake
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.gates import GateRules
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.ledger import LedgerError
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.model import Plan
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.observation import observe
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.request import decide
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.rollback import (
    RollbackError,
    Wish,
    foresee,
    roll_back,
)

OPTIONS = Options(waves=[1, 2, "100%"], max_unavailable=2, host_order=["pc2"], bake_seconds=0.6, deadman_seconds=60)
EVERYONE = ("Base", "Api", "Worker", "Edge", "Sink")


class Rollout:
    """What the playbook does, step by step, without Ansible."""

    def __init__(self, fleet: SmallFleet, release: str, run: str = "run1", options: Options = OPTIONS) -> None:
        self.fleet = fleet
        self.hosts = {host: fleet.open(host) for host in AGENTS}
        load_plan = next(iter(self.hosts.values())).ledger.load_plan
        self.decision = decide(fleet.results(release), options, load_plan)
        self.plan: Plan = self.decision.plan
        self.request = apply.Request("tester", run, healthy_seconds=6)
        for host in self.hosts.values():
            host.lease.acquire("tester", run, 600)

    def wave(self, number: int) -> list[apply.WaveResult]:
        return [apply.apply_wave(host, self.plan, number, self.request) for host in self.hosts.values()]

    def gate(self, number: int) -> list[str]:
        rules = GateRules(min_samples=2)
        return [
            bake(host, self.plan, number, self.request, rules, hold_seconds=0).verdict for host in self.hosts.values()
        ]

    def confirm(self, keep: int = 5) -> list[apply.ConfirmResult]:
        return [apply.confirm(host, self.plan, self.request, keep=keep) for host in self.hosts.values()]

    def forward(self, keep: int = 5) -> None:
        for wave in self.plan.waves:
            for result in self.wave(wave.number):
                assert result.batch.ok, result.batch.failures
            assert self.gate(wave.number) == ["pass", "pass"]
        self.confirm(keep)

    def back(self, **wish: object) -> list[object]:
        asked = Wish("test", plan=self.plan.plan_hash, run=self.request.run, healthy_seconds=6, **wish)
        return [roll_back(host, asked) for host in self.hosts.values()]


def installed(fleet: SmallFleet, release: str = "r-1") -> None:
    fleet.stage(release)
    Rollout(fleet, release, run=f"install-{release}").forward()
    assert set(fleet.releases().values()) == {release}


def test_a_first_release_is_one_wave_and_a_second_touches_only_what_changed(small_fleet):
    small_fleet.stage("r-1")
    first = Rollout(small_fleet, "r-1")
    assert len(first.plan.waves) == 1
    first.forward()
    assert small_fleet.releases() == dict.fromkeys(EVERYONE, "r-1")

    small_fleet.change("Api", note="2")
    small_fleet.change("Sink", note="2")
    small_fleet.stage("r-2")
    second = Rollout(small_fleet, "r-2", run="run2")
    assert [(one.agent, one.reason, one.brief_interruption) for one in second.plan.touched] == [
        ("Sink", "changed", False),
        ("Api", "changed", False),
    ]
    second.forward()
    assert small_fleet.releases() == {"Base": "r-1", "Api": "r-2", "Worker": "r-1", "Edge": "r-1", "Sink": "r-2"}
    for host, opened in second.hosts.items():
        assert opened.ledger.state().current == "r-2"
        assert opened.ledger.state().unfinished is None
        links = {release for slots in opened.releases.pointers().values() for release in slots.values()}
        assert links == {"r-2"}, f"links of {host}"
    again = Rollout(small_fleet, "r-2", run="run3")
    assert again.decision.action == "nothing"
    assert [result.changed for result in again.confirm()] == [False, False]


def test_a_release_that_crashes_is_caught_and_taken_back(small_fleet):
    installed(small_fleet)
    for agent in EVERYONE:
        small_fleet.change(agent, note="bad", status="crash")
    small_fleet.stage("r-bad")
    rollout = Rollout(small_fleet, "r-bad", run="run2")
    results = rollout.wave(1)
    assert [result.batch.ok for result in results].count(False) == 1
    taken_back = rollout.back(quarantine=True)
    assert all(result.ok for result in taken_back)
    assert small_fleet.releases() == dict.fromkeys(EVERYONE, "r-1")
    for host in rollout.hosts.values():
        assert host.ledger.state().current == "r-1"
        assert host.ledger.state().unfinished is None
        assert host.ledger.state().quarantined == {"r-bad"}
        events = [entry["event"] for entry in host.ledger.entries()]
        assert events[-2:] == ["quarantined", "rolled_back"], "killed in between, it is quarantined and unfinished"


def test_a_release_that_answers_unhealthy_fails_its_wave(small_fleet):
    installed(small_fleet)
    small_fleet.change("Worker", note="bad", status="error")
    small_fleet.stage("r-bad")
    rollout = Rollout(small_fleet, "r-bad", run="run2")
    (failed,) = [result for result in rollout.wave(1) if result.changed]
    assert "not healthy within 6 s" in failed.batch.failures[0]
    assert all(result.ok for result in rollout.back())
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "1")


def test_a_damaged_file_of_the_release_before_is_told_with_what_to_do(small_fleet):
    installed(small_fleet)
    small_fleet.change("Worker", note="bad", status="crash")
    small_fleet.stage("r-bad")
    rollout = Rollout(small_fleet, "r-bad", run="run2")
    rollout.wave(1)
    damaged = Path(small_fleet.root("mainpc")) / "releases/r-1/code/agents/base.py"
    content = damaged.read_text()
    damaged.write_text(content + "# damaged\n")
    (back,) = [result for result in rollout.back() if not result.ok]
    assert back.message.startswith("code/agents/base.py: changed since r-1 was staged. Stage the same content again")
    damaged.write_text(content)
    assert all(result.ok for result in rollout.back())
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "1")


def test_a_confirmed_rollout_is_taken_back_with_agents_that_came_and_went(small_fleet):
    installed(small_fleet)
    small_fleet.change("Base", note="2")
    small_fleet.stage("r-2")
    rollout = Rollout(small_fleet, "r-2", run="run2")
    rollout.forward()
    assert small_fleet.notes()["Base"] == "2"
    assert all(result.ok for result in rollout.back())
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "1")
    assert [result.changed for result in rollout.back()] == [False, False]
    for host in rollout.hosts.values():
        links = {release for slots in host.releases.pointers().values() for release in slots.values()}
        assert links == {"r-1"}


def test_taking_back_a_first_release_stops_its_agents(small_fleet):
    small_fleet.stage("r-1")
    rollout = Rollout(small_fleet, "r-1")
    rollout.wave(1)
    assert all(result.ok for result in rollout.back())
    assert small_fleet.releases() == dict.fromkeys(EVERYONE, None)
    assert all(host.releases.pointers() == {} for host in rollout.hosts.values())
    rollout = Rollout(small_fleet, "r-1", run="again")
    rollout.forward()
    assert [host.releases.current() for host in rollout.hosts.values()] == ["r-1", "r-1"]
    assert all(result.ok for result in rollout.back())
    assert [host.releases.current() for host in rollout.hosts.values()] == [None, None]
    assert [host.ledger.state().current for host in rollout.hosts.values()] == [None, None]
    rollout = Rollout(small_fleet, "r-1", run="once more")
    rollout.forward()
    assert small_fleet.releases() == dict.fromkeys(EVERYONE, "r-1")


def test_another_run_goes_on_where_the_first_was_killed(small_fleet):
    installed(small_fleet)
    for agent in EVERYONE:
        small_fleet.change(agent, note="2")
    small_fleet.stage("r-2")
    first = Rollout(small_fleet, "r-2", run="run2")
    first.wave(1)
    first.gate(1)
    first.wave(2)
    resumed = Rollout(small_fleet, "r-2", run="run3")
    assert resumed.decision.action == "resume"
    assert resumed.plan == first.plan
    assert not any(result.changed for result in resumed.wave(1))
    assert not any(result.changed for result in resumed.wave(2))
    resumed.forward()
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "2")


def test_retention_keeps_what_a_process_still_runs_from(small_fleet):
    installed(small_fleet)
    for number in ("2", "3", "4"):
        small_fleet.change("Sink", note=number)
        small_fleet.stage(f"r-{number}")
        rollout = Rollout(small_fleet, f"r-{number}", run=f"run{number}")
        rollout.forward(keep=0)
    edge = rollout.hosts["pc2"]
    assert small_fleet.releases()["Edge"] == "r-1", "it never changed"
    assert edge.releases.staged() == ["r-1", "r-3", "r-4"], "r-2 is needed by nobody"
    assert observe(edge, edge.releases.load("r-4")).differences == ()


def test_a_rollback_needs_neither_the_plan_nor_what_was_measured_before(small_fleet):
    installed(small_fleet)
    small_fleet.change("Edge", note="2")
    small_fleet.change("Base", note="2")
    small_fleet.stage("r-2")
    rollout = Rollout(small_fleet, "r-2", run="run2")
    for wave in rollout.plan.waves:
        rollout.wave(wave.number)
    for host, content in zip(rollout.hosts.values(), ("[]", '{"format": 0}')):
        for name in os.listdir(os.path.join(host.ledger.folder, "plans")):
            if name.startswith(rollout.plan.plan_hash):
                with open(os.path.join(host.ledger.folder, "plans", name), "w") as file:
                    file.write(content)
        assert apply.load_baselines(host, rollout.plan) == {}
        with pytest.raises(LedgerError, match="Take the rollout back"):
            host.ledger.load_plan(rollout.plan.plan_hash)
    assert all(result.ok for result in rollout.back())
    assert small_fleet.notes() == dict.fromkeys(EVERYONE, "1")


def test_a_dead_man_that_ended_is_started_again_when_his_rollout_goes_on(small_fleet):
    installed(small_fleet)
    small_fleet.change("Edge", note="2")
    small_fleet.stage("r-2")
    first = Rollout(small_fleet, "r-2", run="run2")
    first.wave(1)
    edge = first.hosts["pc2"]
    program = edge.supervisor.files.program(f"continuity-{apply.DEADMAN}")
    assert os.path.exists(program)
    edge.supervisor.stop_companion(apply.DEADMAN)
    edge.ledger.append("armed", run="run2", deadline=edge.clock.monotonic() - 1, boot_id=boot_id(), seconds=60)
    resumed = Rollout(small_fleet, "r-2", run="run3")
    resumed.wave(1)
    assert os.path.exists(program)


def test_a_rollback_in_check_mode_refuses_what_a_real_one_refuses(small_fleet):
    installed(small_fleet)
    small_fleet.change("Edge", note="2")
    small_fleet.stage("r-2")
    Rollout(small_fleet, "r-2", run="run2").forward()
    edge = small_fleet.open("pc2")
    with open(os.path.join(edge.releases.path("r-1"), "code", "agents", "edge.py"), "a") as file:
        file.write("# changed on the host\n")
    for step in (foresee, roll_back):
        with pytest.raises(RollbackError, match="not as it was staged"):
            step(edge, Wish("test", to="r-1"))
        with pytest.raises(RollbackError, match="was taken over by run run2"):
            step(edge, Wish("test", run="another"))
