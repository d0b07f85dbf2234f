# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet as plain data, for return values and inventories.

Only what the fleet is made of: values of ``config``, of environment variables and of settings stay
out, because startup configs have been seen to hold passwords and keys.
"""

from __future__ import annotations

from typing import Any, Optional

from .dependencies import DependencyGraph, resolve
from .model import Agent, Fleet, HostConfig, PortClaim, Problem


def to_document(fleet: Fleet) -> dict[str, Any]:
    """``{hosts, agents, layers, cycles, unknown_dependencies, problems}``, all lists in a stable order."""
    graph = resolve(fleet)
    radii = graph.blast_radii()
    return {
        "hosts": [_host(host) for host in fleet.hosts],
        "agents": [_agent(agent, graph, radii[agent.id]) for agent in fleet],
        "layers": [[str(identity) for identity in layer] for layer in graph.layers],
        "cycles": [[str(identity) for identity in cycle] for cycle in graph.cycles],
        "unknown_dependencies": [
            {"agent": str(agent), "dependency": dependency.name, "location": str(dependency.location)}
            for agent, dependency in graph.unknown
        ],
        "problems": [problem_document(problem) for problem in fleet.problems],
    }


def problem_document(problem: Problem) -> dict[str, Any]:
    return {
        "rule": problem.rule,
        "severity": problem.severity,
        "host": problem.host,
        "agent": problem.agent,
        "file": problem.location.file,
        "line": problem.location.line,
        "message": problem.message,
        "expected": problem.expected,
        "found": problem.found,
        "key": problem.key,
    }


def problem_line(problem: Problem) -> str:
    """``file:line: rule: message``, one line for a person."""
    return f"{problem.location}: {problem.rule}: {problem.message}"


def _host(host: HostConfig) -> dict[str, Any]:
    return {
        "name": host.host,
        "file": host.file,
        "agents": [agent.name for agent in host.agents],
        "groups": sorted({agent.group for agent in host.agents if agent.group}),
        "ports": [_port(claim) for claim in host.ports],
        "environment_names": sorted(host.environment),
        "resource_limits": dict(host.resource_limits),
        "health_checks": dict(host.health_checks),
    }


def _agent(agent: Agent, graph: DependencyGraph, dependants: int) -> dict[str, Any]:
    return {
        "id": str(agent.id),
        "host": agent.host,
        "name": agent.name,
        "group": agent.group,
        "script_path": agent.script_path,
        "port": _number(agent.port),
        "health_check_port": _number(agent.health_check_port),
        "other_ports": [_port(claim) for claim in agent.other_ports],
        "required": agent.required,
        "enabled": agent.enabled,
        "bind_host": agent.bind_host,
        "dependencies": [dependency.name for dependency in agent.dependencies],
        "resolved_dependencies": [str(target) for target in graph.edges[agent.id]],
        "dependants": dependants,
        "layer": graph.layer_of[agent.id],
        "environment_names": sorted(agent.environment),
        "file": agent.location.file,
        "line": agent.location.line,
    }


def _number(claim: Optional[PortClaim]) -> Optional[int]:
    return claim.number if claim is not None else None


def _port(claim: PortClaim) -> dict[str, Any]:
    return {"key": claim.key, "port": claim.number, "listens": claim.listens, "line": claim.location.line}
