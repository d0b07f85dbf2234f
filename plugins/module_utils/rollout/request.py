# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ``release`` module found on every host, turned into a decision: begin, resume, refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Sequence

from .model import Plan
from .plan import CurrentAgent, HostState, Options, PlanError, TargetAgent, make_plan
from .plan_document import size

BEGIN, RESUME, NOTHING = "begin", "resume", "nothing"


@dataclass(frozen=True)
class Decision:
    """``action`` is ``begin``, ``resume`` or ``nothing``; ``unfinished`` maps each host with an
    unfinished rollout to how far it is; ``why`` is a sentence for the operator."""

    action: str
    plan: Plan
    why: str
    unfinished: Mapping[str, str]


def read_host(host: str, result: Mapping[str, Any]) -> HostState:
    """A host from the result of its ``release`` task. Raises PlanError when a key is missing."""
    try:
        release, state = result["release"], result["host_state"]
        target = {
            name: TargetAgent(
                fingerprint=agent["fingerprint"],
                layer=agent["layer"],
                dependencies=tuple(agent["dependencies"]),
                brief_interruption=agent["brief_interruption"],
                required=agent["required"],
            )
            for name, agent in release["agents"].items()
        }
        current = {
            name: CurrentAgent(agent["fingerprint"], runs=agent["process"] in ("running", "starting"))
            for name, agent in state["agents"].items()
            if agent["release"] is not None
        }
        return HostState(host, release["id"], release["digest"], target, current, state["current"])
    except KeyError as error:
        raise PlanError(
            f"the result of the release task has no {error}", where=host, fix="Run the release task on this host first"
        ) from error


def decide(results: Mapping[str, Mapping[str, Any]], options: Options, load_plan: Callable[[str], Plan]) -> Decision:
    """What is to be done now, from every host's ``release`` result.

    An unfinished rollout of the same request is resumed with the plan that it began with, which
    ``load_plan`` reads. Raises PlanError for an unfinished rollout of anything else, for a
    quarantined release, and for a host that left the unfinished rollout for a third release.
    """
    hosts = [read_host(host, result) for host, result in results.items()]
    fresh = make_plan(hosts, options)
    under_way = {
        host: result["host_state"]["unfinished"]
        for host, result in results.items()
        if result["host_state"]["unfinished"] is not None and result["host_state"]["unfinished"]["stage"] != "staged"
    }
    progress = {host: f"{one['release']} (run {one['run']}, {one['stage']})" for host, one in under_way.items()}
    for host, result in results.items():
        if fresh.releases[host] in result["host_state"]["quarantined"]:
            raise PlanError(
                f"release {fresh.releases[host]} is quarantined: it was taken back before",
                where=host,
                fix="Mend the fault and roll out the release that then results; content that was not at fault may "
                "come again under another name (continuity_release)",
            )
    if not under_way:
        settled = not fresh.waves and all(state.previous == state.release for state in hosts)
        action = NOTHING if settled else BEGIN
        return Decision(action, fresh, _why(action, fresh), progress)
    if any(one["request_hash"] != fresh.request_hash for one in under_way.values()):
        raise PlanError(
            f"a rollout is unfinished: {_sentence(progress)}; what is asked for now is another one ({fresh.release})",
            fix="Ask for the same release with the same options and hosts to resume it, or take it back with the "
            "rollback playbook",
        )
    plan = _the_one_plan(under_way, load_plan)
    _check_hosts(hosts, plan)
    return Decision(RESUME, plan, f"going on with an unfinished rollout: {_sentence(progress)}", progress)


def _the_one_plan(under_way: Mapping[str, Mapping[str, Any]], load_plan: Callable[[str], Plan]) -> Plan:
    hashes = {one["plan_hash"] for one in under_way.values()}
    if len(hashes) > 1:
        raise PlanError(
            f"hosts are in the middle of {len(hashes)} different plans of the same request: "
            f"{', '.join(sorted(under_way))}",
            fix="Take them back with the rollback playbook, then roll out again",
        )
    return load_plan(hashes.pop())


def _check_hosts(hosts: Sequence[HostState], plan: Plan) -> None:
    for state in hosts:
        if state.host in plan.releases and state.previous not in (plan.previous[state.host], plan.releases[state.host]):
            raise PlanError(
                f"this host runs {state.previous}, which is neither where the unfinished rollout began "
                "nor where it goes",
                where=state.host,
                fix="Take the rollout back with the rollback playbook, then roll out again",
            )


def _why(action: str, plan: Plan) -> str:
    if action == NOTHING:
        return f"release {plan.release} runs everywhere, nothing to do"
    return f"{size(plan)} to release {plan.release}"


def _sentence(progress: Mapping[str, Optional[str]]) -> str:
    return ", ".join(f"{host} {what}" for host, what in sorted(progress.items()))
