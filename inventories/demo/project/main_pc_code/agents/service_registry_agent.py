# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Knows where everybody is: agents are registered and looked up by name."""

from common.core.base_agent import BaseAgent


class ServiceRegistry(BaseAgent):
    """``/?register=NAME&at=HOST:PORT``, ``/?find=NAME``"""

    def __init__(self):
        super().__init__()
        self.places = {}

    def work(self, query):
        if "register" in query:
            self.places[query["register"]] = query.get("at", "")
        return {"known": len(self.places), "at": self.places.get(query.get("find"))}

    def remember(self):
        return {"known": len(self.places)}


if __name__ == "__main__":
    ServiceRegistry().run()
