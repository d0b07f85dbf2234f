# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Agents of the demo project as processes, and where the demo lies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Agent

DEMO = Path(__file__).resolve().parents[3] / "inventories" / "demo"
PROJECT = DEMO / "project"
AS_SYSTEMD = """
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1].split(",")]
for at, number in enumerate(high):
    os.dup2(number, 3 + at)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Hands its sockets on as systemd does: from file descriptor 3 on, meant for this very process."""
CONFIGS = [("MainPC", "mainpc"), ("PC2", "pc2")]


def listen(address: str, port: int) -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((address, port))
    held.listen(512)
    return held


class Running:
    """One agent as a process. ``handed`` are the sockets that it is given: one as file descriptor 0,
    or, with ``by_systemd``, all of them from file descriptor 3 on."""

    def __init__(
        self,
        agent: Agent,
        address: str,
        folder: Path,
        *,
        handed: Sequence[socket.socket] = (),
        by_systemd: bool = False,
        project: Path = PROJECT,
        **environment: str,
    ) -> None:
        assert agent.port and agent.port.number and agent.health_check_port and agent.health_check_port.number
        self.agent = agent
        self.address = address
        self.port = agent.port.number
        self.health_port = agent.health_check_port.number
        self.state = folder / "state" / agent.name
        self.log = folder / f"{agent.name}.log"
        command = [sys.executable, str(project / agent.script_path)]
        if by_systemd:
            command = [
                sys.executable,
                "-S",
                "-c",
                AS_SYSTEMD,
                ",".join(str(sock.fileno()) for sock in handed),
                *command,
            ]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                stdin=handed[0].fileno() if handed and not by_systemd else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[sock.fileno() for sock in handed],
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(project),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "AGENT_NAME": agent.name,
                    "AGENT_BIND": address,
                    "AGENT_PORT": str(self.port),
                    "AGENT_HEALTH_PORT": str(self.health_port),
                    "AGENT_STATE_DIR": str(self.state),
                    "AGENT_RELEASE": "r-test",
                    **environment,
                },
            )

    @property
    def source(self) -> str:
        return (PROJECT / self.agent.script_path).read_text(encoding="utf-8")

    @property
    def service_speaks_zmq(self) -> bool:
        return "zmq_service" in self.source

    @property
    def health_speaks_zmq(self) -> bool:
        return 'health_protocol = "zmq"' in self.source or 'health_protocol="zmq"' in self.source

    def wait_ready(self, seconds: float = 20.0) -> Running:
        deadline = time.monotonic() + seconds
        for port in (self.port, self.health_port):
            while True:
                try:
                    socket.create_connection((self.address, port), timeout=1.0).close()
                    break
                except OSError:
                    assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
                    time.sleep(0.02)
        while "serves" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    def get(self, path: str = "/", port: Optional[int] = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.address, port or self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ask(self, port: int, action: str) -> dict[str, Any]:
        import zmq

        with zmq.Context() as context, context.socket(zmq.REQ) as question:
            question.setsockopt(zmq.LINGER, 0)
            question.connect(f"tcp://{self.address}:{port}")
            question.send_json({"action": action})
            assert question.poll(5000), f"{self.agent.id} did not answer {action}"
            answer: dict[str, Any] = question.recv_json()
            return answer

    def health(self) -> dict[str, Any]:
        if self.health_speaks_zmq:
            return self.ask(self.health_port, "health_check")
        status, text = self.get("/health", self.health_port)
        assert status == 200, text
        document: dict[str, Any] = json.loads(text)
        return document

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15.0)


Start = Callable[..., Running]
