# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host root with a real supervisord, and releases whose agents are small real services."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.supervisord import SupervisordSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "supervised"
BOOT_CHECK = "import pathlib, sys; pathlib.Path(sys.argv[3], 'boot-checked').write_text(' '.join(sys.argv[1:]))"


class HostRoot:
    """``release`` publishes one start script for each agent, ``switch`` points a slot to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.units: dict[str, Unit] = {}
        path.mkdir(parents=True)
        (path / "continuity.pyz").write_text(BOOT_CHECK)

    def agent(self, name: str, *, with_socket: bool = True, stop_seconds: float = 10.0) -> str:
        """Declare an agent; returns its address."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.units[name] = Unit(
            name,
            directory=str(self.path / "state" / name),
            log_file=str(self.path / "logs" / f"{name}.log"),
            sockets=(address,) if with_socket else (),
            stop_seconds=stop_seconds,
        )
        self.release(name, "r1", [sys.executable, str(FIXTURES / "http_agent.py"), "r1", address])
        return address

    def release(self, name: str, release: str, command: list[str]) -> None:
        script = self.path / "releases" / release / "units" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(f'#!/bin/sh\n[ "$1" = 0 ] && exec sleep infinity\nexec {shlex.join(command)}\n')
        script.chmod(0o755)

    def next_release(self, name: str, release: str) -> None:
        old = (self.path / "releases" / "r1" / "units" / name).read_text()
        script = self.path / "releases" / release / "units" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(old.replace(" r1 ", f" {release} "))
        script.chmod(0o755)

    def point(self, name: str, slot: str, release: str) -> None:
        link = self.path / "agents" / name / slot
        link.parent.mkdir(parents=True, exist_ok=True)
        aside = link.with_name(f".{slot}")
        aside.symlink_to(f"../../releases/{release}")
        os.rename(aside, link)


@pytest.fixture
def host(tmp_path: Path) -> HostRoot:
    return HostRoot(tmp_path / "root")


@pytest.fixture
def supervisor(host: HostRoot) -> Iterator[SupervisordSupervisor]:
    executable = Path(sys.executable).with_name("supervisord")
    if not executable.exists():
        pytest.skip(f"supervisor is not installed beside {sys.executable}")
    supervisor = SupervisordSupervisor(str(host.path), SystemClock(), python=sys.executable)
    supervisor.start_daemon(LocalRunner())
    yield supervisor
    supervisor.stop_daemon()
