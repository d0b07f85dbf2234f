# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for every plan, and the decisions that a reader would look up."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import (
    CurrentAgent,
    HostState,
    Options,
    PlanError,
    TargetAgent,
    hash_of,
    make_plan,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan_document import (
    from_document,
    render,
    to_document,
)


def state(host, target, current=(), previous="r-old", release="r-new"):
    return HostState(host, release, f"digest of {host}", dict(target), dict(current), previous)


def all_changed(host, names, **attributes):
    return state(
        host,
        {name: TargetAgent(f"new {name}", **attributes) for name in names},
        {name: CurrentAgent(f"old {name}") for name in names},
    )


def waves_of(plan):
    return [{f"{host}:{name}" for host, names in wave.agents.items() for name in names} for wave in plan.waves]


@st.composite
def fleets(draw):
    """Two or three hosts, dependencies that point to lower layers, some agents new, gone, the same or down."""
    hosts = draw(st.lists(st.sampled_from(["mainpc", "pc2", "spare"]), min_size=1, max_size=3, unique=True))
    names = [(host, f"A{number}") for host in hosts for number in range(draw(st.integers(0, 9)))]
    layers = {}
    states = []
    dependencies = {}
    for host, name in names:
        earlier = sorted(layers)
        chosen = draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)) if earlier else []
        dependencies[(host, name)] = tuple(f"{h}:{n}" for h, n in chosen)
        layers[(host, name)] = max((layers[one] + 1 for one in chosen), default=0)
    for host in hosts:
        target, current = {}, {}
        for owner, name in names:
            if owner != host:
                continue
            kind = draw(st.sampled_from(["same", "changed", "new", "removed", "down"]))
            if kind != "removed":
                target[name] = TargetAgent(
                    f"f {name}", layers[(host, name)], dependencies[(host, name)], draw(st.booleans())
                )
            if kind != "new":
                fingerprint = f"f {name}" if kind in ("same", "down") else "other"
                current[name] = CurrentAgent(fingerprint, runs=kind != "down")
        states.append(state(host, target, current, previous=draw(st.sampled_from(["r-old", "r-old", None]))))
    return states


@st.composite
def options(draw, fleet):
    agents = [f"{one.host}:{name}" for one in fleet for name in one.target]
    pairs = [draw(st.lists(st.sampled_from(agents), min_size=2, max_size=2, unique=True))] if len(agents) > 1 else []
    return Options(
        waves=draw(st.lists(st.sampled_from([1, 2, 5, "10%", "25%", "100%"]), min_size=1, max_size=4)),
        max_unavailable=draw(st.sampled_from([1, 2, 5, "10%", "50%"])),
        redundant_pairs=pairs,
        host_order=draw(st.sampled_from([[], ["pc2"], ["mainpc", "pc2"]])),
        follow=draw(st.sampled_from([[], ["*"], ["pc2:*"]])),
        parallel=draw(st.integers(1, 8)),
    )


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_every_plan_keeps_its_promises(data):
    fleet = data.draw(fleets())
    asked = data.draw(options(fleet))
    plan = make_plan(fleet, asked)
    waves = waves_of(plan)
    planned = [agent for wave in waves for agent in wave]
    first_install = all(one.previous is None for one in fleet)

    # Each touched agent exactly once, and no other.
    assert len(planned) == len(set(planned))
    assert set(planned) == {f"{touched.host}:{touched.agent}" for touched in plan.touched}
    assert len(planned) == len(plan.touched)
    assert all(waves), "no wave is empty"

    # Touched is what differs, what is down, or what follows.
    for one in fleet:
        for name in set(one.target) | set(one.current):
            target, current = one.target.get(name), one.current.get(name)
            differs = target is None or current is None or target.fingerprint != current.fingerprint
            if differs or not current.runs:
                assert f"{one.host}:{name}" in planned
    for touched in plan.touched:
        if touched.reason == "follows":
            assert asked.follow

    if not first_install:
        # The limit holds over the whole fleet, in each wave.
        assert all(sum(wave.parallel.values()) <= plan.max_unavailable for wave in plan.waves)
        assert all(set(wave.parallel) == set(wave.agents) for wave in plan.waves)
        assert all(1 <= number <= asked.parallel for wave in plan.waves for number in wave.parallel.values())
        # Never two of a redundant group.
        for pair in asked.redundant_pairs:
            assert all(len(wave & set(pair)) <= 1 for wave in waves)
        # Dependencies first; only the canary may go ahead of what it depends on.
        position = {agent: number for number, wave in enumerate(waves) for agent in wave}
        canary = next((f"{one.host}:{one.agent}" for one in plan.touched if one.reason != "removed"), None)
        removed = {f"{one.host}:{one.agent}" for one in plan.touched if one.reason == "removed"}
        for one in fleet:
            for name, target in one.target.items():
                agent = f"{one.host}:{name}"
                for dependency in set(target.dependencies) - removed:
                    if agent in position and dependency in position and agent != canary:
                        assert position[dependency] <= position[agent]
    elif waves:
        assert len(waves) == 1

    # The same input, in whatever order, gives the same bytes; the document is the plan.
    shuffled = [replace(one, target=dict(reversed(list(one.target.items())))) for one in fleet]
    random.Random(1).shuffle(shuffled)
    assert make_plan(shuffled, asked) == plan
    assert from_document(json.loads(json.dumps(to_document(plan)))) == plan
    assert hash_of(plan) == plan.plan_hash
    assert all(touched.agent in render(plan) for touched in plan.touched)


