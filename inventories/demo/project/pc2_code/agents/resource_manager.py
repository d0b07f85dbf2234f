# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands out shares of the machine, and no more than there is."""

from common.core.base_agent import BaseAgent


class ResourceManager(BaseAgent):
    """``/?take=NAME&share=0.2``"""

    def __init__(self):
        super().__init__()
        self.shares = {}

    def work(self, query):
        if "take" in query:
            share = float(query.get("share", 0.1))
            if sum(self.shares.values()) + share <= 1.0:
                self.shares[query["take"]] = share
        return {"shares": self.shares, "free": 1.0 - sum(self.shares.values())}

    def remember(self):
        return {"holders": len(self.shares)}


if __name__ == "__main__":
    ResourceManager().run()
