# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observability hub of one host: agents register by POST, it asks each for its health.

A life of its own (no base class). ``GET /health_summary``, ``GET /agents``, ``POST /register_agent``.
"""

import json
import socket
import threading
import time

from common.core import http
from common.core.life import Life
from common.core.log import log

FORGET_SECONDS = 120.0
ROUND_SECONDS = 10.0


class ObservabilityHub(Life):
    def __init__(self):
        super().__init__(self.overview, state_kind="sqlite-wal", well="healthy")
        self.agents = {}
        self.reachable = {}

    def overview(self, query):
        return {"agents": len(self.agents), "reachable": sum(list(self.reachable.values()))}

    def answer(self, request):
        if request.path == "/register_agent":
            return self.register(request)
        if request.path == "/agents":
            return http.as_json(dict(self.agents))
        if request.path == "/health_summary":
            unreachable = sorted(name for name, answers in list(self.reachable.items()) if not answers)
            return http.as_json({**self.overview({}), "unreachable": unreachable})
        return super().answer(request)

    def register(self, request):
        if request.method != "POST":
            return http.as_json({"error": "POST only"}, 405)
        try:
            agent = json.loads(request.body)
            entry = {"host": str(agent["host"]), "port": int(agent["health_port"]), "seen": time.time()}
            self.agents[str(agent["agent_name"])] = entry
        except (KeyError, TypeError, ValueError) as error:
            return http.as_json({"error": f"not a registration: {error!r}"}, 400)
        return http.as_json({"status": "registered"})

    def watch(self):
        """Every ten seconds: who still answers on its health port, of those who registered lately."""
        while True:
            for name, agent in list(self.agents.items()):
                if time.time() - agent["seen"] > FORGET_SECONDS:
                    del self.agents[name]
                    self.reachable.pop(name, None)
                    log("ObservabilityHub", "WARNING", f"{name} has not registered for {FORGET_SECONDS:g} s")
                    continue
                try:
                    socket.create_connection((agent["host"], agent["port"]), timeout=0.5).close()
                    self.reachable[name] = True
                except OSError:
                    self.reachable[name] = False
            time.sleep(ROUND_SECONDS)

    def run(self):
        self.vitals.save()
        threading.Thread(target=self.watch, daemon=True).start()
        self.live(remember=lambda: {"agents": len(self.agents)})


if __name__ == "__main__":
    ObservabilityHub().run()
