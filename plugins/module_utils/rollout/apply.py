# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One wave on one host, and the confirmation at the end: the forward half of a rollout.

Everything here can be killed at any line and called again: what was done already is found in the
ledger, in the links and in the processes themselves, and is not done twice.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Mapping, Optional

from ..effects import Outcome, Unit, boot_id
from ..errors import ContinuityError
from ..journal.durable import write_file
from .exclusive import changing
from .gates import Baseline, from_plain, to_plain
from .ledger import LedgerState, UnfinishedRun
from .model import Plan, Release, Wave
from .running import RunningCode, running_releases
from .sampling import probe_all, take_baseline
from .switching import Batch, by_layer, point_all, replace_agents, stop_agents, wait_until_healthy, with_health

if TYPE_CHECKING:
    from ..host import Host

DEADMAN = "deadman"


class RolloutError(ContinuityError):
    """A step that does not fit the state that the host is in."""


@dataclass(frozen=True)
class Request:
    """On whose behalf a step is done. ``lease_seconds`` is for how long the lease is renewed,
    ``wave_seconds`` bounds replacing a wave, ``healthy_seconds`` bounds its becoming healthy.
    ``restore_point`` names the snapshots taken before, for the ledger."""

    owner: str
    run: str
    lease_seconds: float = 900.0
    wave_seconds: float = 120.0
    healthy_seconds: float = 30.0
    restore_point: Optional[str] = None


@dataclass(frozen=True)
class WaveResult:
    """``replaced`` were taken over or stopped now, ``kept`` ran what the plan wants already."""

    changed: bool
    batch: Batch
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfirmResult:
    """``pointed`` are agents whose links moved without their processes being touched, ``interruptions``
    maps an agent to the seconds for which nothing held its socket."""

    changed: bool
    pointed: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    seconds: float = 0.0
    interruptions: Mapping[str, float] = field(default_factory=dict)


def apply_wave(host: Host, plan: Plan, number: int, request: Request) -> WaveResult:
    """Bring the host's agents of this wave to the plan's release.

    First the plan is made known to the ledger, then the dead man is armed, then ``activated`` is
    written, then the first link moves. Raises RolloutError, LedgerError or LeaseError before anything
    was touched; an agent that fails is a failed outcome.
    """
    wave = wave_of(plan, number)
    with changing(host.root, host.clock):
        host.lease.renew(request.owner, request.run, request.lease_seconds)
        check_aborted(host, request)
        target = host.releases.load(plan.releases[host.name])
        previous = plan.previous[host.name]
        before = host.releases.load(previous) if previous else None
        _save_baseline(host, plan, before)
        _admit(host, plan, request)
        arm(host, plan, request)
        return _activate(host, plan, wave, request, target, before)


def foresee_wave(host: Host, plan: Plan, number: int, request: Request) -> WaveResult:
    """What ``apply_wave`` would do, without doing it."""
    wave = wave_of(plan, number)
    work = _work(host, plan, wave, host.releases.load(plan.releases[host.name]))
    kept = tuple(name for name in wave.agents.get(host.name, ()) if name not in work)
    return WaveResult(bool(work), Batch(), tuple(work), kept)


def confirm(host: Host, plan: Plan, request: Request, *, keep: int) -> ConfirmResult:
    """End the rollout well: every link leads to the release, the ledger says so, the dead man goes.

    Raises RolloutError when a wave with agents of this host has not passed its gate.
    """
    release_id = plan.releases[host.name]
    with changing(host.root, host.clock):
        host.lease.renew(request.owner, request.run, request.lease_seconds)
        check_aborted(host, request)
        target = host.releases.load(release_id)
        if not foresee_confirm(host, plan).changed:
            return ConfirmResult(False)
        unfinished = _admit(host, plan, request)
        here = {wave.number for wave in plan.waves if host.name in wave.agents}
        missing = sorted(here - set(unfinished.waves_verified))
        if missing:
            raise RolloutError(
                f"wave {missing[0]} of release {release_id} has not passed its gate",
                where=host.name,
                fix="Run the rollout again; it goes on where it stopped",
            )
        moved = point_all(host, target.agents, release_id)
        host.supervisor.install([agent.unit for agent in target.agents.values()])
        begun = _staged_at(host, plan)
        seconds = round(host.clock.now() - begun, 3) if begun is not None else 0.0
        host.releases.set_current(release_id)
        host.ledger.append("confirmed", run=request.run, release=release_id, seconds=seconds, plan=plan.plan_hash)
        host.supervisor.stop_companion(DEADMAN)
        state = host.ledger.state()
        pruned = host.releases.prune(keep, _protected(state) | running_releases(host, target))
        lost = set(state.history) - set(host.releases.staged())  # also by one that was killed while pruning
        for release in sorted(lost.union(pruned)):
            host.ledger.append("removed", release=release)
        return ConfirmResult(True, tuple(moved), tuple(pruned), seconds, _interruptions(host, plan))


