# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk C: the ports of each host. Every port that a config declares as listening counts: those of the
agents, second-level ones such as ``config.zmq_port``, and the host's own such as ``error_bus_port``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Collection, Iterator, Optional

from ..fleet.expressions import expand, is_expression
from ..fleet.model import Agent, Fleet, HostConfig, PortClaim
from ..fleet.ports import Claim, PortRange, claims, collisions, declared_ranges
from . import risk_g_config
from .findings import Finding

PRIVILEGED = 1024


def find(fleet: Fleet, port_range: tuple[int, int], allowed: Collection[int]) -> Iterator[Finding]:
    yield from risk_g_config.reported(fleet, "C")
    for host in fleet.hosts:
        at_zero = _at_zero(host)
        yield from _collisions(at_zero)
        ranges = declared_ranges(host)
        for claim in claims(at_zero):
            if not _repeats_own_port(claim):
                yield from _placed(host, claim, port_range, allowed, ranges)
        yield from _unresolved(host)
        yield from _half_moved(host)


def _at_zero(host: HostConfig) -> HostConfig:
    """The same ports with every variable that has no value taken for 0: what is left of
    ``${PORT_OFFSET}+7100`` when nobody sets it, and what makes all ports comparable."""

    def known(claim: Optional[PortClaim]) -> Optional[PortClaim]:
        return replace(claim, number=claim.base[1]) if claim is not None and claim.base is not None else claim

    def every(ports: tuple[PortClaim, ...]) -> tuple[PortClaim, ...]:
        return tuple(found for found in (known(port) for port in ports) if found is not None)

    agents = tuple(
        replace(
            agent,
            port=known(agent.port),
            health_check_port=known(agent.health_check_port),
            other_ports=every(agent.other_ports),
        )
        for agent in host.agents
    )
    return replace(host, agents=agents, ports=every(host.ports))


def _assumed(*found: PortClaim) -> dict[str, Any]:
    variables = sorted({claim.base[0] for claim in found if claim.base is not None})
    return {"assumes": dict.fromkeys(variables, 0)} if variables else {}


def _collisions(host: HostConfig) -> Iterator[Finding]:
    for collision in collisions(host):
        first = collision.members[0].port
        members = list(dict.fromkeys(claim.member(host.host) for claim in collision.members))
        shown = " and ".join(_shown(claim) for claim in collision.members)
        ports = [claim.port for claim in collision.members]
        only = collision.members[0].agent if len(members) == 1 else None
        yield Finding(
            "C-collision",
            "critical",
            host.host,
            only.name if only else None,
            first.location.file,
            first.location.line,
            f"port {collision.port} is claimed by {shown}",
            {
                "port": collision.port,
                "members": members,
                "claims": [
                    {"member": claim.member(host.host), "key": claim.port.key, "at": str(claim.port.location)}
                    for claim in collision.members
                ],
                **_assumed(*ports),
            },
        )


def _shown(claim: Claim) -> str:
    return f"{claim.agent.name} ({claim.port.key})" if claim.agent else f"the host's {claim.port.key}"


def _repeats_own_port(claim: Claim) -> bool:
    """``config.prometheus_port`` with the number of the agent's own port names the same listener."""
    if claim.agent is None or not claim.port.key.startswith("config."):
        return False
    own = (claim.agent.port, claim.agent.health_check_port)
    return any(port is not None and port.number == claim.port.number for port in own)


def _placed(
    host: HostConfig, claim: Claim, port_range: tuple[int, int], allowed: Collection[int], ranges: tuple[PortRange, ...]
) -> Iterator[Finding]:
    port, number = claim.port, claim.port.number
    if number is None or number in allowed:
        return
    low, high = port_range
    own = _own_range(claim, ranges)
    evidence: dict[str, Any] = {"port": number, "key": port.key, **_assumed(port)}
    if own is not None and not own.start <= number <= own.end:
        evidence["declared_range"] = {"key": own.key, "start": own.start, "end": own.end}
    if number < PRIVILEGED:
        rule, severity = "C-privileged", "critical"
        message = f"{port.key} {number} is privileged (below {PRIVILEGED})"
    elif not low <= number <= high:
        rule, severity = "C-range", "warning"
        message = f"{port.key} {number} is outside of {low} to {high}"
        evidence["range"] = [low, high]
    elif "declared_range" in evidence and own is not None:
        rule, severity = "C-range", "info"
        message = (
            f"{port.key} {number} is outside of {own.start} to {own.end}, which the config itself declares as {own.key}"
        )
    else:
        return
    agent = claim.agent.name if claim.agent else None
    yield Finding(rule, severity, host.host, agent, port.location.file, port.location.line, message, evidence)


def _own_range(claim: Claim, ranges: tuple[PortRange, ...]) -> Optional[PortRange]:
    """The range that the config declares for this kind of port (``agent_ports``, ``health_check_ports``)."""
    wanted = {"port": ("agent_ports",), "health_check_port": ("health_check_ports", "health_ports")}
    names = wanted.get(claim.port.key, ()) if claim.agent else ()
    return next((found for found in ranges if found.key.rpartition(".")[2] in names), None)


def _unresolved(host: HostConfig) -> Iterator[Finding]:
    """Ports of the host itself; those of agents are reported by the reader."""
    for port in host.ports:
        if port.number is None and _variables(port):
            message = f"{port.key} cannot be resolved without a value for {', '.join(_variables(port))}"
            place = port.location
            evidence = {"key": port.key, "found": str(port.raw)}
            yield Finding("C-expression", "warning", host.host, None, place.file, place.line, message, evidence)


def _half_moved(host: HostConfig) -> Iterator[Finding]:
    """Ports that an offset tears apart: somebody else's port that moves with it, and a plain number
    among agents that all move."""
    moving = [agent for agent in host.agents if _variables(agent.port)]
    names = sorted({name for agent in moving for name in _variables(agent.port)})
    for agent in host.agents:
        for port in agent.other_ports:
            if not port.listens and _variables(port):
                message = (
                    f"{port.key} ({port.raw}) moves with {', '.join(_variables(port))}, but is somebody else's port"
                )
                yield _torn(host, agent, port, message)
    if 2 * len(moving) <= len(host.agents):
        return
    for agent in host.agents:
        plain = [
            port
            for port in (agent.port, agent.health_check_port)
            if port is not None and not is_expression(str(port.raw))  # one with a default of its own moves too
        ]
        if plain:
            shown = ", ".join(f"{port.key} {port.raw}" for port in plain)
            stay = "stays" if len(plain) == 1 else "stay"
            message = f"{shown} {stay} where {len(moving)} agents of this host move with {', '.join(names)}"
            yield _torn(host, agent, plain[0], message)


def _variables(port: Optional[PortClaim]) -> tuple[str, ...]:
    raw = port.raw if port is not None else ""
    return expand(raw, {}).missing if isinstance(raw, str) and is_expression(raw) else ()


def _torn(host: HostConfig, agent: Agent, port: PortClaim, message: str) -> Finding:
    evidence = {"key": port.key, "found": str(port.raw)}
    return Finding(
        "C-expression",
        "warning",
        host.host,
        agent.name,
        port.location.file,
        port.location.line,
        message,
        evidence,
        "Let all ports of the host's own agents move, and nothing else",
    )
