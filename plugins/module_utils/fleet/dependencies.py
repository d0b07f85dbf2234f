# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who needs whom: names resolved to agents, cycles, layers, and how far a failure reaches.

Linear in agents and dependencies, without recursion, and the same for the same fleet whatever the
order of its dictionaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, NamedTuple, Optional

from .model import Agent, AgentId, Dependency, Fleet


class Named(NamedTuple):
    """A dependency and the agent that has it."""

    agent: AgentId
    dependency: Dependency


class Resolved(NamedTuple):
    """A dependency, the agent that has it, and the agent that is meant."""

    agent: AgentId
    dependency: Dependency
    target: AgentId


@dataclass(frozen=True)
class DependencyGraph:
    """The resolved graph of a fleet.

    ``edges`` has every agent as a key, with the agents that it needs in the order of its file, each
    once, itself left out. ``cycles`` are the strongly connected components of two or more agents.
    ``layers`` order the fleet: whatever an agent needs lies in an earlier layer, or with it in one
    cycle. Sequences of agents are sorted.
    """

    edges: Mapping[AgentId, tuple[AgentId, ...]]
    unknown: tuple[Named, ...]
    self_dependencies: tuple[Named, ...]
    duplicates: tuple[Resolved, ...]
    cross_host: tuple[Resolved, ...]
    cycles: tuple[tuple[AgentId, ...], ...]
    layers: tuple[tuple[AgentId, ...], ...]
    layer_of: Mapping[AgentId, int]
    reverse: Mapping[AgentId, tuple[AgentId, ...]] = field(repr=False, default_factory=dict)

    def dependants(self, agent: AgentId) -> frozenset[AgentId]:
        """Every agent that needs this one, directly or not, itself left out: its blast radius."""
        reached: set[AgentId] = set()
        waiting = [agent]
        while waiting:
            for dependant in self.reverse.get(waiting.pop(), ()):
                if dependant not in reached:
                    reached.add(dependant)
                    waiting.append(dependant)
        return frozenset(reached - {agent})

    def blast_radii(self) -> dict[AgentId, int]:
        """The number of :meth:`dependants` of every agent, all at once.

        A set is one integer with a bit for each agent: a chain of 10,000 takes a moment, where walking
        from each agent would take a minute. Dependants come after what they need, and the members of a
        cycle reach the same agents.
        """
        bits = {agent: 1 << number for number, agent in enumerate(self.edges)}
        cycle_of = {member: cycle for cycle in self.cycles for member in cycle}
        reached: dict[AgentId, int] = {}
        for layer in reversed(self.layers):
            for agent in layer:
                if agent not in reached:
                    members = cycle_of.get(agent, (agent,))
                    inside = set(members)
                    mask = 0
                    for member in members:
                        mask |= bits[member]
                        for dependant in self.reverse.get(member, ()):
                            if dependant not in inside:
                                mask |= reached[dependant]
                    reached.update(dict.fromkeys(members, mask))
        return {agent: bin(reached[agent]).count("1") - 1 for agent in self.edges}


def resolve(fleet: Fleet) -> DependencyGraph:
    """Resolve each name on the agent's own host first, then on the other hosts in their order; a name
    written ``host:Name`` is that agent and no other."""
    agents = fleet.agents
    by_name: dict[str, list[AgentId]] = {}
    for identity in agents:
        by_name.setdefault(identity.name, []).append(identity)
    unknown: list[Named] = []
    itself: list[Named] = []
    duplicates: list[Resolved] = []
    cross_host: list[Resolved] = []
    edges: dict[AgentId, tuple[AgentId, ...]] = {}
    for agent in agents.values():
        targets: dict[AgentId, None] = {}
        for dependency in agent.dependencies:
            target = _target(agent, dependency.name, by_name)
            if target is None:
                unknown.append(Named(agent.id, dependency))
            elif target == agent.id:
                itself.append(Named(agent.id, dependency))
            elif target in targets:
                duplicates.append(Resolved(agent.id, dependency, target))
            else:
                targets[target] = None
                if target.host != agent.host:
                    cross_host.append(Resolved(agent.id, dependency, target))
        edges[agent.id] = tuple(targets)
    components = _components(edges)
    layer_of = _layers(components, edges)
    layers: list[list[AgentId]] = [[] for number in range(max(layer_of.values(), default=-1) + 1)]
    for identity in sorted(layer_of):
        layers[layer_of[identity]].append(identity)
    return DependencyGraph(
        edges=edges,
        unknown=tuple(unknown),
        self_dependencies=tuple(itself),
        duplicates=tuple(duplicates),
        cross_host=tuple(cross_host),
        cycles=tuple(sorted(tuple(sorted(members)) for members in components if len(members) > 1)),
        layers=tuple(tuple(layer) for layer in layers),
        layer_of=layer_of,
        reverse=_reversed(edges),
    )


def _target(agent: Agent, name: str, by_name: Mapping[str, list[AgentId]]) -> Optional[AgentId]:
    choices = by_name.get(name)
    if choices:
        own = AgentId(agent.host, name)
        return own if own in choices else choices[0]
    host, colon, rest = name.partition(":")
    qualified = AgentId(host, rest)
    return qualified if colon and qualified in by_name.get(rest, ()) else None


def _reversed(edges: Mapping[AgentId, tuple[AgentId, ...]]) -> dict[AgentId, tuple[AgentId, ...]]:
    dependants: dict[AgentId, list[AgentId]] = {}
    for agent, targets in edges.items():
        for target in targets:
            dependants.setdefault(target, []).append(agent)
    return {agent: tuple(sorted(found)) for agent, found in dependants.items()}


def _components(edges: Mapping[AgentId, tuple[AgentId, ...]]) -> list[list[AgentId]]:
    """Strongly connected components, what is needed before what needs it (Tarjan 1972, with a stack
    of our own instead of recursion)."""
    index: dict[AgentId, int] = {}
    low: dict[AgentId, int] = {}
    open_agents: list[AgentId] = []
    is_open: set[AgentId] = set()
    components: list[list[AgentId]] = []
    for start in edges:
        if start in index:
            continue
        index[start] = low[start] = len(index)
        open_agents.append(start)
        is_open.add(start)
        path = [(start, iter(edges[start]))]
        while path:
            agent, targets = path[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    open_agents.append(target)
                    is_open.add(target)
                    path.append((target, iter(edges[target])))
                    break
                if target in is_open:
                    low[agent] = min(low[agent], index[target])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[agent])
                if low[agent] == index[agent]:
                    components.append(_closed(agent, open_agents, is_open))
    return components


def _closed(agent: AgentId, open_agents: list[AgentId], is_open: set[AgentId]) -> list[AgentId]:
    members = []
    while True:
        member = open_agents.pop()
        is_open.discard(member)
        members.append(member)
        if member == agent:
            return members


def _layers(components: list[list[AgentId]], edges: Mapping[AgentId, tuple[AgentId, ...]]) -> dict[AgentId, int]:
    """The length of the longest chain below each agent; components come in an order that allows it."""
    layer_of: dict[AgentId, int] = {}
    for members in components:
        needed = (layer_of[target] for member in members for target in edges[member] if target in layer_of)
        layer = 1 + max(needed, default=-1)
        layer_of.update(dict.fromkeys(members, layer))
    return layer_of
