# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's fleet as an outsider sees it: what agents answer, what supervisors count, what ledgers hold."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Callable, Mapping, Optional

import yaml
import zmq

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.host import Host, open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.supervisord import SupervisordSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

HERE = Path(__file__).resolve().parent
CONFIGS = {
    "MainPC": HERE / "project/config/mainpc/startup_config.yaml",
    "PC2": HERE / "project/config/pc2/startup_config.yaml",
}
NET = os.environ.get("CONTINUITY_DEMO_NET", "127.77.0")
ADDRESSES = {"MainPC": f"{NET}.1", "PC2": f"{NET}.2"}
WELL = {"ok", "healthy", "running", "online", "available", "up"}


@dataclass(frozen=True)
class Answer:
    """What one agent said; ``status`` is its own word for its health, or what went wrong."""

    agent: str
    release: Optional[str]
    pid: Optional[int]
    status: str

    @property
    def well(self) -> bool:
        return self.status.lower() in WELL


@dataclass(frozen=True)
class DemoAgent:
    host: str
    name: str
    port: int
    health_port: int
    service_kind: str
    health_kind: str

    @property
    def id(self) -> str:
        return f"{self.host}:{self.name}"

    @property
    def address(self) -> str:
        return ADDRESSES[self.host]

    def ask(self) -> Answer:
        """Its service who it is, its health port how it is."""
        try:
            about = self._over(self.service_kind, self.port, "/", "status")
            health = self._over(self.health_kind, self.health_port, "/health", "health_check")
        except (OSError, http.client.HTTPException, ValueError, zmq.ZMQError) as error:
            return Answer(self.id, None, None, f"{type(error).__name__}: {error}")
        return Answer(self.id, about.get("release"), about.get("pid"), str(health.get("status")))

    def _over(self, kind: str, port: int, path: str, action: str) -> dict[str, Any]:
        found: dict[str, Any] = self._over_zmq(port, action) if kind == "zmq" else self._over_http(port, path)
        return found

    def _over_http(self, port: int, path: str) -> Any:
        connection = http.client.HTTPConnection(self.address, port, timeout=5.0)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _over_zmq(self, port: int, action: str) -> Any:
        with zmq.Context.instance().socket(zmq.REQ) as question:
            question.setsockopt(zmq.LINGER, 0)
            question.connect(f"tcp://{self.address}:{port}")
            question.send_json({"action": action})
            if not question.poll(5000):
                raise TimeoutError(f"no answer on port {port}")
            return question.recv_json()


def declared_agents() -> list[DemoAgent]:
    """From the startup configs and the inventory's rules, read here without the collection's own reader."""
    variables = yaml.safe_load((HERE / "group_vars/fleet.yml").read_text(encoding="utf-8"))
    service, health = ([rule["match"] for rule in variables["continuity_agent_rules"]])[:2]
    agents = []
    for host, path in CONFIGS.items():
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = [
            *((name, entry) for group in document.get("agent_groups", {}).values() for name, entry in group.items()),
            *((entry["name"], entry) for entry in document.get("pc2_services", [])),
        ]
        for name, entry in entries:
            kinds = [
                "zmq" if any(fnmatchcase(f"{host}:{name}", one) for one in match) else "http"
                for match in (service, health)
            ]
            if kinds[0] == "zmq":
                kinds = ["zmq", "http"]
            agents.append(DemoAgent(host, name, entry["port"], entry["health_check_port"], *kinds))
    return agents


class DemoFleet:
    """The fleet below one demo folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agents = declared_agents()

    def root(self, host: str) -> Path:
        return self.folder / host.lower()

    def state_file(self, agent: str) -> Path:
        host, _unused, name = agent.partition(":")
        return self.root(host) / "state" / name / "state.json"

    def ask_all(self) -> dict[str, Answer]:
        with ThreadPoolExecutor(16) as pool:
            return {answer.agent: answer for answer in pool.map(DemoAgent.ask, self.agents)}

    def ask(self, agent: str) -> Answer:
        return next(one for one in self.agents if one.id == agent).ask()

    def handed_over(self) -> list[DemoAgent]:
        """The agents whose socket is kept while they are replaced."""
        return [agent for agent in self.agents if agent.service_kind == "http"]

    def taken_sockets(self) -> list[str]:
        """Which of the fleet's sockets somebody else holds."""
        taken = []
        for agent in self.agents:
            for port in (agent.port, agent.health_port):
                with socket.socket() as ours:
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        ours.bind((agent.address, port))
                    except OSError as error:
                        taken.append(f"{agent.address}:{port} ({error.strerror})")
        return taken

    def hosts(self) -> list[Host]:
        """Those that were made into host roots so far."""
        runner, clock = LocalRunner(), SystemClock()
        roots = [self.root(host) for host in CONFIGS]
        return [open_host(str(root), runner=runner, clock=clock) for root in roots if (root / "host.json").exists()]

    def running(self) -> int:
        """How many agents the two supervisors say are running."""
        count = 0
        for host in self.hosts():
            names = [agent.name for agent in self.agents if agent.host == host.name]
            count += sum(status.state == "running" for status in host.supervisor.status(names).values())
        return count

    def stop(self) -> int:
        """Stop all agents through their supervisors, then the supervisors; how many supervisors ran."""
        stopped = 0
        for host in self.hosts():
            if isinstance(host.supervisor, SupervisordSupervisor) and host.daemon_runs():
                names = [agent.name for agent in self.agents if agent.host == host.name]
                host.supervisor.stop(names, timeout=60.0, parallel=len(names))
                host.supervisor.stop_daemon()
                stopped += 1
        return stopped

    def ledger(self, host: str) -> list[dict[str, Any]]:
        path = self.root(host) / "ledger/ledger.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def events(self, release: str, event: str) -> dict[str, list[dict[str, Any]]]:
        """By host: the ledger's entries of one kind in the runs that staged this release."""
        found = {}
        for host in CONFIGS:
            entries = self.ledger(host)
            runs = {entry["run"] for entry in entries if entry["event"] == "staged" and entry["release"] == release}
            found[host] = [entry for entry in entries if entry["event"] == event and entry.get("run") in runs]
        return found


def sound_states(folder: Path) -> tuple[int, list[str]]:
    """How many state files below a folder can be read completely, and which cannot."""
    sound, broken = 0, []
    readers: Mapping[str, Callable[[Path], Any]] = {
        "state.json": lambda path: json.loads(path.read_text(encoding="utf-8"))["beats"],
        "state.sqlite": _check_database,
    }
    for parent, _unused, names in os.walk(folder):
        for name in sorted(set(names) & set(readers)):
            path = Path(parent, name)
            try:
                readers[name](path)
            except (OSError, ValueError, KeyError, sqlite3.DatabaseError) as error:
                broken.append(f"{path}: {error}")
            else:
                sound += 1
    return sound, broken


def _check_database(path: Path) -> None:
    database = sqlite3.connect(path)
    try:
        (verdict,) = database.execute("PRAGMA integrity_check").fetchone()
        facts = dict(database.execute("SELECT key, value FROM facts"))
    finally:
        database.close()
    if verdict != "ok" or "beats" not in facts:
        raise ValueError(f"integrity {verdict}, facts {sorted(facts)}")
