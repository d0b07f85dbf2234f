# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state and the configuration of every agent of a host, as one document (docs/backup.md).

It travels through controllers and mails, so it shows no credential (``fleet/credentials.py``).
"""

from __future__ import annotations

import os
import platform
from typing import Any, Mapping, Optional

from ..effects import Clock, Runner
from ..errors import ContinuityError
from ..fleet.credentials import shown
from ..fleet.dependencies import resolve
from ..fleet.model import Agent, AgentId, Dependency, Fleet, HostConfig, Location
from ..fleet.startup_config import load_host
from ..host import NAME, Host, open_host
from ..repository.layout import timestamp
from ..rollout.observation import AgentState, observe

FORMAT = "fleetops.continuity agent states"


def host_states(root: str, host: str, runner: Runner, clock: Clock) -> dict[str, Any]:
    """This host's part of the document; a root without agents has none. ``error`` says why there are none on a
    host that should have some: a broken host is backed up all the same."""
    described: dict[str, Any] = {"taken": timestamp(clock.now()), "root": root, "system": _system(), "error": ""}
    nothing: dict[str, Any] = {"address": None, "release": None, "settings": {}, "agents": {}}
    if not os.path.exists(os.path.join(root, NAME)):
        return {**described, **nothing}
    try:
        return {**described, **_agents(open_host(root, runner=runner, clock=clock))}
    except ContinuityError as error:
        return {**described, **nothing, "error": str(error)}


def _agents(opened: Host) -> dict[str, Any]:
    current = opened.ledger.state().current
    seen = observe(opened, opened.releases.load(current) if current else None)
    config = _config(opened)
    declared = {agent.name: agent for agent in config.agents} if config else {}
    return {
        "address": opened.address,
        "release": {
            "current": seen.ledger.current,
            "previous": seen.ledger.previous,
            "quarantined": sorted(seen.ledger.quarantined),
            "unfinished": seen.ledger.unfinished.release if seen.ledger.unfinished else None,
        },
        "settings": shown(config.settings) if config else {},
        "agents": {
            name: {
                "config": shown(declared[name].raw) if name in declared else None,
                "group": declared[name].group if name in declared else None,
                "dependencies": [one.name for one in declared[name].dependencies] if name in declared else [],
                "state": _state(seen.agents[name]) if name in seen.agents else None,
            }
            for name in sorted({*declared, *seen.agents})
        },
    }


def document(hosts: Mapping[str, Mapping[str, Any]], clock: Clock) -> dict[str, Any]:
    """The whole document: every host that was asked, and how the fleet is built."""
    return {
        "format": FORMAT,
        "version": 1,
        "timestamp": timestamp(clock.now()),
        "agents": sum(len(host["agents"]) for host in hosts.values()),
        "architecture": architecture(hosts),
        "hosts": dict(hosts),
    }


def architecture(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who depends on whom, and in which layers they start; names are ``host:Agent``."""
    nowhere = Location("", 0)
    configs = []
    for host, described in hosts.items():
        agents = (
            Agent(
                AgentId(host, name),
                nowhere,
                script_path="",
                script_location=nowhere,
                dependencies=tuple(Dependency(str(one), nowhere) for one in agent["dependencies"]),
            )
            for name, agent in described["agents"].items()
        )
        configs.append(HostConfig(host, "", tuple(agents)))
    graph = resolve(Fleet(tuple(configs)))
    return {
        "dependencies": {str(agent): sorted(map(str, needed)) for agent, needed in sorted(graph.edges.items())},
        "start_order": [sorted(map(str, layer)) for layer in graph.layers],
    }


def _config(host: Host) -> Optional[HostConfig]:
    folder = os.path.join(host.root, "current", "config")
    names = sorted(name for name in os.listdir(folder)) if os.path.isdir(folder) else []
    return load_host(host.name, os.path.join(folder, names[0])) if names else None


def _state(agent: AgentState) -> dict[str, Any]:
    process, health = agent.process, agent.health
    return {
        "release": agent.release,
        "fingerprint": agent.fingerprint,
        "process": process.state,
        "pid": process.pid,
        "since": timestamp(process.since) if process.since else None,
        "restarts": process.restarts,
        "health": health.status if health else "unknown",
        "answer": health.word if health else "",
        "errors": health.errors if health else None,
    }


def _system() -> dict[str, Any]:
    return {
        "name": os.uname().nodename,
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
    }
