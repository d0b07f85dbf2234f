# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout would do, as a pure function: the same input gives the same plan and the same hash."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional, Sequence, Union

from ..errors import ContinuityError
from ..fleet.model import AgentId
from ..journal.chain import canonical
from .blast_radius import BlastRadius
from .model import Plan, Touched
from .plan_document import to_document
from .waves import Ordered, cut, one_wave, share_out


class PlanError(ContinuityError):
    """The rollout cannot be planned as it was asked for."""


@dataclass(frozen=True)
class TargetAgent:
    """One agent as the release wants it. ``dependencies`` are ``host:Name``, on any host."""

    fingerprint: str
    layer: int = 0
    dependencies: tuple[str, ...] = ()
    brief_interruption: bool = False
    required: bool = True


@dataclass(frozen=True)
class CurrentAgent:
    """One agent as the host has it: the fingerprint that its link points at (None when that release
    is gone), and whether its process runs."""

    fingerprint: Optional[str]
    runs: bool = True


@dataclass(frozen=True)
class HostState:
    """One host: the release that it shall run, and what it has now (``previous`` is the release that
    it runs now, None before the first one)."""

    host: str
    release: str
    digest: str
    target: Mapping[str, TargetAgent]
    current: Mapping[str, CurrentAgent] = field(default_factory=dict)
    previous: Optional[str] = None


@dataclass(frozen=True)
class Options:
    """How the operator wants the rollout to go.

    ``waves`` are sizes: numbers are agents, percentages are of all touched agents, the last repeats.
    ``max_unavailable`` is a number or a percentage of all agents of the planned hosts.
    ``redundant_pairs`` lists groups of ``host:Name`` of which never two are in one wave. Hosts that
    ``host_order`` does not name come after those that it names, smallest first. ``follow`` lists
    globs of ``host:Name``: such agents are replaced whenever something that they depend on is.
    ``parallel`` bounds what one host replaces at a time.
    """

    waves: Sequence[Union[int, str]] = (1, 5, "25%", "100%")
    max_unavailable: Union[int, str] = "10%"
    redundant_pairs: Sequence[Sequence[str]] = ()
    host_order: Sequence[str] = ()
    follow: Sequence[str] = ()
    parallel: int = 8
    bake_seconds: float = 30.0
    deadman_seconds: float = 180.0


FIRST_PARALLEL = 16
"""How many agents a first release starts at a time: nothing serves yet, so nothing is away."""


def make_plan(hosts: Sequence[HostState], options: Options) -> Plan:
    """The plan that moves ``hosts`` to their releases.

    Raises PlanError for options that do not fit (a pair that names an unknown agent, a bad size).
    """
    if not hosts:
        raise PlanError("there is no host to plan for", fix="Check the inventory and --limit")
    targets = {AgentId(state.host, name): agent for state in hosts for name, agent in state.target.items()}
    total = len(targets)
    limit = _amount(options.max_unavailable, total, "max_unavailable", round_up=False)
    pairs = _pairs(options.redundant_pairs, hosts, targets)
    radius = BlastRadius({agent: _identities(target.dependencies) for agent, target in targets.items()})
    touched = _touched(hosts, targets, options.follow, radius)
    rank = _host_rank(hosts, options.host_order)
    ordered = _order(touched, targets, radius, rank)
    parallel = max(1, options.parallel)
    if all(state.previous is None for state in hosts):
        waves = one_wave(ordered, radius, FIRST_PARALLEL)
    else:
        sizes = [_amount(size, len(ordered), "waves", round_up=True) for size in options.waves] or [len(ordered)]
        waves = cut(ordered, sizes, pairs=pairs, limit=limit, parallel=parallel, radius=radius)
    releases = {state.host: state.release for state in hosts}
    plan = Plan(
        release=_common_name(releases),
        request_hash=_request_hash(hosts, options),
        plan_hash="",
        previous={state.host: state.previous for state in hosts},
        touched=tuple(touched[item.agent] for item in ordered),
        waves=waves,
        releases=releases,
        shares=share_out({state.host: max(1, len(state.target)) for state in hosts}, limit, parallel),
        cycles=tuple(tuple(str(agent) for agent in cycle) for cycle in radius.cycles),
        max_unavailable=limit,
        bake_seconds=float(options.bake_seconds),
        deadman_seconds=float(options.deadman_seconds),
    )
    return replace(plan, plan_hash=hash_of(plan))


