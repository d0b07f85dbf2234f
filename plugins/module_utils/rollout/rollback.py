# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host back to an earlier release: from any state, by anybody, and again if it was killed midway.

It needs nothing but the host root: no controller, no plan (a plan only refines how many agents may
be away at once). What has to be replaced is decided by what really runs, not by what was planned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence

from ..effects import Outcome, boot_id
from ..errors import ContinuityError
from .apply import DEADMAN, load_baselines
from .exclusive import changing
from .ledger import LedgerError, LedgerState, compute_state
from .model import Plan, Release, ReleasedAgent
from .running import RunningCode
from .switching import (
    Batch,
    by_layer,
    first_problem,
    point_all,
    replace_agents,
    stop_agents,
    wait_until_healthy,
    with_health,
)

if TYPE_CHECKING:
    from ..host import Host

OBJECTIVE_SECONDS = 300.0
"""How long a rollback may take (RO4)."""
PARALLEL = 8
NOTHING = "the last rollout was taken back already, or never began here; name a release to go further back"
PUT_BACK = "Stage the same content again, which puts the files back, then roll back once more"


class RollbackError(ContinuityError):
    """There is nothing to go back to, or what was asked for cannot be gone back to."""


@dataclass(frozen=True)
class Wish:
    """What is asked for. ``to`` names a release; ``plan`` (a hash) takes back only that plan's rollout, so
    that a host where it never began, or was taken back, stays as it is; with neither, this host's last
    rollout is taken back. ``run`` is refused while another run holds the lease. ``quarantine`` marks
    the release that is left, because something was found wrong. With ``only_running`` agents that do
    not run are left to whoever starts them (the boot), with their links moved."""

    reason: str
    to: Optional[str] = None
    plan: Optional[str] = None
    run: Optional[str] = None
    quarantine: bool = False
    parallel: Optional[int] = None
    stop_deadman: bool = True
    only_running: bool = False
    replace_seconds: float = 180.0
    healthy_seconds: float = 30.0


@dataclass(frozen=True)
class RollbackResult:
    """``to`` is None when the host had no release before. ``ok`` says that every agent runs what it
    ran before and answers as it did; ``within_objective`` compares ``seconds`` with 300."""

    changed: bool
    ok: bool = True
    from_release: Optional[str] = None
    to: Optional[str] = None
    batch: Batch = field(default_factory=Batch)
    pointed: tuple[str, ...] = ()
    quarantined: bool = False
    seconds: float = 0.0
    message: str = ""

    @property
    def within_objective(self) -> bool:
        return self.seconds <= OBJECTIVE_SECONDS


@dataclass(frozen=True)
class Way:
    """From where to where, and in which run's name."""

    from_release: Optional[str]
    to: Optional[str]
    run: str
    plan_hash: Optional[str] = None


def find_way(entries: Sequence[Mapping[str, Any]], wish: Wish) -> Optional[Way]:
    """Where this wish leads from what the ledger's entries say (pure); None when there is nothing to
    take back.

    Raises RollbackError when there is no release before the current one, or the named one is
    quarantined.
    """
    state = compute_state(entries)
    unfinished = state.unfinished
    ends = [entry for entry in entries if entry["event"] in ("confirmed", "rolled_back")]
    last = ends[-1] if ends else None
    if wish.to is not None and wish.to in state.quarantined:
        raise RollbackError(
            f"release {wish.to} is quarantined: it was taken back before", fix="Name another release, or roll out"
        )
    if unfinished is not None and wish.plan in (None, unfinished.plan_hash):
        to = wish.to if wish.to is not None else unfinished.previous
        return Way(unfinished.release, to, unfinished.run, unfinished.plan_hash)
    if wish.plan is not None:
        if last is None or last["event"] != "confirmed" or last.get("plan") != wish.plan:
            return None
        staged = [one for one in entries if one["event"] == "staged" and one["plan"] == wish.plan]
        return Way(state.current, staged[-1]["previous_release"], last["run"], wish.plan)
    run = last["run"] if last is not None else "none"
    if wish.to is not None:
        return Way(state.current, wish.to, run)
    if last is not None and last["event"] == "rolled_back":
        return None
    if state.previous is None:
        raise RollbackError(
            f"there is no release before {state.current}" if state.current else "this host has no release",
            fix="Name one; the status playbook lists what is staged",
        )
    return Way(state.current, state.previous, run)


def roll_back(host: Host, wish: Wish, *, only_if_due: bool = False) -> RollbackResult:
    """Bring the host back, verify it, and say so in the ledger.

    ``only_if_due`` is the dead man's: under the change lock the deadline is looked at once more, and
    nothing happens when the rollout was confirmed, taken back or moved on meanwhile. Raises
    RollbackError, ReleaseError or BusyError before anything was touched.
    """
    with changing(host.root, host.clock):
        begun = host.clock.monotonic()
        _check_lease(host, wish)
        state = host.ledger.state()
        if only_if_due and (state.unfinished is None or not is_due(host, state)):
            return RollbackResult(False, message="nothing is due")
        way = find_way(host.ledger.entries(), wish)
        if way is None:
            return RollbackResult(False, to=state.current, message=NOTHING)
        target, damage = _target(host, wish, way)
        if state.unfinished is None and way.from_release == way.to and target and not _differing(host, target):
            return RollbackResult(False, to=way.to, message="this release runs already")
        plan = _plan(host, way)
        batch, pointed = _go_back(host, wish, plan, target)
        seconds = round(host.clock.monotonic() - begun, 3)
        problems = batch.failures + [f"{one} since {way.to} was staged. {PUT_BACK}" for one in damage]
        quarantined = wish.quarantine and way.from_release is not None and way.from_release != way.to
        _record(host, wish, way, batch, seconds, problems, quarantined)
        if wish.stop_deadman and not problems:
            host.supervisor.stop_companion(DEADMAN)
        return RollbackResult(
            changed=True,
            ok=not problems,
            from_release=way.from_release,
            to=way.to,
            batch=batch,
            pointed=tuple(pointed),
            quarantined=quarantined,
            seconds=seconds,
            message=first_problem(problems) or "",
        )


