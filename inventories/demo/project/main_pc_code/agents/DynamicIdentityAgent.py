# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which persona speaks, and since when."""

from common.agents import BaseAgent


class DynamicIdentityAgent(BaseAgent):
    """``/?persona=NAME``"""

    def __init__(self):
        super().__init__()
        self.persona, self.changes = "default", 0

    def work(self, query):
        if query.get("persona", self.persona) != self.persona:
            self.persona, self.changes = query["persona"], self.changes + 1
        return {"persona": self.persona, "changes": self.changes}

    def remember(self):
        return {"persona": self.persona, "changes": self.changes}

    def recall(self, facts):
        self.persona, self.changes = facts.get("persona", "default"), facts.get("changes", 0)


if __name__ == "__main__":
    DynamicIdentityAgent().run()
