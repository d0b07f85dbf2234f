# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real agents that are given a password and read it at their start, for tests of what changes it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import small_fleet
from memory_folder import AgeBox, memory_folder
from small_fleet import AGENTS, RULES, SmallFleet

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.secret_rotation import (
    Pace,
    Rotated,
    rotate,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.apply import Request, apply_wave, confirm
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan import Options
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.request import decide
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.injection import Wanted, World, inject
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

USERS = ("Base", "Api")
AGENT = """
import os, sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from shared.serve import serve

with open(os.environ["CREDENTIALS_DIRECTORY"] + "/database_password") as file:
    value = file.read()
serve("ok" if value.startswith("good") else "unhealthy", value)
"""


class Site:
    """The small fleet, some of whose agents are given a password that they read at their start."""

    def __init__(self, folder: Path, memory: Path, users: Sequence[str] = USERS) -> None:
        self.users = tuple(users)
        self.fleet = SmallFleet(folder)
        self.directory = memory / "secrets"
        self.box = AgeBox(folder)
        for agent in self.users:
            (self.fleet.project / "agents" / f"{agent.lower()}.py").write_text(AGENT)

    def start(self, first: str) -> None:
        self.put({"database_password": first, "unused": "x"})
        for host in AGENTS:
            self.fleet.make_root(host)
        self.fleet.stage("r-1")
        hosts = {host: self.fleet.open(host) for host in AGENTS}
        options = Options(waves=["100%"], max_unavailable=5, bake_seconds=0, deadman_seconds=600)
        plan = decide(self.fleet.results("r-1"), options, hosts["pc2"].ledger.load_plan).plan
        request = Request("tester", "run of r-1")
        for host in hosts.values():
            host.lease.acquire("tester", request.run, 900)
            assert apply_wave(host, plan, 1, request).batch.ok
            host.ledger.append("verified", run=request.run, wave=1, verdict="pass", numbers={}, plan=plan.plan_hash)
            confirm(host, plan, request, keep=5)
            host.lease.release("tester", request.run)

    @property
    def world(self) -> World:
        return World(SystemClock(), LocalRunner(), lambda _step: None, lambda _value: None)

    def wanted(self, values: dict[str, str]) -> Wanted:
        return Wanted(str(self.directory), self.box.source, self.box.put(values))

    def put(self, values: dict[str, str]) -> None:
        inject(self.wanted(values), self.world, check=False)

    def rotate(self, values: dict[str, str], *, check: bool = False, parallel: int = 1) -> Rotated:
        pace = Pace(parallel=parallel, seconds=30, healthy_seconds=3)
        return rotate(self.fleet.open("mainpc"), self.wanted(values), self.world, pace, check=check)

    def values(self) -> list[Any]:
        """What the agents say that they have read."""
        return [(self.fleet.ask(agent) or {}).get("note") for agent in self.users]


class Asking(threading.Thread):
    """Asks both agents without pause; ``lost`` are requests without an answer."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.lost: list[str] = []
        self.answered = 0
        self._site = site
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            for agent in self._site.users:
                if self._site.fleet.ask(agent) is None:
                    self.lost.append(agent)
                self.answered += 1
            time.sleep(0.005)

    def __enter__(self) -> Asking:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self.join()


@contextmanager
def secret_site(first: str, users: Sequence[str] = USERS) -> Iterator[Site]:
    """``first`` is the password with which the agents start, ``users`` are those who are given it."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    with memory_folder() as memory, pytest.MonkeyPatch.context() as patch:
        made = Site(folder, memory, users)
        credentials = {"database_password": str(made.directory / "database_password")}
        patch.setattr(
            small_fleet, "RULES", [{"match": [f"*:{agent}" for agent in users], "credentials": credentials}, *RULES]
        )
        try:
            made.start(first)
            yield made
        finally:
            made.fleet.stop()
            shutil.rmtree(folder)
