# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""New secrets, and the agents that use them: switched, replaced, watched, and taken back together.

Which agents are to be replaced is told by time alone: those whose process is older than a value that they were given.
So a run that was killed is carried on by the next one, and nothing has to be remembered.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Mapping, Optional, Sequence

from ..effects import Outcome, ProcessStatus
from ..errors import ContinuityError
from ..rollout.exclusive import changing
from ..rollout.model import ReleasedAgent
from ..rollout.switching import Batch, by_layer, replace_agents, wait_until_healthy, with_health
from ..secrets.injection import Injected, Wanted, World, inject
from ..secrets.secret_directory import SecretDirectory
from ..secrets.secret_files import Plan

if TYPE_CHECKING:
    from ..host import Host


class RotationError(ContinuityError):
    """The agents did not bear the new values, or may not be touched now."""

    code = "rotation"


@dataclass(frozen=True)
class Pace:
    """``parallel`` agents are away at once; ``seconds`` bound replacing all of them, ``healthy_seconds`` their
    becoming healthy."""

    parallel: int = 1
    seconds: float = 120.0
    healthy_seconds: float = 30.0


@dataclass(frozen=True)
class Rotated:
    """``replaced`` are the agents that were, or would be."""

    injected: Injected
    replaced: tuple[str, ...] = ()
    batch: Batch = field(default_factory=Batch)
    seconds: float = 0.0


def rotate(host: Host, wanted: Wanted, world: World, pace: Pace, *, check: bool) -> Rotated:
    """Make the secrets of a host what is declared, and replace the running agents whose values are new.

    When they do not become healthy with them, the old values stand again, and agents are replaced once more. Raises
    RotationError, or SecretError when nothing was touched.
    """
    with changing(host.root, host.clock):
        agents = _agents(host)
        rotation = _Rotation(host, wanted.directory, agents, pace, world)
        if check:
            injected = inject(wanted, world, check=True)
            names = set(injected.plan.changed_names)
            told = [agent.name for agent in agents if names & set(rotation.secrets_of(agent))]
            return Rotated(injected, tuple(_running(host, told)))
        try:
            injected = inject(wanted, replace(world, gate=rotation.forward), check=False)
            return Rotated(injected, tuple(rotation.replaced), rotation.batch, rotation.seconds)
        except RotationError as error:
            failed = error
        said, fix = rotation.back(failed)
        raise RotationError(said, fix=fix)


class _Rotation:
    def __init__(self, host: Host, directory: str, agents: Sequence[ReleasedAgent], pace: Pace, world: World) -> None:
        self.replaced: list[str] = []
        self.batch = Batch()
        self.seconds = 0.0
        self._host = host
        self._directory = os.path.realpath(directory)
        self._agents = agents
        self._pace = pace
        self._world = world

    def secrets_of(self, agent: ReleasedAgent) -> list[str]:
        """Names in our folder that this agent is given."""
        return [
            os.path.basename(path)
            for path in agent.unit.credentials.values()
            if os.path.realpath(os.path.dirname(path)) == self._directory
        ]

    def forward(self, plan: Plan, directory: SecretDirectory) -> None:
        """Replace whoever runs with an older value. Raises RotationError."""
        gone = {change.name for change in plan.changes if change.change == "removed"}
        users = sorted(agent.name for agent in self._agents if gone & set(self.secrets_of(agent)))
        if users:
            raise RotationError(
                f"secrets that nobody declares any more are given to {', '.join(users)}",
                fix="Roll out a release whose agent rules do not name them, then remove them",
            )
        self._world.step("replace")
        begun = self._host.clock.monotonic()
        self.batch = self._replaced(directory)
        self.seconds = round(self._host.clock.monotonic() - begun, 3)
        if not self.batch.ok:
            raise RotationError("; ".join(self.batch.failures[:5]))

    def back(self, reason: RotationError) -> tuple[str, Optional[str]]:
        """After the old set stands again: its agents too. What is to be said of it, and what to do."""
        self._world.step("take_back")
        with SecretDirectory(self._directory, self._host.clock, create=False) as directory, directory.locked():
            batch = self._replaced(directory)
        if batch.ok:
            return f"the old secrets were put back, {len(batch.outcomes)} agents replaced: {reason.what}", reason.fix
        return (
            f"THE OLD SECRETS WERE PUT BACK, BUT NOT EVERY AGENT IS WELL: {'; '.join(batch.failures[:5])}: {reason.what}",
            "Look at these agents with the status playbook",
        )

    def _replaced(self, directory: SecretDirectory) -> Batch:
        status = self._host.supervisor.status([agent.name for agent in self._agents])
        young = {agent.name: self._youngest(agent, directory) for agent in self._agents}
        stale = [agent for agent in self._agents if _older(status[agent.name], young[agent.name])]
        if not stale:
            return Batch()
        self._wait(max(filter(None, young.values())))
        begun = self._host.clock.monotonic()
        outcomes: list[Outcome] = []
        for layer in by_layer(stale):
            outcomes += self._layer(layer)
            if not all(outcome.ok for outcome in outcomes):
                break
        self.replaced += [agent.name for agent in stale]
        return Batch(tuple(outcomes), round(self._host.clock.monotonic() - begun, 3))

    def _layer(self, layer: Sequence[str]) -> Sequence[Outcome]:
        releases = self._host.releases.pointers()
        outcomes: list[Outcome] = []
        by_release: dict[str, list[str]] = {}
        for name in layer:
            by_release.setdefault(next(iter(releases[name].values())), []).append(name)
        for release, names in by_release.items():
            pace = self._pace
            outcomes += replace_agents(self._host, release, [names], parallel=pace.parallel, timeout=pace.seconds)
        well = [agent for agent in self._agents for outcome in outcomes if outcome.agent == agent.name and outcome.ok]
        sick = wait_until_healthy(self._host, well, timeout=self._pace.healthy_seconds)
        return with_health(outcomes, sick, self._pace.healthy_seconds)

    def _youngest(self, agent: ReleasedAgent, directory: SecretDirectory) -> Optional[float]:
        times = [directory.changed_at(name) for name in self.secrets_of(agent)]
        return max((time for time in times if time is not None), default=None)

    def _wait(self, until: float) -> None:
        """Supervisors tell times in whole seconds: who starts from now on is younger than every value."""
        self._host.clock.sleep(max(0.0, min(1.0, math.floor(until) + 1 - self._host.clock.now())))


def _older(status: ProcessStatus, youngest: Optional[float]) -> bool:
    """Whether a process runs that was started before its youngest value. Of one that is starting nobody knows."""
    if youngest is None or status.since is None:
        return youngest is not None and status.state == "starting"
    return status.since < youngest


def _agents(host: Host) -> list[ReleasedAgent]:
    state = host.ledger.state()
    if state.unfinished is not None:
        raise RotationError(
            f"the rollout of release {state.unfinished.release} is not finished",
            where=host.name,
            fix="Finish it or take it back, then rotate",
        )
    if state.current is None:
        return []
    return list(host.releases.load(state.current).agents.values())


def _running(host: Host, names: Sequence[str]) -> list[str]:
    status: Mapping[str, ProcessStatus] = host.supervisor.status(names) if names else {}
    return [name for name in names if status[name].since is not None]