def foresee_confirm(host: Host, plan: Plan) -> ConfirmResult:
    """Whether ``confirm`` would change anything."""
    release_id = plan.releases[host.name]
    state = host.ledger.state()
    done = state.current == release_id and state.unfinished is None
    return ConfirmResult(not (done and _all_pointed(host, host.releases.load(release_id))))


def arm(host: Host, plan: Plan, request: Request, *, extra_seconds: Optional[float] = None) -> None:
    """Move the dead man's deadline to the bake time plus its own seconds from now, and have him run.

    One whose deadline is over has ended, or waits for the change lock, which we hold: he starts anew.
    """
    unfinished = host.ledger.state().unfinished
    watched = (
        unfinished is not None
        and unfinished.deadline is not None
        and unfinished.boot_id == boot_id()
        and unfinished.deadline > host.clock.monotonic()
    )
    bake = plan.bake_seconds if extra_seconds is None else extra_seconds
    host.ledger.append(
        "armed",
        run=request.run,
        deadline=host.clock.monotonic() + bake + plan.deadman_seconds,
        boot_id=boot_id(),
        seconds=plan.deadman_seconds,
        plan=plan.plan_hash,
    )
    if not watched:
        start_deadman(host)


def start_deadman(host: Host) -> None:
    program = os.path.join(host.root, "continuity.pyz")
    host.supervisor.start_companion(DEADMAN, [host.python, program, "deadman", "--root", host.root])


def wave_of(plan: Plan, number: int) -> Wave:
    """Raises RolloutError when the plan has no such wave."""
    for wave in plan.waves:
        if wave.number == number:
            return wave
    raise RolloutError(f"plan {plan.plan_hash[:12]} has {len(plan.waves)} waves, there is no wave {number}")


def load_baselines(host: Host, plan: Plan) -> dict[str, Baseline]:
    """What ``apply_wave`` measured before the first change of this plan; empty when there is nothing that
    can be read. A gate does not pass without it, and a rollback needs none."""
    try:
        with open(_baseline_path(host, plan), encoding="utf-8") as file:
            return from_plain(json.load(file))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _activate(
    host: Host, plan: Plan, wave: Wave, request: Request, target: Release, before: Optional[Release]
) -> WaveResult:
    names = wave.agents.get(host.name, ())
    work = _work(host, plan, wave, target)
    if not work:
        return WaveResult(False, Batch(), kept=names)
    begun = host.clock.monotonic()
    host.ledger.append("activated", run=request.run, wave=wave.number, agents=work, plan=plan.plan_hash)
    parallel = wave.parallel[host.name]
    timeout = min(request.wave_seconds, 0.8 * plan.deadman_seconds)
    going = [name for name in work if name not in target.agents]
    outcomes: list[Outcome] = stop_agents(host, going, parallel=parallel, timeout=timeout)
    host.supervisor.install(_units(host, plan, wave, target, before))
    staying = [target.agents[name] for name in work if name in target.agents]
    outcomes += replace_agents(host, target.id, by_layer(staying), parallel=parallel, timeout=timeout)
    if all(outcome.ok for outcome in outcomes):
        baselines = load_baselines(host, plan)
        tolerated = [name for name, one in baselines.items() if one.status == "degraded"]
        sick = wait_until_healthy(host, staying, timeout=request.healthy_seconds, tolerated=tolerated)
        outcomes = list(with_health(outcomes, sick, request.healthy_seconds))
    batch = Batch(tuple(outcomes), round(host.clock.monotonic() - begun, 3))
    host.ledger.append(
        "replaced",
        run=request.run,
        wave=wave.number,
        agents=batch.to_plain(),
        seconds=batch.seconds,
        plan=plan.plan_hash,
    )
    return WaveResult(True, batch, tuple(work), tuple(name for name in names if name not in work))


def _work(host: Host, plan: Plan, wave: Wave, target: Release) -> list[str]:
    """The agents of the wave that still have to be replaced or stopped, in the wave's order.

    An agent that follows another runs the same code before and after: it is done when it was
    started after the rollout was staged.
    """
    names = wave.agents.get(host.name, ())
    if not names:
        return []
    staged = _staged_at(host, plan)
    following = {one.agent for one in plan.touched if one.host == host.name and one.reason == "follows"}
    pointers = host.releases.pointers()
    processes = host.supervisor.status(names)
    code = RunningCode(host.releases, target)
    staying = [
        target.agents[name]
        for name in names
        if name in target.agents
        and code.is_target(processes[name])
        and (name not in following or (staged is not None and (processes[name].since or 0.0) >= staged))
        and pointers.get(name, {}).get(processes[name].slot) == target.id
    ]
    health = probe_all(host.prober, staying)
    good = {agent.name for agent in staying if health[agent.name].status in ("healthy", "degraded")}
    gone = {name for name in names if name not in target.agents and name not in pointers}
    return [name for name in names if name not in good | gone]


