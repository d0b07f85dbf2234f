# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens a host root: what the host is, with its supervisor, its prober, its ledger put together.

The one place where engine packages meet, for modules and for the command line alike.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional

from .effects import Clock, Prober, Runner, Supervisor
from .errors import ContinuityError
from .health.probes import NetworkProber
from .rollout.lease import Lease
from .rollout.ledger import Ledger
from .rollout.releases import Releases
from .supervisors import supervisord_daemon
from .supervisors.supervisord import SupervisordSupervisor
from .supervisors.systemd import SystemdSupervisor

FORMAT = 1
NAME = "host.json"


class HostError(ContinuityError):
    """A root that is not a host's, or a description that cannot be followed."""


@dataclass(frozen=True)
class HostDescription:
    """``host.json``: the host's name in the fleet, ``supervisor`` (its ``kind`` and that one's settings),
    the interpreter that runs agents and ``continuity.pyz``, the address on which agents listen."""

    host: str
    supervisor: Mapping[str, Any] = field(default_factory=dict)
    python: str = "/usr/bin/python3"
    address: Optional[str] = None

    def to_text(self) -> str:
        document = {
            "format": FORMAT,
            "host": self.host,
            "supervisor": dict(self.supervisor),
            "python": self.python,
            "address": self.address,
        }
        return json.dumps(document, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_text(cls, text: str, where: str) -> HostDescription:
        """Raises HostError for anything but a description of this format."""
        try:
            document = json.loads(text)
            if document["format"] != FORMAT:
                raise HostError(f"format {document['format']!r}, expected {FORMAT}", where=where)
            return cls(document["host"], document["supervisor"], document["python"], document["address"])
        except (ValueError, KeyError, TypeError) as error:
            raise HostError(
                f"this is not the description of a host: {error!r}", where=where, fix="Stage a release to write it anew"
            ) from error


@dataclass(frozen=True)
class Host:
    """A host root with everything that acts on it. ``name`` is the host's name in the fleet."""

    root: str
    name: str
    python: str
    address: Optional[str]
    supervisor: Supervisor
    prober: Prober
    ledger: Ledger
    lease: Lease
    releases: Releases
    clock: Clock

    def daemon_runs(self) -> bool:
        """Whether the supervisor itself runs. The machine's own always does."""
        if isinstance(self.supervisor, SupervisordSupervisor):
            return supervisord_daemon.answers(self.supervisor.files)
        return True

    def start_daemon(self, runner: Runner) -> bool:
        """Start the supervisor where it is ours to start; True when it did not run before."""
        return isinstance(self.supervisor, SupervisordSupervisor) and self.supervisor.start_daemon(runner)


SupervisorMaker = Callable[[str, HostDescription, Runner, Clock], Supervisor]


def _supervisord(root: str, description: HostDescription, _runner: Runner, clock: Clock) -> Supervisor:
    return SupervisordSupervisor(root, clock, python=description.python, settings=_settings(description))


def _systemd(root: str, description: HostDescription, runner: Runner, clock: Clock) -> Supervisor:
    return SystemdSupervisor(root, runner, clock, python=description.python, settings=_settings(description))


SUPERVISORS: Mapping[str, SupervisorMaker] = {"supervisord": _supervisord, "systemd": _systemd}


def _settings(description: HostDescription) -> dict[str, Any]:
    return {key: value for key, value in description.supervisor.items() if key != "kind"}


def read_description(root: str) -> HostDescription:
    """What ``host.json`` says. Raises HostError when there is none."""
    path = os.path.join(root, NAME)
    try:
        with open(path, encoding="utf-8") as file:
            return HostDescription.from_text(file.read(), path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HostError(
            "this is not the root of a host", where=root, fix="Check continuity_root; stage a release to make it one"
        ) from error


def open_host(root: str, *, runner: Runner, clock: Clock) -> Host:
    """The host of this root. Raises HostError when it is none, or its supervisor is unknown."""
    return compose(root, read_description(root), runner=runner, clock=clock)


def compose(root: str, description: HostDescription, *, runner: Runner, clock: Clock) -> Host:
    """A host as described; touches nothing."""
    root = os.path.abspath(root)
    kind = str(description.supervisor.get("kind"))
    if kind not in SUPERVISORS:
        raise HostError(f"unknown supervisor {kind!r}", where=root, fix=f"Choose one of {', '.join(SUPERVISORS)}")
    ledger = Ledger(root, description.host, clock)
    return Host(
        root=root,
        name=description.host,
        python=description.python,
        address=description.address,
        supervisor=SUPERVISORS[kind](root, description, runner, clock),
        prober=NetworkProber(runner, clock),
        ledger=ledger,
        lease=Lease(root, ledger, clock),
        releases=Releases(root),
        clock=clock,
    )
