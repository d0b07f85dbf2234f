# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk B: dependencies that nobody can satisfy, and what therefore never starts.

A launcher starts an agent when everything that it depends on has started. So a name that no agent
has, or a circle, keeps the agent from starting, and everything that depends on it as well; a launcher
of real fleets leaves them all out, calls it a circle, and ends with success.
"""

from __future__ import annotations

from collections import deque
from typing import Iterator

from ..fleet.dependencies import DependencyGraph
from ..fleet.model import AgentId, Dependency, Fleet
from . import risk_g_config
from .findings import Finding


def find(fleet: Fleet, graph: DependencyGraph) -> Iterator[Finding]:
    yield from risk_g_config.reported(fleet, "B")
    unread = [host.host for host in fleet.hosts if not host.agents]
    for agent, dependency in graph.unknown:
        message = f"depends on {dependency.name}, and no host has an agent of that name"
        if unread:
            message += f" (it may be one of {', '.join(unread)}, from whose config none could be read)"
        yield _finding("B-unknown", "warning" if unread else "critical", agent, dependency, message)
    for agent, dependency in graph.self_dependencies:
        yield _finding("B-self", "critical", agent, dependency, "depends on itself")
    for agent, dependency, _target in graph.duplicates:
        yield _finding("B-duplicate", "warning", agent, dependency, f"lists {dependency.name} twice")
    for agent, dependency, target in graph.cross_host:
        message = (
            f"depends on {dependency.name}, which runs on {target.host}: a launcher of one host never satisfies it"
        )
        yield _finding("B-cross-host", "info", agent, dependency, message, target=str(target))
    for members in graph.cycles:
        yield _cycle(fleet, graph, members)
    yield from _never_starting(fleet, graph, certain=not unread)


def _finding(rule: str, severity: str, agent: AgentId, dependency: Dependency, message: str, **more: str) -> Finding:
    place = dependency.location
    evidence = {"dependency": dependency.name, **more}
    return Finding(rule, severity, agent.host, agent.name, place.file, place.line, message, evidence)


def _cycle(fleet: Fleet, graph: DependencyGraph, members: tuple[AgentId, ...]) -> Finding:
    first = fleet.agents[members[0]]
    path = _circle(graph, members)
    hosts = {member.host for member in members}
    shown = [str(member) if len(hosts) > 1 else member.name for member in path]
    others = f" ({len(members)} agents depend on each other)" if len(members) >= len(path) else ""
    return Finding(
        "B-cycle",
        "warning",
        first.host,
        None,
        first.location.file,
        first.location.line,
        f"depend on each other in a circle: {' -> '.join(shown)}{others}",
        {"members": [str(member) for member in members], "circle": [str(member) for member in path]},
    )


def _circle(graph: DependencyGraph, members: tuple[AgentId, ...]) -> list[AgentId]:
    """The shortest way from the first member back to itself, both ends named."""
    inside, start = set(members), members[0]
    reached: dict[AgentId, AgentId] = {}
    waiting = deque([start])
    while waiting:
        agent = waiting.popleft()
        for target in graph.edges[agent]:
            if target == start:
                path = [start, agent]
                while path[-1] != start:
                    path.append(reached[path[-1]])
                return list(reversed(path))
            if target in inside and target not in reached:
                reached[target] = agent
                waiting.append(target)
    return [*members, start]


def _never_starting(fleet: Fleet, graph: DependencyGraph, *, certain: bool) -> Iterator[Finding]:
    causes: dict[AgentId, str] = {}
    severe: set[AgentId] = set()
    for agent, dependency in graph.unknown:
        causes.setdefault(agent, f"no host has an agent {dependency.name}")
        severe.update([agent] if certain else [])
    for agent, _dependency in graph.self_dependencies:
        causes.setdefault(agent, "it depends on itself")
        severe.add(agent)
    for members in graph.cycles:
        for member in members:
            causes.setdefault(member, f"it is part of a circle of {len(members)}")
    blocked: dict[AgentId, AgentId] = {}
    for root in sorted(causes, key=lambda one: (one not in severe, one)):
        blocked.setdefault(root, root)
        for dependant in sorted(graph.dependants(root)):
            blocked.setdefault(dependant, root)
    for waiting, root in blocked.items():
        root = waiting if waiting in causes else root
        because = causes[root] if root == waiting else f"it waits for {root.name}: {causes[root]}"
        place = fleet.agents[waiting].location
        yield Finding(
            "B-never-starts",
            "critical" if root in severe else "warning",
            waiting.host,
            waiting.name,
            place.file,
            place.line,
            f"is never started by a launcher that waits for dependencies: {because}",
            {"because_of": str(root), "cause": causes[root]},
        )
