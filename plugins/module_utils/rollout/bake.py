# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching one host over a wave's bake time, and putting the gate's verdict into the ledger."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from .apply import Request, arm, check_aborted, load_baselines, wave_of
from .exclusive import changing
from .gates import FAIL, INCONCLUSIVE, PASS, GateRules, Verdict, evaluate
from .model import Plan, ReleasedAgent
from .sampling import Watch

if TYPE_CHECKING:
    from ..host import Host

LONGEST_INTERVAL = 2.0


def bake(host: Host, plan: Plan, number: int, request: Request, rules: GateRules, *, hold_seconds: float) -> Verdict:
    """The verdict on a wave after watching this host for the plan's bake time.

    Only a failure ends the watch early. While the verdict is inconclusive at the end, the watch goes
    on for up to ``hold_seconds``. A wave that has passed before, with nothing activated since, is not
    watched again. Raises RolloutError when the rollout is taken back meanwhile.
    """
    wave_of(plan, number)
    check_aborted(host, request)
    if _passed_before(host, plan, number):
        return Verdict(PASS, ("passed before",))
    with changing(host.root, host.clock):
        check_aborted(host, request)
        host.lease.renew(request.owner, request.run, request.lease_seconds + plan.bake_seconds + hold_seconds)
        arm(host, plan, request, extra_seconds=plan.bake_seconds + hold_seconds)
    changed, watched = _agents(host, plan, number)
    verdict = _watch(host, plan, request, watched, changed, rules, hold_seconds)
    host.ledger.append(
        "verified",
        run=request.run,
        wave=number,
        verdict=verdict.verdict,
        numbers=dict(verdict.numbers),
        reasons=list(verdict.reasons),
        rules=asdict(rules),
        plan=plan.plan_hash,
    )
    return verdict


def _watch(
    host: Host,
    plan: Plan,
    request: Request,
    watched: list[ReleasedAgent],
    changed: set[str],
    rules: GateRules,
    hold_seconds: float,
) -> Verdict:
    baselines = load_baselines(host, plan)
    watch = Watch(host.supervisor, host.prober, host.clock, watched)
    interval = min(LONGEST_INTERVAL, max(0.2, plan.bake_seconds / (rules.min_samples + 1)))
    begun = host.clock.monotonic()
    looks = 0
    while True:
        looked = host.clock.monotonic()
        watch.look()
        looks += 1
        verdict = evaluate(watch.samples, baselines, changed, rules)
        check_aborted(host, request)
        passed = host.clock.monotonic() - begun
        enough = passed >= plan.bake_seconds and looks >= rules.min_samples
        held = verdict.verdict == INCONCLUSIVE and passed < plan.bake_seconds + hold_seconds
        if verdict.verdict == FAIL or not watched or (enough and not held):
            return verdict
        host.clock.sleep(max(0.0, interval - (host.clock.monotonic() - looked)))


def _agents(host: Host, plan: Plan, number: int) -> tuple[set[str], list[ReleasedAgent]]:
    """Which agents the rollout has changed by now, and all that are to run now, each as it is now."""
    target = host.releases.load(plan.releases[host.name])
    previous = plan.previous[host.name]
    before = host.releases.load(previous).agents if previous else {}
    begun = {name for wave in plan.waves if wave.number <= number for name in wave.agents.get(host.name, ())}
    later = {name for wave in plan.waves if wave.number > number for name in wave.agents.get(host.name, ())}
    changed = {name for name in begun if name in target.agents}
    unchanged = [
        agent for name, agent in before.items() if name not in begun and (name in later or name in target.agents)
    ]
    return changed, [target.agents[name] for name in sorted(changed)] + unchanged


def _passed_before(host: Host, plan: Plan, number: int) -> bool:
    unfinished = host.ledger.state().unfinished
    if unfinished is None or number not in unfinished.waves_verified:
        return False
    for entry in reversed(host.ledger.entries()):
        if entry.get("plan") == plan.plan_hash and entry.get("wave") == number:
            return bool(entry["event"] == "verified" and entry["verdict"] == PASS)
    return False
