# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the observability hub that an agent is there; again and again, for a hub may forget."""

import json
import os
import socket

EVERY_BEATS = 10


class Registration:
    """``OBS_HUB_URL`` names the hub, else it is the one on the agent's own host."""

    def __init__(self, identity):
        self.identity = identity
        url = os.environ.get("OBS_HUB_URL", f"http://{identity.bind}:9000")
        host, _unused, port = url.partition("://")[2].partition("/")[0].partition(":")
        self.hub = (host, int(port or 80))
        self.beats_left = 0

    def beat(self):
        self.beats_left -= 1
        if self.beats_left < 0 and self.register():
            self.beats_left = EVERY_BEATS

    def register(self):
        """Whether the hub has taken it; a hub that is away is asked again with the next beat."""
        me = self.identity
        body = json.dumps({"agent_name": me.name, "host": me.bind, "port": me.port, "health_port": me.health_port})
        head = f"POST /register_agent HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection(self.hub, timeout=0.5) as hub:
                hub.sendall((head + body).encode())
                return hub.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False
