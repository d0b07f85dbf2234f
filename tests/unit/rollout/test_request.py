# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Begin, resume or refuse: decided from what the hosts' ledgers say."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options, PlanError
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.request import BEGIN, NOTHING, RESUME, decide


def agent(fingerprint, **more):
    return {
        "fingerprint": fingerprint,
        "layer": 0,
        "brief_interruption": False,
        "required": True,
        "dependencies": [],
        **more,
    }


def result(fingerprint="new", running="old", current="r-1", process="running"):
    """What the release task says of a host with one agent."""
    return {
        "release": {"id": "r-2", "digest": "d", "agents": {"A": agent(fingerprint)}},
        "host_state": {
            "current": current,
            "previous": None,
            "quarantined": [],
            "unfinished": None,
            "agents": {"A": {"release": current, "fingerprint": running, "process": process, "status": "healthy"}},
        },
    }


def unfinished(decision, host, stage="activated", **more):
    return {
        "run": "earlier",
        "plan_hash": decision.plan.plan_hash,
        "request_hash": decision.plan.request_hash,
        "release": decision.plan.releases[host],
        "stage": stage,
        **more,
    }


def nothing_saved(plan_hash):
    raise AssertionError(f"no plan should be read, {plan_hash} was")


def test_what_differs_is_begun_and_what_does_not_is_left():
    decision = decide({"pc2": result(), "mainpc": result()}, Options(), nothing_saved)
    assert (decision.action, len(decision.plan.touched)) == (BEGIN, 2)
    done = result("new", "new", current="r-2")
    assert decide({"pc2": done}, Options(), nothing_saved).action == NOTHING
    assert decide({"pc2": result("same", "same")}, Options(), nothing_saved).action == BEGIN, "links and ledger move"
    down = decide({"pc2": result("new", "new", "r-2", process="failed")}, Options(), nothing_saved)
    assert [touched.reason for touched in down.plan.touched] == ["down"]


def test_the_same_request_is_resumed_with_its_first_plan():
    hosts = {"pc2": result(), "mainpc": result()}
    first = decide(hosts, Options(), nothing_saved)
    later = copy.deepcopy(hosts)
    later["pc2"] = result("new", "new")
    later["pc2"]["host_state"]["unfinished"] = unfinished(first, "pc2")
    resumed = decide(later, Options(), {first.plan.plan_hash: first.plan}.__getitem__)
    assert (resumed.action, resumed.plan) == (RESUME, first.plan)
    assert "earlier, activated" in resumed.why
    confirmed = copy.deepcopy(later)
    confirmed["mainpc"]["host_state"]["current"] = "r-2"
    assert decide(confirmed, Options(), {first.plan.plan_hash: first.plan}.__getitem__).action == RESUME


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda hosts: None, Options(bake_seconds=1), "what is asked for now is another one"),
        (lambda hosts: hosts.pop("mainpc"), Options(), "what is asked for now is another one"),
        (lambda hosts: hosts["mainpc"]["release"].update(digest="other"), Options(), "another one"),
        (lambda hosts: hosts["mainpc"]["host_state"].update(current="r-9"), Options(), "this host runs r-9"),
        (lambda hosts: hosts["mainpc"]["host_state"].update(quarantined=["r-2"]), Options(), "r-2 is quarantined"),
    ],
)
def test_anything_else_is_refused(change, options, said):
    hosts = {"pc2": result(), "mainpc": result()}
    first = decide(hosts, Options(), nothing_saved)
    hosts["pc2"]["host_state"]["unfinished"] = unfinished(first, "pc2")
    change(hosts)
    with pytest.raises(PlanError, match=said):
        decide(hosts, options, {first.plan.plan_hash: first.plan}.__getitem__)


def test_two_plans_at_once_are_refused():
    hosts = {"pc2": result(), "mainpc": result()}
    first = decide(hosts, Options(), nothing_saved)
    hosts["pc2"]["host_state"]["unfinished"] = unfinished(first, "pc2")
    hosts["mainpc"]["host_state"]["unfinished"] = unfinished(first, "mainpc", plan_hash="other")
    with pytest.raises(PlanError, match="2 different plans"):
        decide(hosts, Options(), nothing_saved)


def test_what_was_only_staged_holds_nobody_up():
    hosts = {"pc2": result()}
    first = decide(hosts, Options(), nothing_saved)
    hosts["pc2"]["host_state"]["unfinished"] = unfinished(first, "pc2", stage="staged", request_hash="other")
    assert decide(hosts, Options(), nothing_saved).action == BEGIN


def test_a_result_of_something_else_is_refused():
    with pytest.raises(PlanError, match="has no 'release'"):
        decide({"pc2": {}}, Options(), nothing_saved)
