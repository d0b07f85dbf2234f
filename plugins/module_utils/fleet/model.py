# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fleet is: hosts, agents, and where each was declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Iterator, Mapping, NamedTuple, Optional, Union


class AgentId(NamedTuple):
    """The identity of an agent. The same name may live on two hosts, so a name alone is none."""

    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}:{self.name}"


@dataclass(frozen=True)
class Location:
    """A place in a configuration file; ``line`` counts from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a startup config, with what was expected and what stood there.

    ``rule`` is one of the audit's G rules (``G-parse`` …), ``C-expression`` (a port that cannot be
    resolved), ``B-type`` (dependencies that are not a list of names) or ``B-duplicate`` (the same agent
    declared twice on a host); ``severity`` is ``critical warning info``. ``members`` are the agents that
    it concerns where they may be several, as ``host:Agent``.
    """

    rule: str
    message: str
    location: Location
    host: str
    severity: str = "critical"
    agent: Optional[str] = None
    expected: str = ""
    found: str = ""
    key: str = ""
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class PortClaim:
    """A port that an agent declares. ``key`` is the dotted path of the key (``port``,
    ``health_check_port``, ``config.zmq_port``); ``listens`` is False where the key names somebody
    else's port (``config.redis.port``); ``number`` is None when the expression could not be resolved.
    ``base`` is then ``(variable, constant)`` where it is one variable plus a constant: two ports with
    the same base are equal whatever the variable is."""

    key: str
    number: Optional[int]
    raw: Union[int, str]
    location: Location
    listens: bool = True
    base: Optional[tuple[str, int]] = None


@dataclass(frozen=True)
class Dependency:
    """A name as it stands in ``dependencies``."""

    name: str
    location: Location


@dataclass(frozen=True)
class Agent:
    """One supervised long-running service, as declared.

    ``required`` is None when the key is absent, or when it is an expression that cannot be resolved.
    ``raw`` is the whole entry as plain values; ``enabled`` is False only where the config says so.
    """

    id: AgentId
    location: Location
    script_path: str
    script_location: Location
    group: Optional[str] = None
    port: Optional[PortClaim] = None
    health_check_port: Optional[PortClaim] = None
    other_ports: tuple[PortClaim, ...] = ()
    required: Optional[bool] = None
    enabled: bool = True
    dependencies: tuple[Dependency, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    bind_host: Optional[str] = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.id.host

    @property
    def name(self) -> str:
        return self.id.name


@dataclass(frozen=True)
class HostConfig:
    """One host's startup config: its file, its settings, its agents in the order of the file.

    Each agent once: where a name is declared twice the last declaration stands, as in YAML itself, and
    a problem names both. ``ports`` are claims of the host itself (``error_bus_port``). ``settings`` is
    everything at top level that is no agent, as plain values.
    """

    host: str
    file: str
    agents: tuple[Agent, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    resource_limits: Mapping[str, Any] = field(default_factory=dict)
    health_checks: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    ports: tuple[PortClaim, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """All agents on all hosts. Iterating yields agents, hosts in the given order."""

    hosts: tuple[HostConfig, ...]

    def __iter__(self) -> Iterator[Agent]:
        return (agent for host in self.hosts for agent in host.agents)

    def __len__(self) -> int:
        return sum(len(host.agents) for host in self.hosts)

    @cached_property
    def agents(self) -> Mapping[AgentId, Agent]:
        return {agent.id: agent for agent in self}

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for host in self.hosts for problem in host.problems)
