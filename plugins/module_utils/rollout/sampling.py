# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the agents of one host: for the baseline before a change, and for the gate after it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from ..effects import Clock, Health, Prober, Supervisor
from .gates import Baseline, Sample
from .model import ReleasedAgent

ERROR_LINE = re.compile(rb'\b(?:ERROR|CRITICAL|FATAL)\b|^Traceback |"level": ?"(?:error|critical|fatal)"')
TAIL = 256 << 10
"""How many bytes of a log are read at a time, at most."""


@dataclass
class LogWatch:
    """Counts the lines that a log gains, also when it is rotated meanwhile."""

    path: str
    lines: int = 0
    errors: int = 0
    _inode: int = 0
    _offset: int = 0
    _begun: bool = field(default=False)

    def begin(self) -> None:
        """Count from here on."""
        status = _status(self.path)
        self._inode, self._offset = (status.st_ino, status.st_size) if status else (0, 0)
        self._begun = True

    def advance(self) -> None:
        """Count what came since; of a burst longer than ``TAIL`` only the end."""
        status = _status(self.path)
        if status is None:
            return
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._inode, self._offset = status.st_ino, 0
        lines, errors = _count(self.path, max(self._offset, status.st_size - TAIL))
        self._offset = status.st_size
        self.lines += lines
        self.errors += errors


def error_share(path: str) -> Optional[float]:
    """The share of error lines at the end of a log; None when it has no lines."""
    status = _status(path)
    if status is None:
        return None
    lines, errors = _count(path, max(0, status.st_size - TAIL))
    return errors / lines if lines else None


class Watch:
    """A series of looks at agents, for a gate."""

    def __init__(self, supervisor: Supervisor, prober: Prober, clock: Clock, agents: Sequence[ReleasedAgent]) -> None:
        self._supervisor = supervisor
        self._prober = prober
        self._clock = clock
        self._agents = list(agents)
        self._logs = {agent.name: LogWatch(agent.unit.log_file) for agent in agents}
        self.samples: dict[str, list[Sample]] = {agent.name: [] for agent in agents}
        for log in self._logs.values():
            log.begin()

    def look(self) -> None:
        """Ask every agent once, all at the same time."""
        if not self._agents:
            return
        health = probe_all(self._prober, self._agents)
        processes = self._supervisor.status([agent.name for agent in self._agents])
        now = self._clock.monotonic()
        for name, log in self._logs.items():
            log.advance()
            answer, process = health[name], processes[name]
            self.samples[name].append(
                Sample(
                    at=now,
                    status=answer.status,
                    process=process.state,
                    restarts=process.restarts,
                    errors=answer.errors,
                    log_lines=log.lines,
                    log_errors=log.errors,
                    seconds=answer.seconds,
                )
            )


def probe_all(prober: Prober, agents: Sequence[ReleasedAgent]) -> Mapping[str, Health]:
    """Every agent's health, keyed by name, within the longest of the probes' own timeouts."""
    if not agents:
        return {}
    return prober.probe([agent.probe for agent in agents], deadline=max(agent.probe.timeout for agent in agents) + 0.5)


def take_baseline(
    supervisor: Supervisor, prober: Prober, clock: Clock, agents: Sequence[ReleasedAgent]
) -> dict[str, Baseline]:
    """How these agents are now. An agent whose process does not run is ``absent``."""
    health = probe_all(prober, agents)
    processes = supervisor.status([agent.name for agent in agents]) if agents else {}
    found = {}
    for agent in agents:
        answer, process = health[agent.name], processes[agent.name]
        runs = process.state in ("running", "starting")
        minutes = (clock.now() - process.since) / 60 if runs and process.since is not None else 0.0
        told = answer.errors is not None and minutes > 0
        found[agent.name] = Baseline(
            status=answer.status if runs else "absent",
            errors_per_minute=round((answer.errors or 0) / max(minutes, 1.0), 3) if told else None,
            log_error_share=error_share(agent.unit.log_file),
        )
    return found


def _status(path: str) -> Optional[os.stat_result]:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _count(path: str, offset: int) -> tuple[int, int]:
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            lines = file.read(TAIL).splitlines()
    except FileNotFoundError:
        return 0, 0
    return len(lines), sum(ERROR_LINE.search(line) is not None for line in lines)
