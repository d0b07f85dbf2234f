# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One startup config for several machines: which of its agents are this host's, and what differs.

* ``machine_profiles.<host>`` may list its ``agent_groups`` (or ``groups``) and its ``agents``; what it
  does not list is not this host's. Without such a list every agent is.
* ``overrides.<Agent>`` and ``overrides.<host>.<Agent>`` replace single keys of an agent's entry.

Hosts are compared without case, ``-`` and ``_``. Everything else in both is a setting.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Collection, Mapping, Optional, Sequence

from .agent_entry import looks_like_agent
from .layouts import Candidate
from .reading import Reading
from .yaml_document import Node

_GROUP_LISTS = ("agent_groups", "groups")
_AGENT_LISTS = ("agents",)


@dataclass(frozen=True)
class Profile:
    """``groups`` and ``agents`` are None where the profile does not list them."""

    groups: Optional[frozenset[str]] = None
    agents: Optional[frozenset[str]] = None
    overrides: Mapping[str, Node] = field(default_factory=dict)

    def selects(self, name: str, group: str) -> bool:
        if self.groups is None and self.agents is None:
            return True
        return group in (self.groups or ()) or name in (self.agents or ())


def profile_of(documents: Sequence[Node], found: Collection[Candidate], reading: Reading) -> Profile:
    """The last document that says something of this host has the word."""
    groups: Optional[frozenset[str]] = None
    agents: Optional[frozenset[str]] = None
    overrides: dict[str, Node] = {}
    names = {candidate.name for candidate in found}
    for root in documents:
        profile = _of_host(root.get("machine_profiles"), reading.host)
        if profile is not None:
            groups = _listed(profile, _GROUP_LISTS, {candidate.group for candidate in found}, reading)
            agents = _listed(profile, _AGENT_LISTS, names, reading)
        general = root.get("overrides")
        for holder in filter(None, (general, _of_host(general, reading.host))):
            for key, entry in holder.entries.items():
                if key in names and entry.node.kind == "mapping":
                    overrides[key] = overridden(overrides.get(key, entry.node), entry.node)
                elif looks_like_agent(entry.node):
                    reading.report(
                        "G-schema",
                        f"overrides {key}, which this config does not declare",
                        holder.location_of(key),
                        severity="warning",
                        expected="the name of an agent of this config",
                        found=key,
                        key=f"overrides.{key}",
                    )
    return Profile(groups, agents, overrides)


def overridden(entry: Node, override: Optional[Node]) -> Node:
    """The entry with the override's keys in place of its own."""
    return entry if override is None else replace(entry, entries={**entry.entries, **override.entries})


def _of_host(holder: Optional[Node], host: str) -> Optional[Node]:
    for key, entry in holder.entries.items() if holder is not None else ():
        if _normal(key) == _normal(host):
            return entry.node
    return None


def _normal(host: str) -> str:
    return host.lower().replace("-", "").replace("_", "")


def _listed(profile: Node, keys: Sequence[str], known: Collection[str], reading: Reading) -> Optional[frozenset[str]]:
    for key in keys:
        node = profile.get(key)
        if node is None or node.kind != "sequence":
            continue
        for item in node.items:
            if item.text not in known:
                reading.report(
                    "G-schema",
                    f"the profile of {reading.host} names {item.describe()} in {key}, which this config does not declare",
                    item.location,
                    severity="warning",
                    expected="a name that stands in this config",
                    found=item.describe(),
                    key=f"machine_profiles.{key}",
                )
        return frozenset(item.text for item in node.items)
    return None
