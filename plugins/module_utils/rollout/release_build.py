# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a host's release out of a project and a startup config, on the controller.

The same input gives the same release, byte for byte, whoever builds it and wherever the project lies.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, field, replace
from typing import Any, Collection, Mapping, Optional, Protocol

from ..errors import ContinuityError
from ..fleet.model import Agent, AgentId, HostConfig
from ..fleet.source_tree import ScriptError
from ..journal.chain import canonical
from . import start_script
from .agent_rules import AgentRules, bind_address, probe_of, unit_of
from .fingerprints import files_of, fingerprint
from .model import Release, ReleasedAgent
from .project_files import ProjectFile, tree_digest
from .release_archive import pack
from .release_document import check_agent_name, document_digest, from_document, to_document

BUILD_FORMAT = 1
"""Goes up when the same input would give another release than before."""

UNREADABLE = frozenset({"G-parse", "G-lost-agents", "G-no-agents"})
"""Problems with which a config does not say which agents a host has."""


class BuildError(ContinuityError):
    """Input from which no release can be made."""


class Closure(Protocol):
    """What an import closure says (``fleet.source_tree.ImportClosure``)."""

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def dynamic(self) -> bool: ...


class Imports(Protocol):
    """Finds what a script imports (``fleet.source_tree.SourceTree``)."""

    def import_closure(self, script_path: str, environment: Mapping[str, str]) -> Closure: ...


@dataclass(frozen=True)
class HostInput:
    """What one host's release is made of, beside the project.

    ``config_content`` are the bytes of the startup config, ``values`` resolve expressions, ``address``
    is where agents listen (None: as each declares), ``python`` the interpreter on the host.
    """

    config: HostConfig
    config_content: bytes
    python: str
    address: Optional[str] = None
    rules: AgentRules = field(default_factory=AgentRules)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BuiltRelease:
    """A release and what it takes to pack it. Paths of units are relative to the host root."""

    release: Release
    document: Mapping[str, Any]
    scripts: Mapping[str, bytes]
    project: Mapping[str, ProjectFile]

    def archive(self) -> bytes:
        """The archive for the host. Raises ProjectError when the project changed meanwhile."""
        code = {f"code/{path}": file.read() for path, file in self.project.items()}
        return pack(self.document, {**code, **self.scripts})


def default_id(project: Mapping[str, ProjectFile], hosts: Collection[HostInput]) -> str:
    """``r-`` and 12 hexadecimal digits: the same on all hosts of a fleet, another for other content."""
    content = {
        "format": BUILD_FORMAT,
        "project": tree_digest(project),
        "hosts": {
            host.config.host: {
                "config": hashlib.sha256(host.config_content).hexdigest(),
                "python": host.python,
                "address": host.address,
                "rules": [dict(rule) for rule in host.rules.rules],
                "values": dict(host.values),
            }
            for host in hosts
        },
    }
    return f"r-{hashlib.sha256(canonical(content).encode()).hexdigest()[:12]}"


def build(
    host: HostInput,
    release_id: str,
    project: Mapping[str, ProjectFile],
    imports: Imports,
    edges: Mapping[AgentId, tuple[AgentId, ...]],
    layer_of: Mapping[AgentId, int],
) -> BuiltRelease:
    """The release of one host. ``edges`` and ``layer_of`` are those of the whole fleet.

    Raises BuildError for a config that does not say which agents there are and for a script that cannot be
    started; RuleError, VariableError, ReleaseError for an agent that cannot be run.
    """
    _check(host.config)
    config_name = posixpath.basename(host.config.file)
    scripts: dict[str, bytes] = {f"config/{config_name}": host.config_content}
    agents: dict[str, ReleasedAgent] = {}
    for agent in host.config.agents:
        if agent.enabled:
            released, script = _agent(agent, host, project, imports, release_id, config_name)
            depends = tuple(str(other) for other in edges.get(agent.id, ()))
            agents[agent.name] = replace(released, layer=layer_of.get(agent.id, 0), dependencies=depends)
            scripts[f"units/{agent.name}"] = script
    files = {
        **{f"code/{path}": _entry(file.sha256, file.size, file.mode) for path, file in project.items()},
        **{
            path: _entry(
                hashlib.sha256(content).hexdigest(), len(content), 0o755 if path.startswith("units/") else 0o644
            )
            for path, content in scripts.items()
        },
    }
    document = to_document(Release(release_id, host.config.host, "", agents, files))
    document["digest"] = document_digest(document)
    return BuiltRelease(from_document(document, ""), document, scripts, project)


def _agent(
    agent: Agent,
    host: HostInput,
    project: Mapping[str, ProjectFile],
    imports: Imports,
    release_id: str,
    config_name: str,
) -> tuple[ReleasedAgent, bytes]:
    check_agent_name(agent.name)
    rule = host.rules.of(agent)
    bind = bind_address(agent, host.address)
    unit, probe = unit_of(agent, rule, bind), probe_of(agent, rule, bind)
    environment = start_script.environment_of(agent, host.config, host.values, bind)
    try:
        closure = imports.import_closure(agent.script_path, {**host.config.environment, **agent.environment})
    except ScriptError as error:
        raise BuildError(f"{agent.id}: {error.what}", where=str(agent.script_location), fix=error.fix) from error
    script = posixpath.normpath(agent.script_path)
    if script not in project:
        raise BuildError(
            f"the script {script} is left out of releases",
            where=str(agent.script_location),
            fix="Look at .continuityignore",
        )
    made_of = files_of(agent, script, closure.files, closure.dynamic, environment, project)
    content = start_script.write(
        agent, environment, release=release_id, python=host.python, script=script, config=config_name
    )
    released = ReleasedAgent(
        name=agent.name,
        script_path=script,
        fingerprint=fingerprint(agent, made_of, project, environment, unit, probe, host.python),
        unit=unit,
        probe=probe,
        required=agent.required is not False,
    )
    return released, content


def _check(config: HostConfig) -> None:
    for problem in config.problems:
        if problem.rule in UNREADABLE:
            raise BuildError(
                problem.message, where=str(problem.location), fix="Run the audit playbook, then mend the config"
            )
    if not any(agent.enabled for agent in config.agents):
        raise BuildError("the startup config names no agent", where=config.file)


def _entry(sha256: str, size: int, mode: int) -> dict[str, Any]:
    return {"sha256": sha256, "size": size, "mode": mode}
