# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Startup configs in, the fleet out, with everything that is wrong in them.

Nothing here raises for what is wrong in or with a file. A file that is no YAML, or none that could be
trusted, yields no agents and a ``G-parse``; everything else is read as far as it goes and reported at
once. The rules of the problems are those of :class:`model.Problem`.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Mapping, Sequence

from ..errors import ContinuityError
from . import declared_ports, lost_agents
from .agent_entry import environment_of, read_agent
from .config_files import read_documents
from .layouts import Candidate, candidates, holds_agents
from .machine_profiles import Profile, overridden, profile_of
from .model import Agent, Fleet, HostConfig, Location, PortClaim, Problem
from .reading import Reading
from .schema import SETTINGS, check
from .yaml_document import Node

NO_VALUES: Mapping[str, str] = MappingProxyType({})


def load_fleet(configs: Sequence[tuple[str, str]], *, values: Mapping[str, str] = NO_VALUES) -> Fleet:
    """Read one startup config for each ``(host, path)``. ``values`` resolve ``${…}`` expressions.

    Raises ContinuityError only for a host that is given twice.
    """
    hosts: set[str] = set()
    for host, _path in configs:
        if host in hosts:
            raise ContinuityError("a host has one startup config", where=host, fix="Give each host once")
        hosts.add(host)
    return Fleet(tuple(load_host(host, path, values=values) for host, path in configs))


def load_host(host: str, path: str, *, values: Mapping[str, str] = NO_VALUES) -> HostConfig:
    """Read the startup config of one host, with what it includes."""
    reading = Reading(host, values)
    documents = read_documents(path, reading)
    found = [candidate for root in documents for candidate in candidates(root, reading)]
    agents = _agents(documents, found, path, reading)
    settings: dict[str, Any] = {}
    ports: list[PortClaim] = []
    for root in documents:
        _check_settings(root, reading)
        ports.extend(declared_ports.host_level(root, values))
        settings.update({key: entry.node.plain() for key, entry in root.entries.items() if not holds_agents(root, key)})
    environment = _environment(documents, reading)
    return HostConfig(
        host=host,
        file=path,
        agents=agents,
        environment=environment,
        resource_limits=_setting(settings, "resource_limits"),
        health_checks=_setting(settings, "health_checks"),
        settings=settings,
        ports=tuple(ports),
        problems=_in_order(reading.problems, found, documents),
    )


def _agents(documents: Sequence[Node], found: Sequence[Candidate], path: str, reading: Reading) -> tuple[Agent, ...]:
    profile = profile_of(documents, found, reading)
    agents: dict[str, Agent] = {}
    for candidate in found:
        if profile.selects(candidate.name, candidate.group):
            agent = _read(candidate, profile, reading)
            if agent.name in agents:
                _report_twice(agents.pop(agent.name), agent, reading)
            agents[agent.name] = agent
    read = reading.refused.union(id(candidate.node) for candidate in found)
    names = {candidate.name for candidate in found}
    lost = [agent for root in documents for agent in lost_agents.find(root, read, names)]
    if found:
        lost_agents.report(lost, reading)
    elif not any(_unreadable(problem, path) for problem in reading.problems):
        _report_none(lost, path, reading)
    if found and not agents:
        message = f"the profile of {reading.host} selects none of the {len(found)} agents"
        reading.report("G-no-agents", message, Location(path, 1), expected="a profile with agents", found="none")
    return tuple(agents.values())


def _unreadable(problem: Problem, path: str) -> bool:
    return problem.rule == "G-parse" and problem.location.file == path and problem.key != "include"


def _read(candidate: Candidate, profile: Profile, reading: Reading) -> Agent:
    return read_agent(
        overridden(candidate.node, profile.overrides.get(candidate.name)),
        candidate.name,
        candidate.location,
        reading,
        group=candidate.group,
        listed=candidate.listed,
    )


def _report_twice(first: Agent, second: Agent, reading: Reading) -> None:
    reading.report(
        "B-duplicate",
        f"{second.name} is declared twice on {reading.host}: in {first.group} ({first.location}) and in"
        f" {second.group} ({second.location}); the last one stands",
        second.location,
        agent=second.name,
        expected="each name once on a host",
        found=f"lines {first.location.line} and {second.location.line}",
    )


def _report_none(lost: Sequence[lost_agents.LostAgent], path: str, reading: Reading) -> None:
    named = ", ".join(f"{agent.name} (line {agent.location.line})" for agent in lost[:20])
    more = f" and {len(lost) - 20} more" if len(lost) > 20 else ""
    reading.report(
        "G-no-agents",
        f"no agent can be read from this file, though it names {len(lost)} scripts: {named}{more}"
        if lost
        else "no agent can be read from this file",
        lost[0].location if lost else Location(path, 1),
        expected="agent_groups with groups of agents, or a list of agents with name and script_path",
        found=f"{len(lost)} scripts outside of any group or list of agents" if lost else "no script_path at all",
        agents=[agent.name for agent in lost],
    )


def _check_settings(root: Node, reading: Reading) -> None:
    for violation in check(root, SETTINGS):
        reading.report(
            "G-schema",
            f"{violation.key}: {violation.message}" if violation.key else violation.message,
            violation.location,
            severity=violation.severity,
            expected=violation.expected,
            found=violation.found,
            key=violation.key,
        )


def _environment(documents: Sequence[Node], reading: Reading) -> dict[str, str]:
    """Of ``global_settings`` and of the top level; the latter has the last word, as it came later."""
    nodes = []
    for root in documents:
        general = root.get("global_settings")
        nodes += [general.get("environment") if general is not None else None, root.get("environment")]
    return environment_of(nodes, reading)


def _setting(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A mapping that stands in ``global_settings``, at top level, or split over both."""
    merged: dict[str, Any] = {}
    outer = settings.get("global_settings")
    for holder in (outer if isinstance(outer, dict) else {}, settings):
        if isinstance(holder.get(key), dict):
            merged.update(holder[key])
    return merged


def _in_order(
    problems: Sequence[Problem], found: Sequence[Candidate], documents: Sequence[Node]
) -> tuple[Problem, ...]:
    """By file (the host's own first) and line; a duplicate key inside an agent's entry is that agent's."""
    files = {root.file: index for index, root in enumerate(reversed(documents))}
    owners = _owners(found) if any(problem.rule == "G-duplicate-key" for problem in problems) else {}
    return tuple(
        sorted(
            (_attributed(problem, owners) for problem in problems),
            key=lambda problem: (files.get(problem.location.file, -1), problem.location.line),
        )
    )


def _owners(found: Sequence[Candidate]) -> dict[Location, str]:
    """Where an agent's own key stands, and where a key is repeated inside of its entry."""
    owners: dict[Location, str] = {}
    for candidate in found:
        if not candidate.listed:
            owners[candidate.location] = candidate.name
        waiting = [candidate.node]
        while waiting:
            node = waiting.pop()
            for gone in node.shadowed:
                owners.update(
                    dict.fromkeys((Location(node.file, gone.line), node.location_of(gone.key)), candidate.name)
                )
            waiting.extend(node.inside())
    return owners


def _attributed(problem: Problem, owners: Mapping[Location, str]) -> Problem:
    if problem.rule != "G-duplicate-key":
        return problem
    return replace(problem, agent=owners.get(problem.location))
