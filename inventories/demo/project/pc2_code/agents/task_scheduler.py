# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks by their due time."""

import heapq
import time

from common.core.base_agent import BaseAgent as FleetAgent


class TaskScheduler(FleetAgent):
    """``/?task=NAME&in=SECONDS``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.tasks = []

    def work(self, query):
        if "task" in query:
            heapq.heappush(self.tasks, (time.time() + float(query.get("in", 0)), query["task"]))
        due = heapq.heappop(self.tasks)[1] if self.tasks and self.tasks[0][0] <= time.time() else None
        return {"due": due, "waiting": len(self.tasks)}

    def remember(self):
        return {"waiting": len(self.tasks)}


if __name__ == "__main__":
    TaskScheduler().run()
