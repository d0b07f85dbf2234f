# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine needs from the world, as small protocols.

Engine packages never start a program, read a clock, or talk to a supervisor by themselves:
they are handed one of these. Modules and the command line pass the real ones; attacks in the
tests pass bent ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, Protocol, Sequence


@dataclass(frozen=True)
class CompletedRun:
    """How a program ended: exit status, and what it wrote as text."""

    status: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs one program to its end; no shell, closed standard input unless ``stdin`` is given.

    Raises ``errors.ContinuityError`` when the program does not exist or outlives ``timeout`` (seconds).
    """

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: Optional[str] = None,
        timeout: float = 60.0,
    ) -> CompletedRun: ...


class Clock(Protocol):
    """Wall time for people, monotonic time for deadlines."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back and that count while the machine sleeps; comparable
        between processes of one boot (CLOCK_BOOTTIME)."""

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def boot_id(kernel: str = "/proc/sys/kernel/random/boot_id", init: str = "/proc/1/stat") -> str:
    """Names this boot of the host: that of its kernel, and when its first process was started (in
    clock ticks, field 22 of proc_pid_stat(5)), since a container boots without its kernel."""
    with open(kernel, encoding="ascii") as file:
        boot = file.read().strip()
    try:
        with open(init, encoding="utf-8", errors="replace") as file:
            started = file.read().rpartition(")")[2].split()[19]
    except (FileNotFoundError, PermissionError):
        # Mounted with hidepid: other users' processes are not to be seen.
        return boot
    return f"{boot}.{started}"


@dataclass(frozen=True)
class Unit:
    """What a supervisor must know of one agent, and nothing that changes with a release.

    The command is a file that both slots reach through a link, so a new release never needs a
    new unit; only a change of ``sockets``, ``user``, … does.

    ``sockets`` are ``host:port`` strings that the supervisor binds and hands over (supervisord: only
    the first); empty for an agent that binds by itself. ``stop_seconds`` is the time for draining before it is killed.
    ``directory`` is the working directory, ``log_file`` takes stdout and stderr, ``credentials``
    maps a credential's name to the file that holds it. ``overlap`` says that the old and the new
    instance may run side by side while one hands over to the other: every port comes from the
    supervisor, and the state bears two writers. Only systemd makes use of it.
    """

    agent: str
    directory: str
    log_file: str
    sockets: tuple[str, ...] = ()
    user: Optional[str] = None
    stop_seconds: float = 10.0
    credentials: Mapping[str, str] = field(default_factory=dict)
    overlap: bool = False


@dataclass(frozen=True)
class ProcessStatus:
    """What the supervisor knows of one agent, asked by its exact name.

    ``state`` is one of ``running starting stopped failed absent``; ``since`` is wall time in
    seconds (None when it does not run); ``restarts`` counts restarts that nobody asked for;
    ``slot`` names the slot whose instance serves.
    """

    agent: str
    state: str
    pid: Optional[int] = None
    since: Optional[float] = None
    restarts: int = 0
    slot: str = "blue"
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of one agent in a batch. ``seconds`` is how long it took, ``away_seconds`` how
    long nothing held its socket (0.0 when the socket was handed over)."""

    agent: str
    ok: bool
    message: str = ""
    seconds: float = 0.0
    away_seconds: float = 0.0


Switch = Callable[[str, str], None]
"""``switch(agent, slot)`` points the agent's slot at the release that it is to run from now on."""


class Supervisor(Protocol):
    """Many agents at once; each method answers for every agent that it was given, keyed by name.

    ``parallel`` bounds how many agents of the batch are away at one time, ``timeout`` (seconds)
    is for the whole batch. An agent that fails does not stop the others.
    """

    def install(self, units: Sequence[Unit]) -> list[str]:
        """Make the supervisor know exactly these units; returns the agents whose unit changed.

        Starts and stops nothing that did not change.
        """

    def render(self, units: Sequence[Unit]) -> dict[str, str]:
        """The files that ``install`` would leave, path to content (pure)."""

    def status(self, agents: Sequence[str]) -> dict[str, ProcessStatus]: ...

    def start(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]: ...

    def stop(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]: ...

    def restart(self, agents: Sequence[str], *, timeout: float, parallel: int = 8) -> dict[str, Outcome]: ...

    def take_over(
        self, agents: Sequence[str], switch: Switch, *, timeout: float, parallel: int = 8
    ) -> dict[str, Outcome]:
        """Replace each agent's instance: the socket stays open, ``switch`` is called at the moment
        at which the slot may be pointed elsewhere. Also starts an agent that does not run."""

    def start_companion(self, name: str, argv: Sequence[str]) -> None:
        """Run a helper of our own (the dead man) under the supervisor, detached from the caller,
        restarted when it dies by a signal, gone when it exits with 0. Replaces one of the same name."""

    def stop_companion(self, name: str) -> None: ...


@dataclass(frozen=True)
class Probe:
    """How one agent is asked for its health.

    ``kind`` is one of ``http zmq tcp command file_age``. ``target`` is ``host:port`` (http, zmq,
    tcp) or a path (file_age); ``path`` the HTTP path; ``request`` what is sent to a ZeroMQ socket;
    ``argv`` the command; ``max_age`` the oldest acceptable file in seconds; ``timeout`` seconds for
    one answer.
    """

    agent: str
    kind: str
    target: str = ""
    path: str = "/health"
    request: str = '{"action": "health_check"}'
    argv: tuple[str, ...] = ()
    max_age: float = 60.0
    timeout: float = 2.0


@dataclass(frozen=True)
class Health:
    """One answer. ``status`` is ``healthy degraded unhealthy unknown``; ``alive`` says that something
    answered, ``ready`` that the agent takes work; ``word`` is what it really said; ``seconds`` the
    response time; ``errors`` its own error counter when it reports one, else None."""

    agent: str
    status: str
    alive: bool
    ready: bool
    word: str = ""
    seconds: float = 0.0
    errors: Optional[int] = None
    message: str = ""


class Prober(Protocol):
    """Asks all agents at once; answers for every probe that it was given, keyed by agent, no later
    than ``deadline`` seconds from now."""

    def probe(self, probes: Sequence[Probe], *, deadline: float) -> dict[str, Health]: ...
