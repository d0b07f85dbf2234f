# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host really runs, beside what its ledger and a release say; reads and asks, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Optional

from ..effects import Health, Probe, ProcessStatus, Unit
from .ledger import LedgerState
from .model import Release, ReleasedAgent
from .release_document import ReleaseError
from .running import RunningCode

if TYPE_CHECKING:
    from ..host import Host

ANSWER_WITHIN = 5.0
"""Seconds that all probes together get."""
WELL = ("healthy", "degraded")
"""Answers of an agent that need no rollout: one that is degraded is not mended by the same release."""


@dataclass(frozen=True)
class AgentState:
    """One agent: the release that its serving slot leads to (None: none), that release's fingerprint of
    it, its process, its health (None when it was not asked because it does not run)."""

    release: Optional[str]
    fingerprint: Optional[str]
    process: ProcessStatus
    health: Optional[Health]


@dataclass(frozen=True)
class Observation:
    """``differences`` says in sentences what is not as the target release wants it; empty means that
    there is nothing to do."""

    ledger: LedgerState
    agents: Mapping[str, AgentState]
    differences: tuple[str, ...]


def observe(host: Host, target: Optional[Release]) -> Observation:
    """Look at every agent that has a slot and every agent of ``target`` (None: it is not staged)."""
    ledger = host.ledger.state()
    pointers = host.releases.pointers()
    releases = _load(host, {release for slots in pointers.values() for release in slots.values()}, target)
    names = sorted({*pointers, *(target.agents if target else ())})
    processes = host.supervisor.status(names)
    serving = {name: pointers.get(name, {}).get(processes[name].slot) for name in names}
    known = {name: _agent_of(releases, serving[name], name) for name in names}
    probes: list[Probe] = [
        agent.probe for name, agent in known.items() if agent is not None and processes[name].state == "running"
    ]
    answers = host.prober.probe(probes, deadline=ANSWER_WITHIN) if probes else {}
    agents = {
        name: AgentState(
            serving[name],
            agent.fingerprint if agent is not None else None,
            processes[name],
            answers.get(name),
        )
        for name, agent in known.items()
    }
    if target is None:
        return Observation(ledger, agents, ("the release is not staged",))
    differences = [
        *_differences(host, ledger, agents, target),
        *(
            f"{name}: its slot {slot} leads to {release}"
            for name, slots in pointers.items()
            for slot, release in slots.items()
            if release not in (target.id, serving[name]) and name in target.agents
        ),
    ]
    return Observation(ledger, agents, tuple(differences))


def linked_units(host: Host) -> list[Unit]:
    """The units that the host is to have now: each agent's, of the release that its slot leads to."""
    pointers = host.releases.pointers()
    releases = _load(host, {release for slots in pointers.values() for release in slots.values()}, None)
    found = (_agent_of(releases, slots.get("blue") or slots.get("green"), name) for name, slots in pointers.items())
    return [agent.unit for agent in found if agent is not None]


def changed_files(rendered: Mapping[str, str]) -> dict[str, Optional[str]]:
    """Files that are not as rendered, with what they hold now (None: absent)."""
    changed: dict[str, Optional[str]] = {}
    for path, wanted in rendered.items():
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                content: Optional[str] = file.read()
        except FileNotFoundError:
            content = None
        if content != wanted:
            changed[path] = content
    return changed


def to_plain(observation: Observation) -> dict[str, Any]:
    """``host_state`` as modules return it."""
    ledger = observation.ledger
    run = ledger.unfinished
    return {
        "current": ledger.current,
        "previous": ledger.previous,
        "quarantined": sorted(ledger.quarantined),
        "unfinished": None
        if run is None
        else {
            "run": run.run,
            "plan_hash": run.plan_hash,
            "request_hash": run.request_hash,
            "release": run.release,
            "previous": run.previous,
            "stage": run.stage,
            "waves_activated": list(run.waves_activated),
            "waves_verified": list(run.waves_verified),
            "activated_agents": list(run.activated_agents),
            "restore_point": run.restore_point,
        },
        "agents": {
            name: {
                "release": agent.release,
                "fingerprint": agent.fingerprint,
                "process": agent.process.state,
                "status": agent.health.status if agent.health is not None else "unknown",
            }
            for name, agent in observation.agents.items()
        },
    }


def _differences(host: Host, ledger: LedgerState, agents: Mapping[str, AgentState], target: Release) -> Iterator[str]:
    if ledger.current != target.id:
        yield f"the current release is {ledger.current or 'none'}, not {target.id}"
    if ledger.unfinished is not None:
        yield f"the rollout of {ledger.unfinished.release} is unfinished ({ledger.unfinished.stage})"
    if not host.daemon_runs():
        yield "the supervisor does not run"
    code = RunningCode(host.releases, target)
    for name, agent in agents.items():
        if name not in target.agents:
            yield f"{name}: is not part of {target.id}"
        elif agent.release != target.id:
            yield f"{name}: its slot leads to {agent.release or 'nothing'}"
        elif agent.process.state != "running":
            yield f"{name}: {agent.process.state}"
        elif not code.is_target(agent.process):
            yield f"{name}: runs what it was started with, not what {target.id} has"
        elif agent.health is None or agent.health.status not in WELL:
            yield f"{name}: {agent.health.status if agent.health is not None else 'not asked'}"
    for path in changed_files(host.supervisor.render([agent.unit for agent in target.agents.values()])):
        yield f"{path}: not as {target.id} has it"


def _load(host: Host, ids: set[str], target: Optional[Release]) -> dict[str, Release]:
    releases = {} if target is None else {target.id: target}
    for release_id in sorted(ids - releases.keys()):
        try:
            releases[release_id] = host.releases.load(release_id)
        except ReleaseError:
            continue  # a slot that leads to a release that is gone: seen as an agent without fingerprint
    return releases


def _agent_of(releases: Mapping[str, Release], release_id: Optional[str], name: str) -> Optional[ReleasedAgent]:
    release = releases.get(release_id) if release_id is not None else None
    return release.agents.get(name) if release is not None else None
