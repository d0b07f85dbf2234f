# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk D: agents that do not stand on the shared base class, from their syntax trees."""

from __future__ import annotations

from typing import Iterator

from ..fleet.model import Agent, Fleet
from ..fleet.source_tree import ScriptError
from .findings import Finding
from .inheritance import Standing
from .projects import Projects


def find(fleet: Fleet, projects: Projects) -> Iterator[Finding]:
    """A script that is missing is risk A's, and not judged here."""
    for agent in fleet:
        if not agent.script_path:
            continue
        try:
            script = projects.tree.script(agent.script_path).path
        except ScriptError:
            continue
        standing = projects.inheritance(agent, script).of(script, agent.name)
        yield from _findings(agent, script, standing, projects.base.name)


def _findings(agent: Agent, script: str, standing: Standing, base: str) -> Iterator[Finding]:
    evidence = {"chain": list(standing.chain)} if standing.chain else {}

    def finding(rule: str, severity: str, line: int, message: str, file: str = script) -> Finding:
        return Finding(rule, severity, agent.host, agent.name, file, line, message, evidence)

    if standing.kind == "unparsed":
        why = standing.detail if standing.file == script else f"{standing.file} {standing.detail}"
        message = f"whether it stands on {base} cannot be told: {why}"
        yield finding("D-unparsed", "critical", standing.line, message, standing.file)
    elif standing.kind == "none":
        line = standing.line if standing.file == script else 1
        yield finding("D-none", "warning", line, f"does not stand on {base}{_what(standing)}")
    elif standing.kind == "stub":
        where = "a local class" if standing.file == script else f"the class in {standing.file}"
        message = f"stands on {where} that is only called {base}"
        yield finding("D-stub", "warning", standing.line, message, standing.file)
    elif standing.kind == "indirect":
        line = standing.line if standing.file == script else 1
        message = f"stands on {base} through {' -> '.join(standing.chain)}"
        yield finding("D-indirect", "info", line, message)
    if standing.fallback is not None:
        message = f"carries a local class {base} that silently takes the place of the real one when its import fails"
        yield finding("D-stub", "info", standing.fallback, message)


def _what(standing: Standing) -> str:
    if standing.detail:
        return f": it {standing.detail}"
    return f": its class is {standing.chain[0].rpartition(':')[2]}" if standing.chain else ": it has no class"
