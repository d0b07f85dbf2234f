# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Five real agents on two local host roots, each with a supervisord of its own: for tests that change them.

``SmallFleet`` writes a project and two startup configs, and makes host roots on addresses of their own, so
that tests can run side by side. A release is changed by changing the project.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import textwrap
import urllib.request
from pathlib import Path
from typing import Any, Optional

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.host import Host, HostDescription, open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.agent_rules import AgentRules
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.observation import observe, to_plain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.project_files import scan
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_build import HostInput, build
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_document import describe
from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

AGENTS = {
    "mainpc": {"Base": (7101, []), "Api": (7102, ["Base"]), "Worker": (7103, ["Api"])},
    "pc2": {"Edge": (7201, ["Base"]), "Sink": (7202, [])},
}
"""Host to agent to its port and dependencies. Worker binds its port by itself, the others are handed their socket."""

RULES = [
    {"match": ["*:Worker"], "socket": False},
    {"match": ["*"], "socket": True, "stop_seconds": 5, "probe": {"kind": "http", "port": "port", "path": "/health"}},
]

SERVE = """
import json, os, signal, socket, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def serve(status, note):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps({"status": status, "note": note, "release": os.environ["AGENT_RELEASE"]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
    server.daemon_threads = False
    try:
        inherited = socket.socket(fileno=os.dup(0))
        listening = inherited.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listening = False
    if listening:
        server.socket.close()
        server.socket = inherited
    else:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.socket.bind((os.environ["AGENT_BIND"], int(os.environ["AGENT_PORT"])))
        server.socket.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("serving", note, flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
"""

AGENT = """
import sys
sys.path.insert(0, __file__.rsplit("/", 2)[0])
from shared.serve import serve

serve({status!r}, {note!r})
"""


class SmallFleet:
    """The project under ``folder/project``, the configs beside it, the host roots under ``folder``.

    Every fleet draws a loopback network of its own, so that tests run side by side.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        network = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        self.addresses = {host: f"{network}.{n}" for n, host in enumerate(AGENTS, 1)}
        self.configs = {host: self.project / "config" / host / "startup_config.yaml" for host in AGENTS}
        (self.project / "shared").mkdir(parents=True)
        (self.project / "agents").mkdir()
        (self.project / "shared" / "__init__.py").write_text("")
        (self.project / "shared" / "serve.py").write_text(SERVE)
        for host, agents in AGENTS.items():
            self.configs[host].parent.mkdir(parents=True)
            self.configs[host].write_text(self._config(agents))
            for name in agents:
                self.change(name, note="1")

    def change(self, agent: str, *, note: str, status: str = "ok") -> None:
        """Give the agent other code. ``status`` is what it says of its health; ``crash`` ends it at once."""
        text = "raise SystemExit('broken')\n" if status == "crash" else AGENT.format(status=status, note=note)
        (self.project / "agents" / f"{agent.lower()}.py").write_text(text)

    def root(self, host: str) -> str:
        return str(self.folder / host)

    def open(self, host: str) -> Host:
        return open_host(self.root(host), runner=LocalRunner(), clock=SystemClock())

    def make_root(self, host: str) -> Host:
        """The host root with the engine in it and its supervisord running."""
        root = Path(self.root(host))
        for folder in ("ledger", "releases", "agents", "state", "logs", "run"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        description = HostDescription(host, {"kind": "supervisord"}, sys.executable, self.addresses[host])
        (root / "host.json").write_text(description.to_text())
        (root / "continuity.pyz").write_bytes(zipapp.build())
        opened = self.open(host)
        opened.start_daemon(LocalRunner())
        return opened

    def stage(self, release: str) -> None:
        """Stage the project as it is now on both hosts."""
        fleet = load_fleet([(host, str(path)) for host, path in self.configs.items()])
        assert not [problem for problem in fleet.problems if problem.severity == "critical"], fleet.problems
        graph = resolve(fleet)
        project = scan(str(self.project))
        for config in fleet.hosts:
            wanted = HostInput(
                config,
                self.configs[config.host].read_bytes(),
                sys.executable,
                self.addresses[config.host],
                AgentRules.parse(RULES),
            )
            built = build(wanted, release, project, SourceTree(str(self.project)), graph.edges, graph.layer_of)
            archive = self.folder / f"{config.host}-{release}.tar.gz"
            archive.write_bytes(built.archive())
            self.open(config.host).releases.stage(str(archive), built.release.digest)

    def results(self, release: str) -> dict[str, dict[str, Any]]:
        """What the release task would return for each host."""
        found = {}
        for host in AGENTS:
            opened = self.open(host)
            target = opened.releases.load(release)
            found[host] = {"release": describe(target), "host_state": to_plain(observe(opened, target))}
        return found

    def ask(self, agent: str) -> Optional[dict[str, Any]]:
        """What the agent answers; None when nothing answers."""
        host = next(host for host, agents in AGENTS.items() if agent in agents)
        port = AGENTS[host][agent][0]
        try:
            with urllib.request.urlopen(f"http://{self.addresses[host]}:{port}/health", timeout=5) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def releases(self) -> dict[str, Optional[str]]:
        """Which release each agent really serves; None where nothing answers."""
        answers = {agent: self.ask(agent) for agents in AGENTS.values() for agent in agents}
        return {agent: answer["release"] if answer else None for agent, answer in answers.items()}

    def notes(self) -> dict[str, Optional[str]]:
        """Which code each agent really runs."""
        answers = {agent: self.ask(agent) for agents in AGENTS.values() for agent in agents}
        return {agent: answer["note"] if answer else None for agent, answer in answers.items()}

    def stop(self) -> None:
        for host in AGENTS:
            if os.path.exists(os.path.join(self.root(host), "host.json")):
                self.open(host).supervisor.stop_daemon()

    def _config(self, agents: dict[str, tuple[int, list[str]]]) -> str:
        entries = [
            f"{name}:\n  script_path: agents/{name.lower()}.py\n  port: {port}\n  health_check_port: {port + 50}\n"
            f"  required: true\n  dependencies: {json.dumps(dependencies)}\n"
            for name, (port, dependencies) in agents.items()
        ]
        return "agent_groups:\n  all:\n" + textwrap.indent("".join(entries), "    ")

    def write_inventory(self, **variables: Any) -> Path:
        """An inventory of both hosts with local connections; ``variables`` are for the whole fleet."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "continuity_supervisor": "supervisord",
            "continuity_python": sys.executable,
            "continuity_project": str(self.project),
            "continuity_agent_rules": RULES,
            "continuity_host_order": ["pc2"],
            "continuity_waves": [1, 2, "100%"],
            "continuity_max_unavailable": 2,
            "continuity_bake_seconds": 0.6,
            "continuity_healthy_seconds": 6,
            "continuity_gate": {"min_samples": 2},
            **variables,
        }
        hosts = {
            host: {
                "continuity_host": host,
                "continuity_root": self.root(host),
                "continuity_startup_config": str(self.configs[host]),
                "continuity_address": self.addresses[host],
            }
            for host in AGENTS
        }
        path = self.folder / "inventory.json"
        path.write_text(json.dumps({"fleet": {"vars": common, "hosts": hosts}}))
        return path

    def command(self, name: str, *arguments: str) -> list[str]:
        """How an operator starts one of the collection's playbooks on this fleet."""
        program = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
        return [program, "-i", str(self.folder / "inventory.json"), f"fleetops.continuity.{name}", *arguments]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
            "_ANSIBLE_TEMPLAR_UNTRUSTED_TEMPLATE_BEHAVIOR": "error",
        }
