# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was tried, and how often it went well."""

from common.agents import BaseAgent


class ExperienceTracker(BaseAgent):
    """``/?tried=NAME&well=yes|no``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.tried = {}

    def work(self, query):
        tries, well = self.tried.get(query.get("tried", "nothing"), (0, 0))
        self.tried[query.get("tried", "nothing")] = (tries + 1, well + (query.get("well") == "yes"))
        return {"experience": self.tried}

    def remember(self):
        return {"tried": len(self.tried)}


if __name__ == "__main__":
    ExperienceTracker().run()
