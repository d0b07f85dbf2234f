# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents that a file declares and no loader starts.

A group that is indented one level too deep, or that a duplicate key has replaced, parses without an
error. So every mapping that names a script, wherever it stands, is compared with what was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import AbstractSet, Sequence

from .agent_entry import entry_name, names_script
from .model import Location
from .reading import Reading
from .yaml_document import Node

_NOT_AGENTS = ("overrides",)
"""Top-level keys whose entries only change agents that stand elsewhere."""

_NOT_OF_THE_FLEET = ("config", "params", "startup")
"""Keys of an agent under which it may name scripts of its own."""


@dataclass(frozen=True)
class LostAgent:
    """A mapping that names a script and was not read; ``path`` is where it stands, in dots."""

    name: str
    location: Location
    path: str


def find(root: Node, read: AbstractSet[int], names: AbstractSet[str]) -> list[LostAgent]:
    """Mappings with a script whose identity (``id`` of the node) is not in ``read``. A replaced entry
    of a duplicate key counts only when no agent of its name (one of ``names``) was read."""
    lost: list[LostAgent] = []
    visited: set[int] = set()
    waiting: list[tuple[Node, str, Location, str, bool]] = [(root, "", root.location, "", False)]
    while waiting:
        node, key, location, path, replaced = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        agent = node.kind == "mapping" and names_script(node)
        if agent and id(node) not in read:
            name = entry_name(node) or key or f"(line {location.line})"
            if not (replaced and name in names):
                lost.append(LostAgent(name, location, path))
        waiting.extend(reversed(_inside(node, path, replaced, agent)))
    return sorted(lost, key=lambda agent: agent.location.line)


def _inside(node: Node, path: str, replaced: bool, agent: bool) -> list[tuple[Node, str, Location, str, bool]]:
    inside = []
    for entries, gone in ((node.shadowed, True), (node.entries.values(), False)):
        for entry in entries:
            if entry.key not in (_NOT_OF_THE_FLEET if agent else _NOT_AGENTS if not path else ()):
                place = f"{path}.{entry.key}" if path else entry.key
                inside.append((entry.node, entry.key, Location(node.file, entry.line), place, replaced or gone))
    for index, item in enumerate(node.items):
        inside.append((item, "", item.location, f"{path}[{index}]", replaced))
    return inside


def report(lost: Sequence[LostAgent], reading: Reading) -> None:
    """One problem for each place that holds lost agents, naming all of them with their lines."""
    places: dict[tuple[str, str], list[LostAgent]] = {}
    for agent in lost:
        place = agent.path.rpartition("[")[0] if agent.path.endswith("]") else agent.path.rpartition(".")[0]
        places.setdefault((agent.location.file, place), []).append(agent)
    for (_file, place), agents in places.items():
        named = ", ".join(f"{agent.name} (line {agent.location.line})" for agent in agents)
        reading.report(
            "G-lost-agents",
            f"declared where no agent is looked for, so never started{_depth(place)}: {named}",
            agents[0].location,
            agent=agents[0].name if len(agents) == 1 else None,
            expected="agents directly in a group or in a list of agents",
            found=f"inside {place or 'the top level'}",
            key=place,
            agents=[agent.name for agent in agents],
        )


def _depth(place: str) -> str:
    parts = place.split(".")
    if parts[0] != "agent_groups" or "[" in place or len(parts) == 2:
        return ""
    return " (a level too deep)" if len(parts) > 2 else " (a level too shallow: not in a group)"
