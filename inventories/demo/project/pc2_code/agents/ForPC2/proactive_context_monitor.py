# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells when the subject changes: no word in common with what was said before."""

from common.core.base_agent import BaseAgent as FleetAgent


class ProactiveContextMonitor(FleetAgent):
    """``/?text=TEXT``"""

    health_protocol = "zmq"

    def __init__(self):
        super().__init__()
        self.words = set()

    def work(self, query):
        words = set(query.get("text", "").lower().split())
        changed = bool(words) and not words & self.words
        self.words = words or self.words
        return {"changed": changed}


if __name__ == "__main__":
    ProactiveContextMonitor().run()
