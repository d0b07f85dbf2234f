# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far an agent is to be trusted: what it promised against what it did."""

import common.core.base_agent as base


class AgentTrustScorer(base.BaseAgent):
    """``/?agent=NAME&kept=yes|no``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.scores = {}

    def work(self, query):
        score = self.scores.get(query.get("agent", "nobody"), 0.5)
        score += 0.1 * ((query.get("kept") == "yes") - score)
        self.scores[query.get("agent", "nobody")] = score
        return {"score": round(score, 4)}

    def remember(self):
        return {"agents": len(self.scores)}


if __name__ == "__main__":
    AgentTrustScorer().run()
