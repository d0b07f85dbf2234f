# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents of the demo project, started for real on loopback addresses of their own."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Iterator

import pytest
from demo_agents import CONFIGS, PROJECT, Running, Start

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet


@pytest.fixture(scope="session")
def fleet() -> Fleet:
    return load_fleet([(host, str(PROJECT / "config" / folder / "startup_config.yaml")) for host, folder in CONFIGS])


@pytest.fixture(scope="session")
def python_with_zmq() -> None:
    pytest.importorskip("zmq", reason="agents that speak ZeroMQ need pyzmq in this Python")


@pytest.fixture
def address() -> str:
    return f"127.{random.randint(90, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"


@pytest.fixture
def start(fleet: Fleet, address: str, tmp_path: Path) -> Iterator[Start]:
    """``start(host, name, **how)``: see Running. Everything is ended with the test."""
    agents = {str(agent.id): agent for agent in fleet}
    running: list[Running] = []

    def begin(name: str, **how: Any) -> Running:
        running.append(Running(agents[name], address, tmp_path, **how))
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()
