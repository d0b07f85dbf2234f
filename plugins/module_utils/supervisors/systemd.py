# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Production: the host's own systemd.

An agent with a socket has a ``.socket`` unit, which systemd keeps open whatever happens to the agent,
and two instances of one service. Where both may run side by side, the one that does not serve is
started on the new release, and when it is ready the other one drains and ends. Elsewhere the one
instance is restarted while its requests wait in the socket. Traffic may start slot ``blue`` at any
time at which none runs, so both slots lead to the same release whenever no hand-over is going on.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import Any, Generator, Mapping, Optional, Sequence

from ..effects import Clock, Outcome, ProcessStatus, Runner, Switch, Unit
from ..errors import ContinuityError
from . import systemd_units as units_text
from .conversation import SETTLES_WITHIN, hold
from .systemctl import Properties, Question, Systemctl
from .systemd_units import BOOT_CHECK, SLOTS, TARGET, companion_unit, service_unit, socket_unit
from .unit_files import read, write_changed

Seen = Mapping[str, Properties]
Talk = Generator[Question, Seen, Any]

PAUSE = 0.05
SERVING = ("active", "reloading")
DOWN = ("inactive", "failed")
STATES = {
    "active": "running",
    "reloading": "running",
    "deactivating": "running",
    "activating": "starting",
    "failed": "failed",
    "inactive": "stopped",
}


