# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verifiers of all scenarios share: a look at each host, and playbooks run as a user runs them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

import pytest
import testinfra

CHECKOUT = Path(__file__).resolve().parent.parent
OBSERVE = (CHECKOUT / "tests/testbed/observe.py").read_text()
sys.path.insert(0, str(CHECKOUT / "tests/testbed"))
EXPECTED = {"MainPC": 54, "PC2": 23}


class Seen:
    """One host as it is: reached as testinfra reaches it, seen through tests/testbed/observe.py."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.variables: dict[str, Any] = host.ansible.get_variables()
        self.name: str = self.variables["continuity_host"]
        self.root: str = self.variables["continuity_root"]
        self.supervisor: str = self.variables["continuity_supervisor"]
        self.expected = EXPECTED[self.name]

    def look(self) -> dict[str, Any]:
        python = self.variables["continuity_python"]
        seen = self.host.run(f"{shlex.quote(python)} -c {shlex.quote(OBSERVE)} {shlex.quote(self.root)}")
        assert seen.rc == 0, seen.stderr
        return dict(json.loads(seen.stdout))

    def is_wholly_on(self, release: str) -> None:
        """Every agent of the release runs it, its links point at it, the ledger says so, it answers."""
        now = self.look()
        running = {process["agent"]: process["release"] for process in now["processes"]}
        assert len(running) == self.expected
        assert set(running.values()) == {release}
        assert now["current"] == release
        pointed = {agent: set(slots.values()) for agent, slots in now["links"].items()}
        assert {agent for agent in running if release not in pointed[agent]} == set()
        assert {agent: word for agent, word in now["answers"].items() if word.startswith("error")} == {}


@dataclass(frozen=True)
class Played:
    """A finished ``ansible-playbook``."""

    status: int
    output: str
    seconds: float


class Controller:
    """Runs the collection's playbooks on both hosts, in a process of their own."""

    def __init__(self, inventory: str) -> None:
        self.inventory = inventory
        self.environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache/collections"),
            "ANSIBLE_HOST_KEY_CHECKING": "false",
            "ANSIBLE_NOCOLOR": "1",
        }

    def start(self, playbook: str, *arguments: str, log: Path, **variables: Any) -> subprocess.Popen[bytes]:
        command = ["ansible-playbook", f"--inventory={self.inventory}", *arguments]
        command += ["--extra-vars", json.dumps(variables), f"fleetops.continuity.{playbook}"]
        with log.open("wb") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=CHECKOUT,
                start_new_session=True,
            )

    def play(self, playbook: str, *arguments: str, log: Path, seconds: float = 600, **variables: Any) -> Played:
        began = time.monotonic()
        process = self.start(playbook, *arguments, log=log, **variables)
        try:
            status = process.wait(seconds)
        finally:
            if process.poll() is None:
                process.kill()
        return Played(status, log.read_text(errors="replace"), time.monotonic() - began)


@pytest.fixture(scope="session")
def inventory(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("ansible_inventory"))


@pytest.fixture(scope="session")
def controller(inventory: str) -> Controller:
    return Controller(inventory)


@pytest.fixture(scope="session")
def fleet(inventory: str) -> dict[str, Seen]:
    """Both hosts, by their name in the fleet."""
    hosts = testinfra.get_hosts(["ansible://fleet"], ansible_inventory=inventory)
    return {seen.name: seen for seen in map(Seen, hosts)}


@pytest.fixture
def seen(host: Any) -> Iterator[Seen]:
    """The host of this test."""
    yield Seen(host)