def hash_of(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of the plan without its own hash."""
    document = to_document(plan)
    del document["plan_hash"]
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def _request_hash(hosts: Sequence[HostState], options: Options) -> str:
    asked: dict[str, Any] = {
        "hosts": {state.host: {"release": state.release, "digest": state.digest} for state in hosts},
        "waves": [str(size) for size in options.waves],
        "max_unavailable": str(options.max_unavailable),
        "redundant_pairs": [list(pair) for pair in options.redundant_pairs],
        "host_order": list(options.host_order),
        "follow": list(options.follow),
        "parallel": options.parallel,
        "bake_seconds": float(options.bake_seconds),
        "deadman_seconds": float(options.deadman_seconds),
    }
    return hashlib.sha256(canonical(asked).encode()).hexdigest()


def _common_name(releases: Mapping[str, str]) -> str:
    names = set(releases.values())
    if len(names) == 1:
        return names.pop()
    return "r-" + hashlib.sha256(canonical(dict(releases)).encode()).hexdigest()[:12]


def _amount(size: Union[int, str], total: int, option: str, *, round_up: bool) -> int:
    text = str(size).strip()
    digits = text[:-1] if text.endswith("%") else text
    if not digits.isdigit() or int(digits) == 0:
        raise PlanError(
            f"{option} holds {size!r}", fix='Give a number of agents above 0, or a percentage such as "25%"'
        )
    if not text.endswith("%"):
        return int(digits)
    exact = int(digits) * total / 100
    return max(1, math.ceil(exact) if round_up else math.floor(exact))


def _identities(names: Sequence[str]) -> tuple[AgentId, ...]:
    return tuple(AgentId(*name.split(":", 1)) for name in names)


def _pairs(
    groups: Sequence[Sequence[str]], hosts: Sequence[HostState], targets: Mapping[AgentId, TargetAgent]
) -> dict[AgentId, frozenset[AgentId]]:
    planned = {state.host for state in hosts}
    partners: dict[AgentId, frozenset[AgentId]] = {}
    for group in groups:
        for name in group:
            host, separator, agent = str(name).partition(":")
            if not separator:
                raise PlanError(f"redundant_pairs names {name!r}", fix="Name an agent as host:Name")
            if host in planned and AgentId(host, agent) not in targets:
                raise PlanError(f"redundant_pairs names {name}, which is no agent of {host}")
        members = frozenset(_identities(group)) & frozenset(targets)
        for member in members:
            partners[member] = partners.get(member, frozenset()) | (members - {member})
    return partners


def _touched(
    hosts: Sequence[HostState],
    targets: Mapping[AgentId, TargetAgent],
    follow: Sequence[str],
    radius: BlastRadius,
) -> dict[AgentId, Touched]:
    found: dict[AgentId, Touched] = {}
    for state in hosts:
        for name in sorted(set(state.target) | set(state.current)):
            reason = _reason(state.target.get(name), state.current.get(name))
            if reason:
                target = state.target.get(name)
                brief = target.brief_interruption if target else True
                found[AgentId(state.host, name)] = Touched(state.host, name, reason, brief)
    leaders = sorted(agent for agent, touched in found.items() if touched.reason in ("new", "changed"))
    for agent in radius.dependants(leaders) if follow else ():
        if agent not in found and any(fnmatchcase(str(agent), glob) for glob in follow):
            leader = next(leader for leader in leaders if radius.depends(agent, leader))
            brief = targets[agent].brief_interruption
            found[agent] = Touched(agent.host, agent.name, "follows", brief, f"depends on {leader}")
    return found


def _reason(target: Optional[TargetAgent], current: Optional[CurrentAgent]) -> Optional[str]:
    if target is None:
        return "removed"
    if current is None:
        return "new"
    if target.fingerprint != current.fingerprint:
        return "changed"
    return None if current.runs else "down"


def _host_rank(hosts: Sequence[HostState], host_order: Sequence[str]) -> dict[str, int]:
    named = {host: position for position, host in enumerate(host_order)}
    last = len(named)
    ordered = sorted(hosts, key=lambda state: (named.get(state.host, last), len(state.target), state.host))
    return {state.host: position for position, state in enumerate(ordered)}


def _order(
    touched: Mapping[AgentId, Touched],
    targets: Mapping[AgentId, TargetAgent],
    radius: BlastRadius,
    rank: Mapping[str, int],
) -> list[Ordered]:
    """The touched agents once each: canary, then by layer, host, blast radius and name; an agent that
    goes away stands right before the first new one of its host, which may want its port."""

    def key(agent: AgentId) -> tuple[int, int, int, str]:
        return targets[agent].layer, rank[agent.host], radius.size(agent), agent.name

    def canary_key(agent: AgentId) -> tuple[bool, int, int, bool, str]:
        target = targets[agent]
        return touched[agent].reason == "new", rank[agent.host], radius.size(agent), target.required, agent.name

    staying = sorted((agent for agent in touched if agent in targets), key=key)
    if staying:
        canary = min(staying, key=canary_key)
        staying.remove(canary)
        staying.insert(0, canary)
    leaving = sorted((agent for agent in touched if agent not in targets), key=lambda agent: (rank[agent.host], agent))
    order: list[AgentId] = []
    for agent in staying:
        if touched[agent].reason == "new":
            order += [gone for gone in leaving if gone.host == agent.host]
            leaving = [gone for gone in leaving if gone.host != agent.host]
        order.append(agent)
    order += leaving
    return [
        Ordered(agent, frozenset(_identities(targets[agent].dependencies)) if agent in targets else frozenset())
        for agent in order
    ]
