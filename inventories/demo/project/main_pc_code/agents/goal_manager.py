# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Goals and how far they are."""

from common.core import base_agent


class GoalManager(base_agent.BaseAgent):
    """``/?goal=NAME&progress=0..100``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.goals = {}

    def work(self, query):
        if "goal" in query:
            self.goals[query["goal"]] = min(100, int(query.get("progress", 0)))
        return {"open": sorted(goal for goal, progress in self.goals.items() if progress < 100)}

    def remember(self):
        return {"goals": len(self.goals)}


if __name__ == "__main__":
    GoalManager().run()