class SystemdSupervisor:
    """The Supervisor protocol over systemd.

    ``settings`` are those of host.json: ``unit_directory`` (default /etc/systemd/system) and
    ``hardening`` (true, false, or auto: not inside containers, which cannot make mount namespaces).
    ``python`` runs the boot check.
    """

    def __init__(
        self,
        root: str,
        runner: Runner,
        clock: Clock,
        *,
        python: str = "/usr/bin/python3",
        settings: Optional[Mapping[str, Any]] = None,
    ) -> None:
        chosen = dict(settings or {})
        self._root = os.path.abspath(root)
        self._runner = runner
        self._clock = clock
        self._python = python
        self._directory = str(chosen.get("unit_directory") or "/etc/systemd/system")
        self._hardening: Any = chosen.get("hardening", "auto")
        self._systemctl = Systemctl(runner)

    # Units

    def render(self, units: Sequence[Unit]) -> dict[str, str]:
        """A template and maybe a socket for each agent, the boot check and the target."""
        files = units_text.render_common(self._root, self._python, units)
        for unit in units:
            files.update(units_text.render_agent(self._root, unit, hardening=self._hardened()))
        return {os.path.join(self._directory, name): text for name, text in files.items()}

    def install(self, units: Sequence[Unit]) -> list[str]:
        """Write what changed, stop and forget agents that are no longer named, reload systemd once.

        A running agent gets its changed unit when it is next started, restarted or taken over.
        """
        rendered = self.render(units)
        self._refuse_foreign(rendered)
        for unit in units:
            self._prepare(unit)
        installed = self._installed()
        wanted = {unit.agent for unit in units}
        gone = {path: agent for path, agent in installed.items() if path not in rendered}
        ended = sorted({agent for agent in gone.values() if agent not in wanted})
        if ended:
            failed = [outcome.message for outcome in self.stop(ended, timeout=120.0).values() if not outcome.ok]
            if failed:
                raise ContinuityError(f"agents that are no longer declared could not be stopped: {'; '.join(failed)}")
        written = write_changed(rendered)
        for path in gone:
            os.unlink(path)
        if written or gone:
            self._systemctl.run("daemon-reload")
            self._systemctl.run("enable", "--quiet", "--no-reload", TARGET, BOOT_CHECK)
        owners = [units_text.owner(rendered[path]) for path in written]
        return sorted({*(owned[1] for owned in owners if owned and owned[1]), *gone.values()})

    # Agents

    def status(self, agents: Sequence[str]) -> dict[str, ProcessStatus]:
        seen = self._systemctl.look(unit for agent in agents for unit in _units(agent))
        slots = {agent: _shown_slot(agent, seen) for agent in agents}
        wanted = [service_unit(agent, slot) for agent, slot in slots.items()]
        shown = self._systemctl.show(unit for unit in wanted if seen[unit]["ActiveState"] != "inactive")
        return {agent: self._status(agent, slots[agent], seen, shown) for agent in agents}

    def start(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return self._hold(agents, self._started, timeout, parallel)

    def stop(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return self._hold(agents, self._stopped, timeout, parallel)

    def restart(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]:
        return self._hold(agents, lambda agent: self._replaced(agent, None), timeout, parallel)

    def take_over(
        self, agents: Sequence[str], switch: Switch, *, timeout: float, parallel: int = 8
    ) -> dict[str, Outcome]:
        """Replace each agent as its unit allows.

        With ``overlap``: switch the slot that does not serve, start it, wait until it is ready, end the
        other one, switch that too; one that does not become ready is ended again, and the old one goes on
        serving. With a socket: switch, restart. Without: stop, switch, start.
        """
        return self._hold(agents, lambda agent: self._replaced(agent, switch), timeout, parallel)

    # Companions

    def start_companion(self, name: str, argv: Sequence[str]) -> None:
        self.stop_companion(name)
        log_file = os.path.join(self._root, "logs", f"continuity-{name}.log")
        os.makedirs(os.path.dirname(log_file), exist_ok=True)
        properties = ["Type=exec", "Restart=on-failure", "RestartSec=1", "StartLimitIntervalSec=0"]
        properties += [f"StandardOutput=append:{log_file}", "StandardError=inherit"]
        ended = self._runner.run(
            [
                "systemd-run",
                "--quiet",
                "--collect",
                f"--unit={companion_unit(name)}",
                *(f"--property={text}" for text in properties),
                "--",
                *argv,
            ]
        )
        if ended.status != 0:
            raise ContinuityError(f"systemd did not start it: {ended.stderr.strip()}", where=companion_unit(name))

    def stop_companion(self, name: str) -> None:
        unit = companion_unit(name)
        if self._systemctl.look([unit])[unit]["ActiveState"] == "inactive":
            return
        self._systemctl.run("stop", unit, accepted=(0, 5))
        if self._systemctl.look([unit])[unit]["ActiveState"] == "failed":
            self._systemctl.run("reset-failed", unit)

    # How it is done

    def _hold(self, agents: Sequence[str], begin: Any, timeout: float, parallel: int) -> dict[str, Outcome]:
        return hold(
            agents, begin, self._systemctl.exchange, self._clock, parallel=parallel, timeout=timeout, pause=PAUSE
        )

    def _started(self, agent: str) -> Generator[Question, Seen, Outcome]:
        seen = yield Question("look", _units(agent))
        if _serving(agent, seen):
            return Outcome(agent, True)
        return (yield from self._from_nothing(agent, seen, None))

    def _stopped(self, agent: str) -> Generator[Question, Seen, Outcome]:
        seen = yield Question("look", _units(agent))
        yield from _down(_loaded(agent, seen))
        return Outcome(agent, True)

    def _replaced(self, agent: str, switch: Optional[Switch]) -> Generator[Question, Seen, Outcome]:
        seen = yield Question("look", _units(agent))
        serving = _serving(agent, seen)
        if (yield from self._socket_open(agent, seen)):
            if serving and units_text.overlaps(read(self._file(service_unit(agent, "")))):
                yield from _down(tuple(service_unit(agent, slot) for slot in serving[1:]))
                return (yield from self._hand_over(agent, serving[0], switch))
            return (yield from self._in_place(agent, seen, switch))
        stopping_since = self._clock.monotonic()
        outcome: Outcome = yield from self._from_nothing(agent, seen, switch)
        if not serving:
            return outcome
        settled = 0.0 if self._has_socket(agent) or not outcome.ok else SETTLES_WITHIN
        away = max(0.0, self._clock.monotonic() - stopping_since - settled)
        return Outcome(agent, outcome.ok, outcome.message, away_seconds=round(away, 3))

    def _hand_over(self, agent: str, old: str, switch: Optional[Switch]) -> Generator[Question, Seen, Outcome]:
        new = SLOTS[1 - SLOTS.index(old)]
        unit = service_unit(agent, new)
        yield from _down((unit,))
        if switch is not None:
            switch(agent, new)
        trouble = yield from self._up(unit)
        if trouble:
            yield from _down((unit,))
            return Outcome(agent, False, f"{trouble}; {old} goes on serving")
        yield from _down((service_unit(agent, old),))
        if switch is not None:
            switch(agent, old)
        return Outcome(agent, True)

    def _in_place(self, agent: str, seen: Seen, switch: Optional[Switch]) -> Generator[Question, Seen, Outcome]:
        """The slots are switched first: between the two instances, traffic may be the one to start blue."""
        if switch is not None:
            for slot in SLOTS:
                switch(agent, slot)
        green = service_unit(agent, "green")
        yield from _down((green,) if green in _loaded(agent, seen) else ())
        trouble = yield from self._up(service_unit(agent, "blue"), verb="restart")
        return Outcome(agent, trouble in ("", QUEUED), trouble)

    def _from_nothing(self, agent: str, seen: Seen, switch: Optional[Switch]) -> Generator[Question, Seen, Outcome]:
        """Stop whatever is left of the agent, switch its slots, open its socket, start blue."""
        if not os.path.exists(self._file(service_unit(agent, ""))):
            return Outcome(agent, False, "systemd knows no such agent; install its unit first")
        with_socket = self._has_socket(agent)
        yield from _down(_loaded(agent, seen))
        failed = ""
        try:
            for slot in SLOTS if with_socket else SLOTS[:1]:
                if switch is not None:
                    switch(agent, slot)
        except (ContinuityError, OSError) as error:
            failed = f"not switched: {error}"
        if with_socket:
            socket = socket_unit(agent)
            opened = yield Question("start", (socket,))
            while opened[socket]["Job"]:
                opened = yield Question("look", (socket,))
            if opened[socket]["ActiveState"] != "active":
                why = yield from _why(socket, opened[socket])
                return Outcome(agent, False, f"its socket cannot be opened: {why}")
        trouble = yield from self._up(service_unit(agent, "blue"), settle=not with_socket)
        return Outcome(agent, not failed and trouble in ("", QUEUED), failed or trouble)

    def _up(self, unit: str, *, verb: str = "start", settle: bool = False) -> Talk:
        """Start a service and wait for the result; returns why it does not run."""
        seen = yield Question(verb, (unit,))
        while seen[unit]["Job"]:
            seen = yield Question("look", (unit, BOOT_CHECK))
            if seen[BOOT_CHECK]["ActiveState"] == "activating":
                return QUEUED
        until = self._clock.monotonic() + (SETTLES_WITHIN if settle else 0.0)
        while seen[unit]["ActiveState"] in SERVING and self._clock.monotonic() < until:
            seen = yield Question("look", (unit,))
        if seen[unit]["ActiveState"] in SERVING:
            return ""
        why = yield from _why(unit, seen[unit])
        return f"{unit} did not start: {why}"

    def _socket_open(self, agent: str, seen: Seen) -> Talk:
        """Whether systemd holds the socket as the unit file has it; a changed file needs a new socket."""
        unit = socket_unit(agent)
        if seen[unit]["ActiveState"] != "active" or not self._has_socket(agent):
            return False
        shown = yield Question("show", (unit,))
        return os.stat(self._file(unit)).st_mtime <= self._entered(shown[unit]) + 0.5

    def _entered(self, state: Properties) -> float:
        return self._clock.now() - (time.monotonic() - int(state["ActiveEnterTimestampMonotonic"]) / 1e6)

    def _status(self, agent: str, slot: str, seen: Seen, shown: Seen) -> ProcessStatus:
        if not os.path.exists(self._file(service_unit(agent, ""))):
            return ProcessStatus(agent, "absent")
        unit = service_unit(agent, slot)
        state = {**seen[unit], **shown.get(unit, {})}
        word = "failed" if state["SubState"] == "auto-restart" else STATES[state["ActiveState"]]
        socket = seen[socket_unit(agent)]
        message = _reason(state) if word == "failed" else ""
        if word == "running" and self._has_socket(agent) and socket["ActiveState"] != "active":
            message = f"systemd does not hold its socket: {socket['ActiveState']}"
        return ProcessStatus(
            agent,
            word,
            pid=int(state.get("MainPID") or 0) or None,
            since=round(self._entered(state), 3) if word == "running" and unit in shown else None,
            restarts=int(state.get("NRestarts") or 0),
            slot=slot,
            message=message,
        )

    def _has_socket(self, agent: str) -> bool:
        return os.path.exists(self._file(socket_unit(agent)))

    def _file(self, unit: str) -> str:
        return os.path.join(self._directory, unit)

    def _hardened(self) -> bool:
        if self._hardening == "auto":
            ended = self._runner.run(["systemd-detect-virt", "--container", "--quiet"])
            self._hardening = ended.status != 0
        return bool(self._hardening)

    def _installed(self) -> dict[str, str]:
        """Our unit files of this root's agents, path to agent."""
        found = {}
        for name in os.listdir(self._directory):
            if name.startswith("agent-") and name.endswith((".socket", "@.service")):
                path = os.path.join(self._directory, name)
                owned = units_text.owner(read(path))
                if owned is not None and owned[0] == self._root and owned[1] is not None:
                    found[path] = owned[1]
        return found

    def _refuse_foreign(self, rendered: Mapping[str, str]) -> None:
        for path in rendered:
            text = read(path)
            owned = units_text.owner(text)
            if text is not None and (owned is None or owned[0] != self._root):
                whose = "not ours" if owned is None else f"of another root, {owned[0]}"
                raise ContinuityError(
                    f"this unit file is {whose}", where=path, fix="Move it away, or keep one root on a host"
                )

    def _prepare(self, unit: Unit) -> None:
        """The working directory and the log file, owned by the agent's user: systemd would create the log
        file as root, and the agent writes to it too."""
        made = [path for path in (unit.directory, os.path.dirname(unit.log_file)) if not os.path.isdir(path)]
        for path in made:
            os.makedirs(path)
        if unit.user is None:
            return
        try:
            if not os.path.exists(unit.log_file):
                os.close(os.open(unit.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640))
                shutil.chown(unit.log_file, unit.user)
            if unit.directory in made:
                shutil.chown(unit.directory, unit.user)
        except LookupError as error:
            raise ContinuityError(
                f"there is no user {unit.user}", where=unit.agent, fix="Create the user, or change the agent's rule"
            ) from error


QUEUED = "starts as soon as the boot check has ended"


def _units(agent: str) -> tuple[str, ...]:
    return (socket_unit(agent), *(service_unit(agent, slot) for slot in SLOTS))


def _loaded(agent: str, seen: Seen) -> tuple[str, ...]:
    return tuple(unit for unit in _units(agent) if seen[unit]["ActiveState"] != "inactive" or seen[unit]["Job"])


def _serving(agent: str, seen: Seen) -> list[str]:
    return [slot for slot in SLOTS if seen[service_unit(agent, slot)]["ActiveState"] in SERVING]


def _shown_slot(agent: str, seen: Seen) -> str:
    """The slot that tells most of the agent: the one that serves, else the one that comes closest."""
    order = [*SERVING, "deactivating", "activating", "failed", "inactive"]
    return min(SLOTS, key=lambda slot: order.index(seen[service_unit(agent, slot)]["ActiveState"]))


def _down(units: tuple[str, ...]) -> Talk:
    """Stop units and wait until they are down; what failed is forgotten."""
    if not units:
        return
    seen = yield Question("stop", units)
    while any(seen[unit]["Job"] or seen[unit]["ActiveState"] not in DOWN for unit in units):
        refused = [seen[unit]["Refused"] for unit in units if seen[unit]["Refused"]]
        if refused:
            raise ContinuityError(f"systemd did not stop it: {refused[0]}", where=" ".join(units))
        seen = yield Question("look", units)
    failed = tuple(unit for unit in units if seen[unit]["ActiveState"] == "failed")
    if failed:
        yield Question("reset-failed", failed)


def _why(unit: str, state: Properties) -> Talk:
    """Why a unit that was started does not run."""
    if state["Refused"]:
        return state["Refused"]
    seen = yield Question("show", (unit,))
    return _reason(seen[unit])


def _reason(state: Properties) -> str:
    if state["LoadState"] != "loaded":
        return f"its unit is {state['LoadState']}"
    if state["ActiveState"] == "inactive" and state.get("ConditionResult") == "no":
        checked = state.get("ConditionTimestampMonotonic", "0") != "0"
        return "its start script does not exist" if checked else "systemd refused to start it (see its journal)"
    status = state.get("ExecMainStatus", "0")
    return f"{state.get('Result') or state['ActiveState']}" + (f", exit status {status}" if status != "0" else "")
