# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the learning rate: halves it when the loss rises."""

from common.agents import BaseAgent


class LearningManager(BaseAgent):
    """``/?loss=NUMBER``"""

    def __init__(self):
        super().__init__()
        self.rate, self.best = 0.1, 1e9

    def work(self, query):
        loss = float(query.get("loss", self.best))
        if loss > self.best:
            self.rate /= 2
        self.best = min(self.best, loss)
        return {"rate": self.rate, "best": self.best}

    def remember(self):
        return {"rate": self.rate}


if __name__ == "__main__":
    LearningManager().run()
