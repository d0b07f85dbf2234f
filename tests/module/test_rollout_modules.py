# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""rollout_plan, rollout_wave, rollout_gate, rollout_confirm and rollback, each as a task: what it says in
check mode, what it does, what it says the second time, and how it refuses."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Iterator, Mapping

import pytest
from playbook import Playbook
from small_fleet import AGENTS, SmallFleet

OWNER = {"owner": "tester", "run": "run1"}


class Tasks:
    """Tasks on the host pc2 of a small fleet."""

    def __init__(self, fleet: SmallFleet) -> None:
        self.fleet = fleet
        self.root = {"root": fleet.root("pc2")}
        self._playbook = Playbook(fleet.folder / "tasks", {"pc2": {}})

    def run(self, module: str, options: Mapping[str, Any], *arguments: str) -> Mapping[str, Any]:
        return self._playbook.task(module, {**self.root, **options}, *arguments).results["pc2"]

    def state(self) -> tuple[int, dict[str, Any]]:
        """What nothing may change in check mode: the length of the ledger and what the agents run."""
        host = self.fleet.open("pc2")
        return len(host.ledger.entries()), {name: self.fleet.ask(name) for name in AGENTS["pc2"]}


@pytest.fixture(scope="module")
def tasks() -> Iterator[Tasks]:
    fleet = SmallFleet(Path(tempfile.mkdtemp(prefix="fleet-")))
    try:
        for host in AGENTS:
            fleet.make_root(host)
        fleet.stage("r-1")
        yield Tasks(fleet)
    finally:
        fleet.stop()
        shutil.rmtree(fleet.folder)


def plan(tasks: Tasks, release: str, *arguments: str) -> Mapping[str, Any]:
    hosts = {"pc2": tasks.fleet.results(release)["pc2"]}
    options = {"hosts": hosts, "bake_seconds": 0.5, "waves": [1, "100%"], "host_order": ["pc2"]}
    return tasks.run("rollout_plan", options, *arguments)


def roll_out(tasks: Tasks, release: str) -> Mapping[str, Any]:
    """All steps of a rollout, each looked at in check mode, done, and done again."""
    planned = plan(tasks, release, "--diff")
    assert planned["action"] == "begin", planned
    assert not planned["changed"]
    assert "Sink" in planned["diff"]["after"]
    step = {"plan": planned["plan"], **OWNER}
    for wave in planned["waves"]:
        before = tasks.state()
        foreseen = tasks.run("rollout_wave", {**step, "wave": wave}, "--check", "--diff")
        assert foreseen["changed"], foreseen
        assert tasks.run("rollout_gate", {**step, "wave": wave}, "--check")["verdict"] == "inconclusive"
        assert tasks.state() == before
        done = tasks.run("rollout_wave", {**step, "wave": wave}, "--diff")
        assert (done["ok"], done["changed"], done["replaced"]) == (True, True, foreseen["replaced"]), done
        assert done["diff"] == foreseen["diff"]
        again = tasks.run("rollout_wave", {**step, "wave": wave})
        assert (again["ok"], again["changed"], again["kept"]) == (True, False, done["replaced"])
        early = tasks.run("rollout_confirm", step)
        assert early["failed"]
        assert "has not passed its gate" in early["msg"]
        passed = tasks.run("rollout_gate", {**step, "wave": wave})
        assert passed["verdict"] == "pass", passed
        assert all(passed["numbers"][agent]["answered"] >= 3 for agent in done["replaced"])
        assert tasks.run("rollout_gate", {**step, "wave": wave})["reasons"] == ["passed before"]
    before = tasks.state()
    assert tasks.run("rollout_confirm", step, "--check", "--diff")["changed"]
    assert tasks.state() == before
    confirmed = tasks.run("rollout_confirm", step, "--diff")
    assert confirmed["changed"], confirmed
    assert confirmed["diff"]["after"] == f"current {release}\n"
    assert not tasks.run("rollout_confirm", step)["changed"]
    assert plan(tasks, release)["action"] == "nothing"
    return planned["plan"]


def test_a_host_is_brought_forward_and_back_by_single_tasks(tasks):
    refused = tasks.run("rollout_wave", {"plan": plan(tasks, "r-1")["plan"], "wave": 1, **OWNER})
    assert refused["failed"]
    assert "the lease of tester (run run1) is gone: nobody has it" in refused["msg"]
    assert tasks.run("rollout_lock", OWNER)["changed"]
    first = roll_out(tasks, "r-1")
    assert len(first["waves"]) == 1

    for agent in AGENTS["pc2"]:
        tasks.fleet.change(agent, note="2")
    tasks.fleet.stage("r-2")
    second = roll_out(tasks, "r-2")
    assert [list(wave["agents"]["pc2"]) for wave in second["waves"]] == [["Edge"], ["Sink"]]

    before = tasks.state()
    foreseen = tasks.run("rollback", {"plan": second["plan_hash"]}, "--check", "--diff")
    assert (foreseen["changed"], foreseen["to"]) == (True, "r-1"), foreseen
    assert tasks.state() == before
    back = tasks.run("rollback", {"plan": second["plan_hash"], "reason": "a test", "quarantine": True}, "--diff")
    assert (back["ok"], back["changed"], back["quarantined"], back["within_objective"]) == (True, True, True, True), (
        back
    )
    assert set(back["diff"]["after"].splitlines()) == set(foreseen["diff"]["after"].splitlines())
    assert {tasks.fleet.ask(agent)["note"] for agent in AGENTS["pc2"]} == {"1"}
    assert not tasks.run("rollback", {"plan": second["plan_hash"]})["changed"]
    assert not tasks.run("rollback", {})["changed"]

    assert "r-2 is quarantined" in plan(tasks, "r-2")["msg"]
    assert "r-2 is quarantined" in tasks.run("rollback", {"to": "r-2"})["msg"]
    assert "is not staged here" in tasks.run("rollback", {"to": "r-unknown"})["msg"]
    taken = tasks.run("rollback", {"plan": second["plan_hash"], "run": "another run"})
    assert "was taken over by run run1 of tester" in taken["msg"]
    assert not tasks.run("rollback", {"to": "r-1"})["changed"]


def test_options_that_do_not_fit_are_told(tasks):
    hosts = {"pc2": tasks.fleet.results("r-1")["pc2"]}
    assert "waves holds 'many'" in tasks.run("rollout_plan", {"hosts": hosts, "waves": ["many"]})["msg"]
    assert "there is no host to plan for" in tasks.run("rollout_plan", {"hosts": {}})["msg"]
    document = {**plan(tasks, "r-1")["plan"], "format": 9}
    assert "this plan has format 9" in tasks.run("rollout_wave", {"plan": document, "wave": 1, **OWNER})["msg"]
    good = plan(tasks, "r-1")["plan"]
    assert "there is no wave 7" in tasks.run("rollout_gate", {"plan": good, "wave": 7, **OWNER})["msg"]
