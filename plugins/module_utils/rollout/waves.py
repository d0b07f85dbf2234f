# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An order of agents, cut into waves that respect pairs, hosts and the limit of absences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from ..fleet.model import AgentId
from .blast_radius import BlastRadius
from .model import Wave


@dataclass(frozen=True)
class Ordered:
    """An agent at its place in the order, with what it depends on."""

    agent: AgentId
    dependencies: frozenset[AgentId]


def cut(
    ordered: Sequence[Ordered],
    sizes: Sequence[int],
    *,
    pairs: Mapping[AgentId, frozenset[AgentId]],
    limit: int,
    parallel: int,
    radius: BlastRadius,
) -> tuple[Wave, ...]:
    """Waves of at most ``sizes`` agents (the last size repeats).

    An agent waits for the next wave when its partner is in this one, when this one already spans
    ``limit`` hosts (each of them has one agent away at least), or when something that it depends on
    has to wait. The first agent left over always fits into an empty wave, so this ends.
    """
    waves: list[Wave] = []
    left = list(ordered)
    while left:
        size = sizes[min(len(waves), len(sizes) - 1)]
        taken: list[AgentId] = []
        members: set[AgentId] = set()
        hosts: set[str] = set()
        postponed: set[AgentId] = set()
        waiting: list[Ordered] = []
        for position, item in enumerate(left):
            if len(taken) == size:
                waiting += left[position:]
                break
            too_many_hosts = item.agent.host not in hosts and len(hosts) == limit
            if too_many_hosts or members & pairs.get(item.agent, frozenset()) or postponed & item.dependencies:
                postponed.add(item.agent)
                waiting.append(item)
                continue
            taken.append(item.agent)
            members.add(item.agent)
            hosts.add(item.agent.host)
        waves.append(_wave(len(waves) + 1, taken, limit, parallel, radius))
        left = waiting
    return tuple(waves)


def one_wave(ordered: Sequence[Ordered], radius: BlastRadius, parallel: int) -> tuple[Wave, ...]:
    """All at once, for hosts on which nothing serves yet."""
    if not ordered:
        return ()
    agents = [item.agent for item in ordered]
    return (_wave(1, agents, limit=len(agents), parallel=parallel, radius=radius),)


def share_out(wanted: Mapping[str, int], limit: int, parallel: int) -> dict[str, int]:
    """Splits ``limit`` over hosts in proportion to what each wants, at least 1 each, at most
    ``parallel`` and at most what it wants. The sum is at most ``limit`` unless there are more hosts."""
    total = sum(wanted.values())
    shares = {
        host: max(1, min(parallel, amount, limit * amount // max(total, 1))) for host, amount in sorted(wanted.items())
    }
    while sum(shares.values()) > max(limit, len(shares)):
        largest = max(sorted(shares), key=lambda host: shares[host])
        shares[largest] -= 1
    spare = limit - sum(shares.values())
    for host in sorted(shares, key=lambda name: (-wanted[name], name)):
        extra = max(0, min(spare, parallel - shares[host], wanted[host] - shares[host]))
        shares[host] += extra
        spare -= extra
    return shares


def _wave(number: int, agents: Sequence[AgentId], limit: int, parallel: int, radius: BlastRadius) -> Wave:
    by_host: dict[str, list[str]] = {}
    for agent in agents:
        by_host.setdefault(agent.host, []).append(agent.name)
    return Wave(
        number=number,
        agents={host: tuple(names) for host, names in by_host.items()},
        parallel=share_out({host: len(names) for host, names in by_host.items()}, limit, parallel),
        blast_radius=radius.of(agents),
    )
