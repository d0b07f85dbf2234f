# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where agents stand in a startup config: found by shape, in every layout and mixture of layouts.

* ``agent_groups: {group: {Agent: {…}}}``, a group also as a list of named entries;
* any top-level list with entries that name a script (``pc2_services``, ``core_services``, …);
* any top-level mapping whose members name a script (``mvs_services``).

What stands where an agent is expected and is none is a ``G-malformed-entry``; what names a script and
stands where no loader looks for an agent is left to :mod:`lost_agents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional

from .agent_entry import NAME, entry_name, looks_like_agent, names_script
from .model import Location
from .reading import Reading
from .yaml_document import Node

BESIDE_AGENTS = frozenset(("include", "machine_profiles", "overrides", "global_settings"))
"""Top-level keys that never hold agents to start."""

AGENT_LISTS = frozenset(("pc2_services", "core_services"))
"""Top-level keys that hold agents whatever stands there."""

NO_AGENTS = {"group_config": "info", "description": "warning", "agents": "warning"}
"""Members that groups are known to have beside their agents, and how bad that is: a loader that knows
nothing of them fails on a string or a list, and not on a mapping."""


@dataclass(frozen=True)
class Candidate:
    """An entry that is meant to be an agent; ``listed`` says that its name stood inside of it."""

    node: Node
    name: str
    location: Location
    group: str
    listed: bool


def candidates(root: Node, reading: Reading) -> Iterator[Candidate]:
    """Every agent of one document, in the order of the file."""
    for key, entry in root.entries.items():
        node = entry.node
        if key == "agent_groups":
            yield from _groups(node, root.location_of(key), reading)
        elif key in BESIDE_AGENTS:
            continue
        elif key in AGENT_LISTS or _holds_agents(node):
            yield from _container(key, node, root.location_of(key), reading)


def holds_agents(root: Node, key: str) -> bool:
    """Whether a top-level key holds agents (and is therefore no setting)."""
    node = root.get(key)
    return key == "agent_groups" or key in AGENT_LISTS or (node is not None and _holds_agents(node))


def _holds_agents(node: Node) -> bool:
    return any(child.kind == "mapping" and names_script(child) for child in node.inside())


def _groups(node: Node, location: Location, reading: Reading) -> Iterator[Candidate]:
    if node.kind == "sequence":
        yield from _listed("agent_groups", node, reading)
    elif node.kind == "scalar":
        _malformed(
            "agent_groups", node, location, reading, "a mapping of groups", "info" if _empty(node) else "critical"
        )
    for group, entry in node.entries.items():
        if not names_script(entry.node):
            yield from _container(group, entry.node, node.location_of(group), reading)


def _container(group: str, node: Node, location: Location, reading: Reading) -> Iterator[Candidate]:
    if node.kind == "sequence":
        yield from _listed(group, node, reading)
    elif node.kind == "mapping":
        yield from _named(group, node, reading)
    else:
        _malformed(group, node, location, reading, "a group of agents", "info" if _empty(node) else "critical")


def _named(group: str, node: Node, reading: Reading) -> Iterator[Candidate]:
    for name, entry in node.entries.items():
        location = Location(entry.node.file, entry.line)
        meant = name not in NO_AGENTS and looks_like_agent(entry.node) and not _holds_agents(entry.node)
        if names_script(entry.node) or meant:
            if _usable(name, entry.node, location, reading):
                yield Candidate(entry.node, name, location, group, listed=False)
        elif not _holds_agents(entry.node):
            weight = _weight(name, entry.node)
            _malformed(f"{group}.{name}", entry.node, location, reading, "an agent", weight, agent=name)


def _listed(group: str, node: Node, reading: Reading) -> Iterator[Candidate]:
    for index, item in enumerate(node.items):
        name = entry_name(item)
        if not (names_script(item) or looks_like_agent(item)):
            if not _holds_agents(item):
                _malformed(f"{group}[{index}]", item, item.location, reading, "an agent", "critical", agent=name)
        elif name is None:
            _malformed(f"{group}[{index}]", item, item.location, reading, "an agent with a name", "critical")
        elif _usable(name, item, item.location, reading):
            yield Candidate(item, name, item.location, group, listed=True)


def _weight(name: str, node: Node) -> str:
    if node.kind == "mapping" and node.entries and set(node.entries) <= set(NO_AGENTS):
        return "warning"
    return NO_AGENTS.get(name, "critical")


def _empty(node: Node) -> bool:
    return node.kind == "scalar" and node.value is None


def _usable(name: str, node: Node, location: Location, reading: Reading) -> bool:
    if NAME.match(name):
        return True
    reading.refused.add(id(node))
    reading.report(
        "G-malformed-entry",
        f"{name!r} cannot be the name of an agent: it has to name a folder and a unit",
        location,
        expected="letters, digits, '_', '-' and '.', at most 128",
        found=name[:80],
    )
    return False


def _malformed(
    key: str,
    node: Node,
    location: Location,
    reading: Reading,
    expected: str,
    severity: str,
    *,
    agent: Optional[str] = None,
) -> None:
    reading.refused.add(id(node))
    reading.report(
        "G-malformed-entry",
        f"{key} should be {expected}, here stands {node.describe()}",
        location,
        severity=severity,
        agent=agent,
        expected=expected,
        found=node.describe(),
        key=key,
    )
