# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing running agents by those of a release: what going forward and going back have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Collection, Optional, Sequence

from ..effects import Outcome
from .model import ReleasedAgent
from .sampling import probe_all

if TYPE_CHECKING:
    from ..host import Host


@dataclass(frozen=True)
class Batch:
    """What became of a batch: an outcome per agent, and seconds in all. ``ok`` is True when every one is."""

    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def failures(self) -> list[str]:
        return [f"{outcome.agent}: {outcome.message}" for outcome in self.outcomes if not outcome.ok]

    def to_plain(self) -> dict[str, Any]:
        return {outcome.agent: asdict(outcome) for outcome in self.outcomes}


def by_layer(agents: Sequence[ReleasedAgent], *, reverse: bool = False) -> list[list[str]]:
    """The agents' names layer by layer, dependencies first, or last when going back."""
    ordered = sorted(agents, key=lambda agent: agent.layer, reverse=reverse)
    return [[agent.name for agent in layer] for _number, layer in groupby(ordered, key=lambda agent: agent.layer)]


def replace_agents(
    host: Host,
    release_id: str,
    layers: Sequence[Sequence[str]],
    *,
    parallel: int,
    timeout: float,
    stop_at_failure: bool = True,
) -> list[Outcome]:
    """Take over the agents of each layer in turn, pointing their slots at the release.

    With ``stop_at_failure`` the layers after one in which an agent failed are not begun, and their
    agents are failed outcomes too.
    """
    deadline = host.clock.monotonic() + timeout
    outcomes: list[Outcome] = []
    failed = False
    for layer in layers:
        left = deadline - host.clock.monotonic()
        if left <= 0 or (failed and stop_at_failure):
            reason = "not begun: an agent of an earlier layer failed" if left > 0 else f"not begun within {timeout:g} s"
            outcomes += [Outcome(agent, False, reason) for agent in layer]
            continue
        taken = host.supervisor.take_over(
            layer, lambda agent, slot: host.releases.point(agent, slot, release_id), timeout=left, parallel=parallel
        )
        outcomes += [taken[agent] for agent in layer]
        failed = failed or not all(outcome.ok for outcome in taken.values())
    return outcomes


def wait_until_healthy(
    host: Host, agents: Sequence[ReleasedAgent], *, timeout: float, tolerated: Collection[str] = ()
) -> dict[str, str]:
    """Probe until all answer healthy (or degraded, if ``tolerated``); what those that do not said
    last, empty when all do."""
    deadline = host.clock.monotonic() + timeout
    waiting = list(agents)
    while True:
        health = probe_all(host.prober, waiting)
        waiting = [
            agent
            for agent in waiting
            if health[agent.name].status != "healthy"
            and not (health[agent.name].status == "degraded" and agent.name in tolerated)
        ]
        left = deadline - host.clock.monotonic()
        if not waiting or left <= 0:
            break
        host.clock.sleep(min(0.2, left))
    return {
        agent.name: f"{health[agent.name].status}: {health[agent.name].message or health[agent.name].word}"
        for agent in waiting
    }


def with_health(outcomes: Sequence[Outcome], sick: dict[str, str], timeout: float) -> tuple[Outcome, ...]:
    """The outcomes, failed for those that did not become healthy."""
    return tuple(
        replace(outcome, ok=False, message=f"not healthy within {timeout:g} s ({sick[outcome.agent]})")
        if outcome.ok and outcome.agent in sick
        else outcome
        for outcome in outcomes
    )


def stop_agents(host: Host, agents: Sequence[str], *, parallel: int, timeout: float) -> list[Outcome]:
    """Stop agents that the host shall not run any more, and make their slots lead nowhere."""
    if not agents:
        return []
    stopped = host.supervisor.stop(agents, timeout=timeout, parallel=parallel)
    for agent in agents:
        if stopped[agent].ok:
            for slot in host.releases.pointers().get(agent, {}):
                host.releases.remove_pointer(agent, slot)
    return [stopped[agent] for agent in agents]


def point_all(host: Host, agents: Collection[str], release_id: str) -> list[str]:
    """Lead every slot of these agents to the release without touching a process; those that moved."""
    pointers = host.releases.pointers()
    moved = []
    for agent in sorted(set(agents) & set(pointers)):
        behind = [slot for slot, pointed in pointers[agent].items() if pointed != release_id]
        for slot in behind:
            host.releases.point(agent, slot, release_id)
        if behind:
            moved.append(agent)
    return moved


def first_problem(problems: Sequence[str], limit: int = 5) -> Optional[str]:
    """A sentence of at most ``limit`` problems; None when there are none."""
    if not problems:
        return None
    more = f", and {len(problems) - limit} more" if len(problems) > limit else ""
    return "; ".join(problems[:limit]) + more
