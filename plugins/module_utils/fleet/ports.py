# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port space of a host: who claims which port, by its config and by what the agents do.

Findings are written elsewhere; here are only the facts they need. Everything is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, NamedTuple, Optional, Union

from .model import Agent, HostConfig, PortClaim


class Claim(NamedTuple):
    """A port and who claims it; ``agent`` is None where the host's config does so itself."""

    agent: Optional[Agent]
    port: PortClaim

    def member(self, host: str) -> str:
        """``host:Agent``, or ``host:error_bus_port`` where no agent claims it."""
        return f"{host}:{self.agent.name if self.agent else self.port.key}"


@dataclass(frozen=True)
class Collision:
    """One port that several claim. ``port`` is None where the number hangs on a variable without a
    value; ``base`` then says ``(variable, constant)``, which is the same port for every value."""

    port: Optional[int]
    members: tuple[Claim, ...]
    base: Optional[tuple[str, int]] = None


class PortRange(NamedTuple):
    """A range that the config itself declares, both ends included; ``key`` is its dotted path."""

    key: str
    start: int
    end: int


def claims(host: HostConfig) -> tuple[Claim, ...]:
    """Every port that the host's config declares as listening, of agents that are enabled, in the order
    of the file."""
    found: list[Claim] = []
    for agent in host.agents:
        if agent.enabled:
            declared = (agent.port, agent.health_check_port, *agent.other_ports)
            found.extend(Claim(agent, port) for port in declared if port is not None and port.listens)
    found.extend(Claim(None, port) for port in host.ports if port.listens)
    return tuple(found)


def implied(agent: Agent) -> tuple[PortClaim, ...]:
    """Ports that an agent on the shared base class opens beside those in its config: its health port
    is ``port + 1`` where the config names none, and above the health port it serves HTTP."""
    health = agent.health_check_port
    opened: list[PortClaim] = []
    if health is None and agent.port is not None:
        health = _above(agent.port, "port+1")
        opened.append(health)
    if health is not None:
        opened.append(_above(health, f"{health.key}+1"))
    return tuple(opened)


def _above(claim: PortClaim, key: str) -> PortClaim:
    number = None if claim.number is None else claim.number + 1
    base = None if claim.base is None else (claim.base[0], claim.base[1] + 1)
    return PortClaim(key, number, f"{claim.raw}+1", claim.location, True, base)


def collisions(host: HostConfig, *, beside: Iterable[Claim] = ()) -> tuple[Collision, ...]:
    """Ports that more than one listener claims, by number. ``beside`` adds claims that the config does
    not show (:func:`implied`, or ports found in the scripts).

    Within one agent only ``port`` and ``health_check_port`` exclude each other: a second-level key such
    as ``config.prometheus_port`` that repeats the agent's own port names the same listener.
    """
    places: dict[Union[int, tuple[str, int]], list[Claim]] = {}
    for claim in (*claims(host), *beside):
        place = claim.port.number if claim.port.number is not None else claim.port.base
        if place is not None:
            places.setdefault(place, []).append(claim)
    found = []
    for place, members in places.items():
        if _exclude_each_other(members):
            number, base = (place, None) if isinstance(place, int) else (None, place)
            found.append(Collision(number, tuple(members), base))
    return tuple(sorted(found, key=lambda hit: (hit.port is None, hit.port or 0, hit.base or ("", 0))))


def _exclude_each_other(members: list[Claim]) -> bool:
    owners = {claim.agent.name if claim.agent else f"\0{claim.port.key}" for claim in members}
    own = {claim.port.key for claim in members} & {"port", "health_check_port"}
    return len(owners) > 1 or len(own) > 1


def declared_ranges(host: HostConfig) -> tuple[PortRange, ...]:
    """Mappings of the settings with ``start`` and ``end`` under a key that ends in ``ports``
    (``pc2_network.agent_ports``)."""
    found = []
    waiting: list[tuple[str, Mapping[str, object]]] = [("", host.settings)]
    while waiting:
        path, mapping = waiting.pop(0)
        for key, value in mapping.items():
            inner = f"{path}.{key}" if path else key
            if not isinstance(value, dict):
                continue
            start, end = value.get("start"), value.get("end")
            if key.endswith("ports") and isinstance(start, int) and isinstance(end, int):
                found.append(PortRange(inner, start, end))
            else:
                waiting.append((inner, value))
    return tuple(found)
