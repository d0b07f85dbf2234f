# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rootless default: an own supervisord for each host root.

An agent with a socket is an ``fcgi-program`` of two processes. Process 0, the holder, only keeps
the listening socket; process 1, the worker, serves. Replacing the worker leaves the socket open:
requests wait in its queue instead of being refused.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Generator, Mapping, Optional, Sequence
from xmlrpc.client import Fault

from ..effects import Clock, Outcome, ProcessStatus, Runner, Switch, Unit
from ..errors import ContinuityError
from ..journal import durable
from . import supervisord_config as config
from . import supervisord_daemon as daemon
from .conversation import SETTLES_WITHIN, hold
from .supervisord_log import Exits
from .supervisord_rpc import (
    ALREADY_ADDED,
    ALREADY_STARTED,
    BACKOFF,
    EXITED,
    FATAL,
    NOT_RUNNING,
    RUNNING,
    STARTING,
    STILL_RUNNING,
    STOPPED,
    STOPPING,
    UNKNOWN,
    Call,
    Connection,
    NotAnswering,
)
from .unit_files import write_changed

Calls = tuple[Call, ...]
Answers = list[Any]
Talk = Generator[Calls, Answers, Any]

PAUSE = 0.03
STATES = {
    STOPPED: "stopped",
    STARTING: "running",
    RUNNING: "running",
    BACKOFF: "failed",
    STOPPING: "running",
    EXITED: "stopped",
    FATAL: "failed",
    UNKNOWN: "failed",
}
"""supervisord's states to ours. STARTING has a process, for less than a second yet; BACKOFF has died at
once and is tried again later."""