def _units(host: Host, plan: Plan, wave: Wave, target: Release, before: Optional[Release]) -> list[Unit]:
    """The units of this moment: of the target for every wave that was begun, of the release before
    for the rest, so that an agent whose turn has not come keeps its own."""
    unfinished = host.ledger.state().unfinished
    begun = max((wave.number, *(unfinished.waves_activated if unfinished else ())))
    moved = {name for one in plan.waves if one.number <= begun for name in one.agents.get(host.name, ())}
    units = {name: agent.unit for name, agent in (before.agents if before else {}).items() if name not in moved}
    units.update({name: agent.unit for name, agent in target.agents.items() if name in moved})
    return [units[name] for name in sorted(units)]


def _admit(host: Host, plan: Plan, request: Request) -> UnfinishedRun:
    """Have the ledger follow this plan in this run: staged anew, or resumed."""
    state = host.ledger.state()
    release_id = plan.releases[host.name]
    if release_id in state.quarantined:
        raise RolloutError(
            f"release {release_id} is quarantined here: it was taken back",
            where=host.name,
            fix="Roll out a release with the fault mended",
        )
    unfinished = state.unfinished
    if unfinished is None or unfinished.plan_hash != plan.plan_hash:
        host.ledger.save_plan(plan)
        host.ledger.append(
            "staged",
            run=request.run,
            plan=plan.plan_hash,
            request=plan.request_hash,
            release=release_id,
            previous=plan.previous[host.name],
            digest=host.releases.load(release_id).digest,
            owner=request.owner,
            restore_point=request.restore_point,
        )
    elif unfinished.run != request.run:
        host.ledger.append("resumed", run=request.run, plan=plan.plan_hash, owner=request.owner)
    admitted = host.ledger.state().unfinished
    if admitted is None:
        raise RolloutError("the ledger lost the rollout that it was just given", where=host.ledger.path)
    return admitted


def check_aborted(host: Host, request: Request) -> None:
    """A run that was taken back meanwhile (by the dead man, by an operator) must not go on."""
    for entry in reversed(host.ledger.entries()):
        if entry["event"] == "rolled_back" and entry["run"] == request.run:
            raise RolloutError(
                f"this rollout was taken back meanwhile: {entry['reason']}",
                where=host.name,
                fix="Look at the host with the status playbook, then start a new rollout",
            )


def _save_baseline(host: Host, plan: Plan, before: Optional[Release]) -> None:
    """Measure once for each time that the plan is begun, not again when it is resumed."""
    path = _baseline_path(host, plan)
    unfinished = host.ledger.state().unfinished
    if unfinished is not None and unfinished.plan_hash == plan.plan_hash and os.path.exists(path):
        return
    known = list(before.agents.values()) if before else []
    measured = take_baseline(host.supervisor, host.prober, host.clock, known)
    here = [name for wave in plan.waves for name in wave.agents.get(host.name, ())]
    measured.update({name: Baseline("absent") for name in here if name not in measured})
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_file(path, (json.dumps(to_plain(measured), sort_keys=True) + "\n").encode())


def _baseline_path(host: Host, plan: Plan) -> str:
    return os.path.join(host.root, "ledger", "plans", f"{plan.plan_hash}.baseline.json")


def _all_pointed(host: Host, target: Release) -> bool:
    pointers = host.releases.pointers()
    return set(pointers) == set(target.agents) and all(
        release == target.id for slots in pointers.values() for release in slots.values()
    )


def _staged_at(host: Host, plan: Plan) -> Optional[float]:
    """Wall time at which this plan was last begun here; None when it was not."""
    entries = [one for one in host.ledger.entries() if one["event"] == "staged" and one["plan"] == plan.plan_hash]
    return datetime.fromisoformat(entries[-1]["time"]).timestamp() if entries else None


def _interruptions(host: Host, plan: Plan) -> dict[str, float]:
    """The longest interruption of each agent that had one since this plan was last begun."""
    longest: dict[str, float] = {}
    for entry in host.ledger.entries():
        if entry["event"] == "staged":
            longest.clear()
        if entry["event"] == "replaced" and entry["plan"] == plan.plan_hash:
            for agent, outcome in entry["agents"].items():
                longest[agent] = max(longest.get(agent, 0.0), outcome["away_seconds"])
    return {agent: seconds for agent, seconds in longest.items() if seconds > 0}


def _protected(state: LedgerState) -> set[str]:
    kept = {state.current, state.previous, *(state.quarantined)}
    if state.unfinished is not None:
        kept |= {state.unfinished.release, state.unfinished.previous}
    return {release for release in kept if release is not None}
