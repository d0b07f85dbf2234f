# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world in which things wander, one step a request."""

import common.core.base_agent


class DreamWorldAgent(common.core.base_agent.BaseAgent):
    """``/?steps=1``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.place = 1

    def work(self, query):
        for _unused in range(min(1000, int(query.get("steps", 1)))):
            self.place = (self.place * 1103515245 + 12345) % 2**31
        return {"place": self.place % 100}

    def remember(self):
        return {"place": self.place}

    def recall(self, facts):
        self.place = facts.get("place", 1)


if __name__ == "__main__":
    DreamWorldAgent().run()