class SupervisordSupervisor:
    """The Supervisor protocol over supervisord.

    ``settings`` are those of host.json: ``socket`` (path of its socket, default below the root) and
    ``executable`` (default: supervisord beside ``python``, which also runs the boot check).
    """

    def __init__(self, root: str, clock: Clock, *, python: str, settings: Optional[Mapping[str, Any]] = None) -> None:
        chosen = dict(settings or {})
        self.files = config.files_of(root, chosen.get("socket"))
        self._executable = chosen.get("executable") or os.path.join(os.path.dirname(python), "supervisord")
        self._python = python
        self._clock = clock
        self._connection = Connection(self.files.socket)
        self._exits = Exits(self.files.log)

    # The daemon itself

    def start_daemon(self, runner: Runner) -> bool:
        """Start supervisord unless it answers already; False when it did. Known units start with it."""
        self._write(self._own_files())
        return daemon.start(self.files, self._executable, runner, self._clock)

    def stop_daemon(self, *, timeout: float = 60.0) -> bool:
        """Shut it down with all its agents, which drain at the same time (by itself it ends them one after
        the other); False when it did not run."""
        if not daemon.answers(self.files):
            return False
        deadline = self._clock.monotonic() + timeout
        agents = sorted(self._installed())
        self.stop(agents, timeout=timeout, parallel=max(1, len(agents)))
        self._connection.close()
        return daemon.stop(self.files, self._clock, timeout=max(1.0, deadline - self._clock.monotonic()))

    # Units

    def render(self, units: Sequence[Unit]) -> dict[str, str]:
        """supervisord.conf, the boot check and one file for each agent."""
        programs = {self.files.program(unit.agent): config.program(self.files, unit) for unit in units}
        return {**self._own_files(), **programs}

    def install(self, units: Sequence[Unit]) -> list[str]:
        """Write what changed, and stop and forget agents that are no longer named.

        A running agent gets its changed unit when it is next started, restarted or taken over.
        """
        rendered = self.render(units)
        for unit in units:
            self._prepare(unit)
        written = self._write(rendered)
        names = {unit.agent for unit in units}
        gone = sorted(self._installed() - names)
        for agent in gone:
            os.unlink(self.files.program(agent))
        if gone and daemon.answers(self.files):
            self._forget(gone)
        changed = [unit.agent for unit in units if self.files.program(unit.agent) in written]
        return sorted({*changed, *gone})

    # Agents

    def status(self, agents: Sequence[str]) -> dict[str, ProcessStatus]:
        installed = self._installed()
        try:
            processes = self._connection.call("supervisor.getAllProcessInfo")
        except NotAnswering as error:
            return {
                agent: ProcessStatus(agent, "stopped" if agent in installed else "absent", message=str(error))
                for agent in agents
            }
        groups: dict[str, dict[str, Any]] = {}
        for process in processes:
            groups.setdefault(process["group"], {})[process["name"]] = process
        exits = self._exits.counts()
        return {agent: self._status(agent, groups.get(agent, {}), exits, agent in installed) for agent in agents}

    def start(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return self._batch(agents, timeout, parallel, replace=False)

    def stop(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return hold(agents, self._stopped, self._exchange, self._clock, parallel=parallel, timeout=timeout, pause=PAUSE)

    def restart(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return self._batch(agents, timeout, parallel, replace=True)

    def take_over(
        self, agents: Sequence[str], switch: Switch, *, timeout: float, parallel: int = 8
    ) -> dict[str, Outcome]:
        """Stop the worker (it drains), point slot ``blue`` elsewhere, start the worker. When ``switch``
        fails, the worker is started again on what the slot points to."""
        return self._batch(agents, timeout, parallel, replace=True, switch=switch)

    # Companions

    def start_companion(self, name: str, argv: Sequence[str]) -> None:
        program = config.COMPANION + name
        self.stop_companion(name)
        self._write({self.files.program(program): config.helper(self.files, program, argv)})
        self._connection.call("supervisor.reloadConfig")
        self._connection.call("supervisor.addProcessGroup", program)

    def stop_companion(self, name: str) -> None:
        program = config.COMPANION + name
        if os.path.exists(self.files.program(program)):
            os.unlink(self.files.program(program))
        self._forget([program])

    # How it is done

    def _batch(
        self, agents: Sequence[str], timeout: float, parallel: int, *, replace: bool, switch: Optional[Switch] = None
    ) -> dict[str, Outcome]:
        ((_added, changed, _removed),) = self._connection.call("supervisor.reloadConfig")
        stale = set(changed)
        return hold(
            agents,
            lambda agent: self._cycle(agent, replace, switch, agent in stale),
            self._exchange,
            self._clock,
            parallel=parallel,
            timeout=timeout,
            pause=PAUSE,
        )

    def _exchange(self, questions: list[Calls]) -> list[Answers]:
        answers = iter(self._connection.batch([call for calls in questions for call in calls]))
        return [list(itertools.islice(answers, len(calls))) for calls in questions]

    def _cycle(
        self, agent: str, replace: bool, switch: Optional[Switch], stale: bool
    ) -> Generator[Calls, Answers, Outcome]:
        """Stop if asked, switch if asked, start; the holder stays unless the unit itself changed."""
        processes = yield from _processes(agent)
        served = bool(processes) and processes[-1]["state"] in (RUNNING, STARTING, STOPPING)
        stopping_since = self._clock.monotonic()
        if processes and replace:
            yield from _stop(_name(processes[-1]))
        trouble = ""
        if switch is not None:
            try:
                switch(agent, "blue")
            except (ContinuityError, OSError) as error:
                trouble = f"not switched: {error}"
        held = len(processes) > 1 and processes[0]["state"] in (RUNNING, STARTING)
        if processes and stale and (replace or not served):
            for process in reversed(processes):
                yield from _stop(_name(process))
            yield from _remove(agent)
            processes, held = [], False
        if not processes:
            (added,) = yield (("supervisor.addProcessGroup", (agent,)),)
            if isinstance(added, Fault) and added.faultCode != ALREADY_ADDED:
                return Outcome(agent, False, trouble or "supervisord knows no such agent; install its unit first")
            processes = yield from _processes(agent)
        for process in processes:
            failed = yield from _spawn(_name(process))
            trouble = trouble or failed
        away = 0.0 if held or not (served and replace) else round(self._clock.monotonic() - stopping_since, 3)
        settled = self._clock.monotonic() + SETTLES_WITHIN
        for process in processes:
            failed = yield from self._settle(_name(process), settled)
            trouble = trouble or failed
        return Outcome(agent, not trouble, trouble, away_seconds=away)

    def _settle(self, name: str, until: float) -> Talk:
        """Until it has stayed up for a while; returns why it did not."""
        info = yield from _state(name)
        while info["state"] == STARTING and self._clock.monotonic() < until:
            info = yield from _state(name)
        if info["state"] in (RUNNING, STARTING):
            return ""
        return f"did not stay up: {info['spawnerr'] or info['statename']}"

    def _stopped(self, agent: str) -> Generator[Calls, Answers, Outcome]:
        processes = yield from _processes(agent)
        for process in reversed(processes):
            yield from _stop(_name(process))
        return Outcome(agent, True)

    def _forget(self, groups: Sequence[str]) -> None:
        def forget(group: str) -> Generator[Calls, Answers, Outcome]:
            processes = yield from _processes(group)
            for process in reversed(processes):
                yield from _stop(_name(process), (STOPPED, FATAL, UNKNOWN, EXITED))
            yield from _remove(group)
            return Outcome(group, True)

        outcomes = hold(groups, forget, self._exchange, self._clock, parallel=len(groups), timeout=60.0, pause=PAUSE)
        for group, outcome in outcomes.items():
            if not outcome.ok:
                raise ContinuityError(f"{group} could not be stopped and removed: {outcome.message}", where=group)

    def _status(
        self, agent: str, processes: Mapping[str, Any], exits: Mapping[str, int], installed: bool
    ) -> ProcessStatus:
        if not processes:
            return ProcessStatus(agent, "stopped" if installed else "absent")
        worker = processes.get(f"{agent}@{config.WORKER}") or processes[agent]
        holder = processes.get(f"{agent}@{config.HOLDER}")
        state = STATES[worker["state"]]
        message = str(worker["spawnerr"]) if state == "failed" else ""
        if state == "running" and holder is not None and holder["state"] not in (RUNNING, STARTING):
            message = "its holder does not run: the socket closes with the worker"
        return ProcessStatus(
            agent,
            state,
            pid=worker["pid"] or None,
            since=float(worker["start"]) if state == "running" else None,
            restarts=sum(exits.get(name, 0) for name in processes),
            message=message,
        )

    def _own_files(self) -> dict[str, str]:
        boot_check = [self._python, os.path.join(self.files.root, "continuity.pyz"), "boot-check", "--root"]
        return {
            self.files.config: config.daemon(self.files),
            self.files.program(config.BOOT_CHECK): config.helper(
                self.files, config.BOOT_CHECK, [*boot_check, self.files.root], priority=1
            ),
        }

    def _installed(self) -> set[str]:
        try:
            names = os.listdir(self.files.programs)
        except FileNotFoundError:
            return set()
        return {
            name[: -len(".conf")]
            for name in names
            if name.endswith(".conf") and not name.startswith((config.COMPANION, "."))
        }

    def _prepare(self, unit: Unit) -> None:
        if unit.user is not None and os.geteuid() != 0:
            raise ContinuityError(
                f"supervisord without root privileges cannot run an agent as {unit.user}",
                where=unit.agent,
                fix="Leave user out of the agent's rule, or run this host under systemd",
            )
        os.makedirs(unit.directory, exist_ok=True)
        os.makedirs(os.path.dirname(unit.log_file), exist_ok=True)
        folder = self.files.credentials(unit.agent)
        if unit.credentials:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        for name, path in unit.credentials.items():
            link = os.path.join(folder, name)
            if not os.path.islink(link) or os.readlink(link) != path:
                durable.write_link(link, path)

    def _write(self, wanted: Mapping[str, str]) -> set[str]:
        for folder in (self.files.run, os.path.join(self.files.root, "logs")):
            os.makedirs(folder, exist_ok=True)
        return write_changed(wanted)


def _name(process: Mapping[str, Any]) -> str:
    return f"{process['group']}:{process['name']}"


def _processes(agent: str) -> Talk:
    """What the agent consists of right now: holder and worker, or one program, or nothing."""
    answers = yield tuple(("supervisor.getProcessInfo", (name,)) for name in config.process_names(agent))
    return [answer for answer in answers if not isinstance(answer, Fault)]


def _state(name: str) -> Talk:
    (info,) = yield (("supervisor.getProcessInfo", (name,)),)
    if isinstance(info, Fault):
        raise ContinuityError(f"supervisord no longer knows it: {info.faultString}", where=name)
    return info


def _stop(name: str, ended: tuple[int, ...] = (STOPPED, FATAL, UNKNOWN)) -> Talk:
    """Until it is down. An agent that ended by itself is just being started again, hence the repetition;
    a companion that ended by itself (``ended`` has EXITED) may stay so."""
    while True:
        (answer,) = yield (("supervisor.stopProcess", (name, False)),)
        if isinstance(answer, Fault) and answer.faultCode != NOT_RUNNING:
            raise ContinuityError(f"supervisord did not stop it: {answer.faultString}", where=name)
        info = yield from _state(name)
        while info["state"] == STOPPING:
            info = yield from _state(name)
        if info["state"] in ended:
            return


def _remove(group: str) -> Talk:
    """Until the group is gone; one whose process came back in the meantime is stopped once more."""
    while True:
        (answer,) = yield (("supervisor.removeProcessGroup", (group,)),)
        if not isinstance(answer, Fault) or answer.faultCode != STILL_RUNNING:
            return
        for process in (yield from _processes(group)):
            yield from _stop(_name(process), (STOPPED, FATAL, UNKNOWN, EXITED))


def _spawn(name: str) -> Talk:
    """Have a process; returns why there is none."""
    info = yield from _state(name)
    if info["state"] == BACKOFF:
        yield from _stop(name)
    if info["state"] in (RUNNING, STARTING):
        return ""
    (answer,) = yield (("supervisor.startProcess", (name, False)),)
    if isinstance(answer, Fault) and answer.faultCode != ALREADY_STARTED:
        return f"did not start: {answer.faultString}"
    return ""
