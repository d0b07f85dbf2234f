# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk A: scripts that are not there, or that are and cannot be started."""

from __future__ import annotations

import posixpath
from typing import Iterator

from ..fleet.model import Agent, Fleet
from ..fleet.source_file import PYTHON
from ..fleet.source_tree import ScriptError, ScriptOutsideRoot
from .findings import Finding
from .projects import Projects
from .startup import Failure


def find(fleet: Fleet, projects: Projects) -> Iterator[Finding]:
    for agent in fleet:
        if agent.script_path:
            yield from _of_agent(agent, projects)


def _of_agent(agent: Agent, projects: Projects) -> Iterator[Finding]:
    place = agent.script_location
    try:
        source = projects.tree.script(agent.script_path)
    except ScriptError as error:
        rule = "A-outside-root" if isinstance(error, ScriptOutsideRoot) else "A-missing"
        evidence = {"script_path": agent.script_path}
        yield Finding(
            rule, "critical", agent.host, agent.name, place.file, place.line, error.what, evidence, error.fix or ""
        )
        return
    if not source.is_python:
        return
    failure = source.failure or source.not_as_script
    if failure is not None:
        evidence = {"script_path": agent.script_path, "python": PYTHON, "error": failure.message}
        message = f"{source.path} {failure.sentence}"
        yield Finding("A-syntax", "critical", agent.host, agent.name, source.path, failure.line, message, evidence)
        return
    for found in projects.startup(agent, source.path).script(source.path):
        yield _import(agent, source.path, found)


def _import(agent: Agent, script: str, failure: Failure) -> Finding:
    evidence = {"kind": failure.kind, "name": failure.subject, "when": failure.when}
    message = failure.message
    if failure.when == "later":
        message += " (not at the start, but when that code runs)"
    if failure.file != script:
        evidence["imported_by"] = script
        message = f"{posixpath.basename(script)} loads {failure.file}, which {message}"
    severity = "critical" if failure.when == "start" else "warning"
    return Finding("A-import", severity, agent.host, agent.name, failure.file, failure.line, message, evidence)
