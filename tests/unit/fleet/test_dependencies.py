# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dependency graph against a slow and obvious one, on random fleets."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import DependencyGraph, resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import (
    Agent,
    AgentId,
    Dependency,
    Fleet,
    HostConfig,
    Location,
)

HERE = Location("fleet.yaml", 1)


def fleet_of(**hosts: dict[str, list[str]]) -> Fleet:
    """``fleet_of(pc2={"A": ["B"], "B": []})``"""
    return Fleet(
        tuple(
            HostConfig(
                host,
                f"{host}.yaml",
                tuple(
                    Agent(AgentId(host, name), HERE, f"{name}.py", HERE, dependencies=named(dependencies))
                    for name, dependencies in agents.items()
                ),
            )
            for host, agents in hosts.items()
        )
    )


def named(names: list[str]) -> tuple[Dependency, ...]:
    return tuple(Dependency(name, HERE) for name in names)


def reachable(graph: DependencyGraph, start: AgentId) -> set[AgentId]:
    seen: set[AgentId] = set()
    waiting = list(graph.edges[start])
    while waiting:
        agent = waiting.pop()
        if agent not in seen:
            seen.add(agent)
            waiting.extend(graph.edges[agent])
    return seen


NAMES = st.sampled_from([f"A{number}" for number in range(8)])
HOSTS = st.dictionaries(NAMES, st.lists(NAMES, max_size=5), max_size=8)


@given(mainpc=HOSTS, pc2=HOSTS)
@settings(max_examples=300, deadline=None)
def test_random_fleets_hold_every_law(mainpc: dict[str, list[str]], pc2: dict[str, list[str]]) -> None:
    fleet = fleet_of(mainpc=mainpc, pc2=pc2)
    graph = resolve(fleet)
    reach = {agent: reachable(graph, agent) for agent in graph.edges}
    assert set(graph.edges) == set(fleet.agents)
    assert sorted(agent for layer in graph.layers for agent in layer) == sorted(fleet.agents)
    for agent, targets in graph.edges.items():
        assert agent not in targets
        assert len(set(targets)) == len(targets)
        for target in targets:
            together = agent in reach[target]
            assert (graph.layer_of[target] == graph.layer_of[agent]) == together
            assert together or graph.layer_of[target] < graph.layer_of[agent]
        assert graph.dependants(agent) == {other for other in reach if agent in reach[other]} - {agent}
    cycles = {tuple(sorted({a} | {b for b in reach[a] if a in reach[b]})) for a in reach if a in reach[a]}
    assert graph.cycles == tuple(sorted(cycles))
    assert graph.blast_radii() == {agent: len(graph.dependants(agent)) for agent in graph.edges}
    declared = sum(len(agent.dependencies) for agent in fleet)
    resolved = sum(len(targets) for targets in graph.edges.values())
    assert declared == resolved + len(graph.unknown) + len(graph.self_dependencies) + len(graph.duplicates)


@given(HOSTS, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_order_of_declaration_changes_nothing(agents: dict[str, list[str]], shuffle: random.Random) -> None:
    items = list(agents.items())
    shuffle.shuffle(items)
    one, other = resolve(fleet_of(pc2=agents)), resolve(fleet_of(pc2=dict(items)))
    assert (one.layers, one.cycles, one.layer_of) == (other.layers, other.cycles, other.layer_of)


def test_own_host_is_meant_before_another() -> None:
    graph = resolve(fleet_of(mainpc={"Hub": [], "A": ["Hub"]}, pc2={"Hub": [], "B": ["Hub"], "C": ["A"]}))
    assert graph.edges[AgentId("mainpc", "A")] == (AgentId("mainpc", "Hub"),)
    assert graph.edges[AgentId("pc2", "B")] == (AgentId("pc2", "Hub"),)
    assert [(str(hit.agent), str(hit.target)) for hit in graph.cross_host] == [("pc2:C", "mainpc:A")]


def test_a_qualified_name_means_that_agent() -> None:
    graph = resolve(fleet_of(mainpc={"Hub": []}, pc2={"Hub": ["mainpc:Hub"], "B": ["mainpc:Nobody"]}))
    assert graph.edges[AgentId("pc2", "Hub")] == (AgentId("mainpc", "Hub"),)
    assert [hit.dependency.name for hit in graph.unknown] == ["mainpc:Nobody"]


def test_unknown_self_and_duplicate_are_named_and_not_edges() -> None:
    graph = resolve(fleet_of(pc2={"A": ["A", "B", "B", "Nobody"], "B": []}))
    assert graph.edges[AgentId("pc2", "A")] == (AgentId("pc2", "B"),)
    assert [hit.dependency.name for hit in graph.self_dependencies] == ["A"]
    assert [str(hit.target) for hit in graph.duplicates] == ["pc2:B"]
    assert [hit.dependency.name for hit in graph.unknown] == ["Nobody"]
    assert graph.cycles == ()


def test_a_cycle_shares_a_layer_and_is_named() -> None:
    graph = resolve(fleet_of(pc2={"Base": [], "A": ["B", "Base"], "B": ["C"], "C": ["A"], "Top": ["C"]}))
    assert graph.cycles == ((AgentId("pc2", "A"), AgentId("pc2", "B"), AgentId("pc2", "C")),)
    assert [[agent.name for agent in layer] for layer in graph.layers] == [["Base"], ["A", "B", "C"], ["Top"]]


def chain(count: int) -> dict[str, list[str]]:
    return {f"A{number}": [f"A{number + 1}"] for number in range(count - 1)} | {f"A{count - 1}": []}


def ring(count: int) -> dict[str, list[str]]:
    return {f"A{number}": [f"A{(number + 1) % count}"] for number in range(count)}


def tangle(count: int) -> dict[str, list[str]]:
    dice = random.Random(7)
    return {f"A{number}": [f"A{dice.randrange(count)}" for times in range(5)] for number in range(count)}


@pytest.mark.parametrize("shape", [chain, ring, tangle])
def test_ten_thousand_agents_within_the_second(shape) -> None:  # type: ignore[no-untyped-def]
    fleet = fleet_of(mainpc=shape(10_000))
    started = time.process_time()
    graph = resolve(fleet)
    graph.blast_radii()
    took = time.process_time() - started
    assert sum(len(layer) for layer in graph.layers) == 10_000
    # the bound is one second; four leave room for a busy machine
    assert took < 4, f"{shape.__name__}: {took:.2f} s of CPU"
