# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts training jobs in line and counts how many are waiting."""

from collections import deque

import common.core.base_agent


class SelfTrainingOrchestrator(common.core.base_agent.BaseAgent):
    """``/?job=NAME``, ``/?next``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.jobs = deque(maxlen=1000)

    def work(self, query):
        if "job" in query:
            self.jobs.append(query["job"])
        taken = self.jobs.popleft() if "next" in query and self.jobs else None
        return {"waiting": len(self.jobs), "next": taken}

    def remember(self):
        return {"waiting": len(self.jobs)}


if __name__ == "__main__":
    SelfTrainingOrchestrator().run()