def _check_lease(host: Host, wish: Wish) -> None:
    """A run that another one has taken over must not take the other's work back."""
    live = host.lease.live() if wish.run is not None else None
    if live is not None and live.run != wish.run:
        raise RollbackError(
            f"run {wish.run} was taken over by run {live.run} of {live.owner}",
            where=host.name,
            fix="Leave this host to that run, or use the rollback playbook",
        )


def _target(host: Host, wish: Wish, way: Way) -> tuple[Optional[Release], list[str]]:
    """The release that the way leads to, and what is damaged in it: refused only where it was named."""
    if way.to is None:
        return None, []
    target, damage = host.releases.load(way.to), host.releases.verify(way.to)
    if damage and wish.to is not None:
        raise RollbackError(
            f"release {wish.to} is not as it was staged: {first_problem(damage)}",
            where=host.name,
            fix=f"{PUT_BACK}, or name another release",
        )
    return target, damage


def foresee(host: Host, wish: Wish) -> RollbackResult:
    """What ``roll_back`` would do, without doing it."""
    _check_lease(host, wish)
    state = host.ledger.state()
    way = find_way(host.ledger.entries(), wish)
    if way is None:
        return RollbackResult(False, to=state.current, message=NOTHING)
    target, _damage = _target(host, wish, way)
    differing = _differing(host, target) if target else []
    if state.unfinished is None and way.from_release == way.to and not differing:
        return RollbackResult(False, to=way.to, message="this release runs already")
    away = sorted(set(host.releases.pointers()) - set(target.agents if target else ()))
    outcomes = tuple(Outcome(name, True) for name in (*away, *(agent.name for agent in differing)))
    return RollbackResult(True, from_release=way.from_release, to=way.to, batch=Batch(outcomes))


def is_due(host: Host, state: LedgerState) -> bool:
    """Whether the unfinished rollout's deadline has passed, or counted in an earlier boot."""
    unfinished = state.unfinished
    if unfinished is None or unfinished.deadline is None:
        return False
    return unfinished.boot_id != boot_id() or host.clock.monotonic() >= unfinished.deadline


def _go_back(host: Host, wish: Wish, plan: Optional[Plan], target: Optional[Release]) -> tuple[Batch, list[str]]:
    """Replace what differs, in reverse layer order; stop what the target does not have; point the rest."""
    begun = host.clock.monotonic()
    parallel = wish.parallel or (plan.shares.get(host.name) if plan else None) or PARALLEL
    wanted = dict(target.agents) if target else {}
    away = sorted(set(host.releases.pointers()) - set(wanted))
    outcomes = stop_agents(host, away, parallel=PARALLEL, timeout=wish.replace_seconds)
    differing = _differing(host, target, only_running=wish.only_running) if target else []
    host.supervisor.install([agent.unit for agent in wanted.values()])
    moved: list[str] = []
    if target is not None:
        layers = by_layer(differing, reverse=True)
        outcomes += replace_agents(
            host, target.id, layers, parallel=parallel, timeout=wish.replace_seconds, stop_at_failure=False
        )
        moved = point_all(host, wanted, target.id)
        outcomes = list(_verified(host, wish, plan, differing, outcomes))
    host.releases.set_current(target.id if target is not None else None)
    return Batch(tuple(outcomes), round(host.clock.monotonic() - begun, 3)), moved


def _differing(host: Host, target: Release, *, only_running: bool = False) -> list[ReleasedAgent]:
    """The target's agents that do not run, or do not run what the target has for them."""
    processes = host.supervisor.status(list(target.agents))
    code = RunningCode(host.releases, target)
    return [
        agent
        for name, agent in target.agents.items()
        if not code.is_target(processes[name])
        and not (only_running and processes[name].state not in ("running", "starting"))
    ]


def _verified(
    host: Host, wish: Wish, plan: Optional[Plan], agents: Sequence[ReleasedAgent], outcomes: Sequence[Outcome]
) -> tuple[Outcome, ...]:
    """Every replaced agent must answer as it did before: one that was not healthy then need not be now."""
    baselines = load_baselines(host, plan) if plan else {}
    poor = {name for name, one in baselines.items() if one.status in ("unhealthy", "unknown")}
    tolerated = [name for name, one in baselines.items() if one.status == "degraded"]
    expected = [agent for agent in agents if agent.name not in poor]
    sick = wait_until_healthy(host, expected, timeout=wish.healthy_seconds, tolerated=tolerated)
    return with_health(outcomes, sick, wish.healthy_seconds)


def _plan(host: Host, way: Way) -> Optional[Plan]:
    if way.plan_hash is None:
        return None
    try:
        return host.ledger.load_plan(way.plan_hash)
    except LedgerError:
        return None


def _record(
    host: Host, wish: Wish, way: Way, batch: Batch, seconds: float, problems: Sequence[str], quarantined: bool
) -> None:
    if quarantined:  # first: who is killed in between must not leave a bad release free to come again
        host.ledger.append("quarantined", release=way.from_release, reason=wish.reason)
    host.ledger.append(
        "rolled_back",
        run=way.run,
        from_release=way.from_release,
        to=way.to,
        agents=[outcome.agent for outcome in batch.outcomes],
        seconds=seconds,
        reason=wish.reason,
        ok=not problems,
        problems=list(problems),
        objective_seconds=OBJECTIVE_SECONDS,
        plan=way.plan_hash,
    )