def test_nothing_changed_needs_no_wave():
    same = {"A": TargetAgent("f")}
    plan = make_plan([state("mainpc", same, {"A": CurrentAgent("f")})], Options())
    assert (plan.touched, plan.waves) == ((), ())


def test_waves_of_seventy_seven():
    plan = make_plan(
        [all_changed("mainpc", [f"M{n}" for n in range(54)]), all_changed("pc2", [f"P{n}" for n in range(23)])],
        Options(host_order=["pc2", "mainpc"]),
    )
    assert [sum(map(len, wave.agents.values())) for wave in plan.waves] == [1, 5, 20, 51]
    assert set(plan.waves[0].agents) == {"pc2"}
    assert plan.max_unavailable == 7
    assert plan.shares == {"mainpc": 5, "pc2": 2}


def test_the_canary_is_the_least_depended_upon_agent_of_the_first_host():
    fleet = [
        all_changed("mainpc", ["Leaf"]),
        state(
            "pc2",
            {
                "Base": TargetAgent("n", 0),
                "Edge": TargetAgent("n", 1, ("pc2:Base",)),
                "Fresh": TargetAgent("n", 1),
            },
            {"Base": CurrentAgent("o"), "Edge": CurrentAgent("o")},
        ),
    ]
    plan = make_plan(fleet, Options(host_order=["pc2"]))
    assert plan.waves[0].agents == {"pc2": ("Edge",)}
    assert make_plan(fleet, Options()).waves[0].agents == {"mainpc": ("Leaf",)}, "the smallest host comes first"


def test_an_agent_that_goes_away_stands_before_the_new_one_that_may_want_its_port():
    fleet = [
        state(
            "pc2",
            {"Same": TargetAgent("n"), "Renamed": TargetAgent("n")},
            {"Same": CurrentAgent("o"), "OldName": CurrentAgent("o")},
        )
    ]
    plan = make_plan(fleet, Options(waves=["100%"]))
    assert plan.waves[0].agents["pc2"] == ("Same", "OldName", "Renamed")


def test_blast_radius_counts_dependants_on_every_host_once():
    fleet = [
        state(
            "pc2",
            {
                "Base": TargetAgent("n", 0),
                "A": TargetAgent("same", 1, ("pc2:Base",)),
                "B": TargetAgent("same", 2, ("pc2:A", "pc2:Base")),
            },
            {"Base": CurrentAgent("o"), "A": CurrentAgent("same"), "B": CurrentAgent("same")},
        ),
        state("mainpc", {"C": TargetAgent("same", 3, ("pc2:B",))}, {"C": CurrentAgent("same")}),
    ]
    plan = make_plan(fleet, Options())
    assert [wave.blast_radius for wave in plan.waves] == [3]
    following = make_plan(fleet, Options(follow=["mainpc:*"], waves=[1]))
    assert [(touched.agent, touched.reason) for touched in following.touched][1] == ("Base", "changed")
    assert {touched.agent: touched.detail for touched in following.touched}["C"] == "depends on pc2:Base"


def test_cycles_are_named():
    fleet = [
        state(
            "pc2",
            {"A": TargetAgent("n", 0, ("pc2:B",)), "B": TargetAgent("n", 0, ("pc2:A",)), "C": TargetAgent("n", 0)},
        )
    ]
    assert make_plan(fleet, Options()).cycles == (("pc2:A", "pc2:B"),)


def test_the_request_hash_covers_what_was_asked_for_and_not_the_progress():
    before = all_changed("pc2", ["A", "B"])
    midway = replace(before, current={"A": CurrentAgent("new A"), "B": CurrentAgent("old B")})
    assert make_plan([before], Options()).request_hash == make_plan([midway], Options()).request_hash
    assert make_plan([before], Options()).plan_hash != make_plan([midway], Options()).plan_hash
    assert make_plan([before], Options()).request_hash != make_plan([before], Options(waves=[1])).request_hash
    other = replace(before, digest="other")
    assert make_plan([before], Options()).request_hash != make_plan([other], Options()).request_hash


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"waves": [0]}, "waves holds 0"),
        ({"waves": ["many"]}, "waves holds 'many'"),
        ({"max_unavailable": "0%"}, "max_unavailable holds '0%'"),
        ({"redundant_pairs": [["pc2:A", "pc2:Nobody"]]}, "pc2:Nobody, which is no agent of pc2"),
        ({"redundant_pairs": [["A", "pc2:A"]]}, "redundant_pairs names 'A'"),
    ],
)
def test_options_that_do_not_fit_are_refused(bad, said):
    with pytest.raises(PlanError, match=said):
        make_plan([all_changed("pc2", ["A"])], Options(**bad))


def test_no_host_is_refused():
    with pytest.raises(PlanError, match="no host"):
        make_plan([], Options())


def test_ten_thousand_agents_are_planned_in_bounded_time():
    names = [f"A{number:05}" for number in range(10_000)]
    target = {
        name: TargetAgent(
            f"new {name}", number // 100, tuple(f"pc2:{names[number - 100 + k]}" for k in (0, 7) if number >= 100)
        )
        for number, name in enumerate(names)
    }
    current = {name: CurrentAgent("old") for name in names}
    begun = time.process_time()
    plan = make_plan([state("pc2", target, current)], Options())
    assert len(plan.touched) == 10_000
    assert time.process_time() - begun < 5
