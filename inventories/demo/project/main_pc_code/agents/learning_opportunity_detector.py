# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes answers that were unsure, worth learning from."""

from common.core import base_agent

THRESHOLD = 0.5


class LearningOpportunityDetector(base_agent.BaseAgent):
    """``/?question=TEXT&confidence=0.3``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.unsure = []

    def work(self, query):
        if float(query.get("confidence", 1)) < THRESHOLD:
            self.unsure.append(query.get("question", ""))
        return {"opportunities": self.unsure[-10:]}

    def remember(self):
        return {"opportunities": len(self.unsure)}


if __name__ == "__main__":
    LearningOpportunityDetector().run()
