# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which agents depend, directly or not, on a given one.

Sets of agents are integers used as bit sets, so that fleets of ten thousand agents stay cheap.
"""

from __future__ import annotations

from typing import Iterable, Mapping, Sequence

from ..fleet.model import AgentId


class BlastRadius:
    """The transitive dependants of every agent of ``dependencies`` (agent to what it depends on).

    Names that are no key are ignored. ``cycles`` lists the groups that depend on each other, sorted.
    """

    def __init__(self, dependencies: Mapping[AgentId, Sequence[AgentId]]) -> None:
        self._agents = sorted(dependencies)
        self._position = {agent: position for position, agent in enumerate(self._agents)}
        direct: list[list[int]] = [[] for _agent in self._agents]
        for agent in self._agents:
            for dependency in dependencies[agent]:
                if dependency in self._position:
                    direct[self._position[dependency]].append(self._position[agent])
        self._reach = _closure(direct)
        self._sizes = [bin(mask & ~(1 << position)).count("1") for position, mask in enumerate(self._reach)]
        self.cycles = self._find_cycles()

    def dependants(self, agents: Iterable[AgentId]) -> list[AgentId]:
        """All others that depend on any of ``agents``, sorted."""
        mask = self._mask(agents)
        return [agent for position, agent in enumerate(self._agents) if mask >> position & 1]

    def depends(self, agent: AgentId, dependency: AgentId) -> bool:
        """Whether ``agent`` depends on ``dependency``, directly or not."""
        return bool(self._reach[self._position[dependency]] >> self._position[agent] & 1)

    def size(self, agent: AgentId) -> int:
        """How many other agents depend on this one."""
        return self._sizes[self._position[agent]]

    def of(self, agents: Iterable[AgentId]) -> int:
        """How many other agents depend on any of ``agents``."""
        return bin(self._mask(agents)).count("1")

    def _mask(self, agents: Iterable[AgentId]) -> int:
        reached = own = 0
        for agent in agents:
            position = self._position.get(agent)
            if position is not None:
                reached |= self._reach[position]
                own |= 1 << position
        return reached & ~own

    def _find_cycles(self) -> tuple[tuple[AgentId, ...], ...]:
        groups: dict[int, list[AgentId]] = {}
        for position, agent in enumerate(self._agents):
            if self._reach[position] >> position & 1:
                groups.setdefault(self._reach[position], []).append(agent)
        return tuple(sorted(tuple(group) for group in groups.values() if len(group) > 1))


def _closure(direct: Sequence[Sequence[int]]) -> list[int]:
    """For each position the bit set of what it reaches; visited in post-order, so that without
    cycles the second pass only confirms the first."""
    order = _post_order(direct)
    reach = [0] * len(direct)
    changed = True
    while changed:
        changed = False
        for position in order:
            mask = 0
            for following in direct[position]:
                mask |= reach[following] | 1 << following
            if mask != reach[position]:
                reach[position] = mask
                changed = True
    return reach


def _post_order(direct: Sequence[Sequence[int]]) -> list[int]:
    order: list[int] = []
    seen = [False] * len(direct)
    for root in range(len(direct)):
        stack = [] if seen[root] else [(root, 0)]
        seen[root] = True
        while stack:
            position, child = stack.pop()
            if child < len(direct[position]):
                stack.append((position, child + 1))
                following = direct[position][child]
                if not seen[following]:
                    seen[following] = True
                    stack.append((following, 0))
            else:
                order.append(position)
    return order
