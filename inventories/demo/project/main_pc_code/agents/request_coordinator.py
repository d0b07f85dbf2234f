# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers requests and says which queue they go to."""

from common.core.base_agent import BaseAgent

QUEUES = {"speech": "audio", "vision": "camera"}


class RequestCoordinator(BaseAgent):
    """``/?kind=speech|vision|text``"""

    def __init__(self):
        super().__init__()
        self.ticket = 0

    def work(self, query):
        self.ticket += 1
        return {"ticket": self.ticket, "queue": QUEUES.get(query.get("kind"), "text")}

    def remember(self):
        return {"ticket": self.ticket}

    def recall(self, facts):
        self.ticket = facts.get("ticket", 0)


if __name__ == "__main__":
    RequestCoordinator().run()
