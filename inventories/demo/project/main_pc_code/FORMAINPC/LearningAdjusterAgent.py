# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps a number inside its bounds."""

from common.core.base_agent import BaseAgent as FleetAgent


class LearningAdjusterAgent(FleetAgent):
    """``/?value=NUMBER&low=0&high=1``"""

    state_kind = "sqlite"

    def work(self, query):
        low, high = float(query.get("low", 0)), float(query.get("high", 1))
        return {"value": max(low, min(high, float(query.get("value", 0))))}


if __name__ == "__main__":
    LearningAdjusterAgent().run()
