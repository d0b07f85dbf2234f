# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release a running agent was really started from.

A link says what the next start will run; only the process itself says what runs now. Whoever died
between moving a link and replacing a process leaves the two apart, and this is how that is seen.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Mapping, Optional

from ..effects import ProcessStatus
from .model import Release
from .release_document import ReleaseError
from .releases import Releases

if TYPE_CHECKING:
    from ..host import Host

VARIABLE = b"AGENT_RELEASE="


def release_of(pid: Optional[int], processes: str = "/proc") -> Optional[str]:
    """``AGENT_RELEASE`` in the environment with which the process was started; None when there is
    none, or when it may not be read."""
    if pid is None:
        return None
    try:
        with open(os.path.join(processes, str(pid), "environ"), "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return None
    return next((os.fsdecode(one[len(VARIABLE) :]) for one in variables if one.startswith(VARIABLE)), None)


def running_releases(host: Host, release: Release) -> set[str]:
    """Every release that a process of these agents was started from: its code is still there to be
    imported, and only by it is seen that the process runs what is wanted."""
    processes = host.supervisor.status(list(release.agents)).values()
    found = (release_of(process.pid) for process in processes)
    return {release_id for release_id in found if release_id is not None}


class RunningCode:
    """Answers whether agents already run what a release wants, by the fingerprints of the releases
    that their processes were started from."""

    def __init__(self, releases: Releases, target: Release) -> None:
        self._releases = releases
        self._known: dict[str, Mapping[str, str]] = {target.id: _fingerprints(target)}
        self._target = target.id

    def is_target(self, process: ProcessStatus) -> bool:
        """Whether this process runs, and runs what the target has for its agent."""
        if process.state != "running":
            return False
        release = release_of(process.pid)
        wanted = self._known[self._target].get(process.agent)
        return release is not None and wanted is not None and self._fingerprint(release, process.agent) == wanted

    def _fingerprint(self, release: str, agent: str) -> Optional[str]:
        if release not in self._known:
            try:
                self._known[release] = _fingerprints(self._releases.load(release))
            except ReleaseError:
                self._known[release] = {}
        return self._known[release].get(agent)


def _fingerprints(release: Release) -> dict[str, str]:
    return {name: agent.fingerprint for name, agent in release.agents.items()}
