# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project tree as the agents of a fleet use it: what is worked out once for all that share it."""

from __future__ import annotations

from typing import Mapping

from ..fleet.model import Agent, AgentId, Fleet
from ..fleet.source_tree import ScriptError, SearchPath, SourceTree
from .inheritance import BaseClass, Inheritance
from .startup import Startup


class Projects:
    """Analyses by search path: agents that look for modules in the same folders share one."""

    def __init__(self, tree: SourceTree, fleet: Fleet, base: BaseClass) -> None:
        self.tree = tree
        self.base = base
        self._environments: Mapping[AgentId, Mapping[str, str]] = {
            agent.id: {**host.environment, **agent.environment} for host in fleet.hosts for agent in host.agents
        }
        self._first_party = self._own_packages(fleet)
        self._startups: dict[SearchPath, Startup] = {}
        self._inheritances: dict[SearchPath, Inheritance] = {}

    def startup(self, agent: Agent, script: str) -> Startup:
        path = self._path(agent, script)
        if path not in self._startups:
            self._startups[path] = Startup(self.tree, path, self._first_party)
        return self._startups[path]

    def inheritance(self, agent: Agent, script: str) -> Inheritance:
        path = self._path(agent, script)
        if path not in self._inheritances:
            self._inheritances[path] = Inheritance(self.tree, path, self.base)
        return self._inheritances[path]

    def _path(self, agent: Agent, script: str) -> SearchPath:
        return self.tree.search_path(script, self._environments[agent.id])

    def _own_packages(self, fleet: Fleet) -> frozenset[str]:
        """Top-level folders without ``__init__.py`` that really are the project's packages: those that
        hold a script, and those from which some script's import succeeds."""
        own: set[str] = set()
        for agent in fleet:
            try:
                script = self.tree.script(agent.script_path).path
            except ScriptError:
                continue
            if "/" in script:
                own.add(script.partition("/")[0])
            path = self._path(agent, script)
            for name in self.tree.import_closure(agent.script_path, self._environments[agent.id]).files:
                for imported in self.tree.file(name).imports:
                    top = imported.module.partition(".")[0]
                    if imported.level or not top or top in own:
                        continue
                    found = self.tree.find(imported.module, path)
                    if found is not None and found.executed and not found.missing:
                        own.add(top)
        return frozenset(own)
