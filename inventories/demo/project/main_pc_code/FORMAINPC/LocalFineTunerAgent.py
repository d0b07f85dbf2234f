# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps down a parabola: one gradient step of a one-parameter model per request."""

from common.core.base_agent import BaseAgent as FleetAgent

TARGET = 3.0


class LocalFineTunerAgent(FleetAgent):
    """``/?rate=0.1``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.weight = 0.0

    def work(self, query):
        gradient = 2 * (self.weight - TARGET)
        self.weight -= float(query.get("rate", 0.1)) * gradient
        return {"weight": self.weight, "loss": (self.weight - TARGET) ** 2}

    def remember(self):
        return {"weight": self.weight}

    def recall(self, facts):
        self.weight = facts.get("weight", 0.0)


if __name__ == "__main__":
    LocalFineTunerAgent().run()
