# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about subjects, in the order in which they were told."""

from common.core import base_agent


class KnowledgeBase(base_agent.BaseAgent):
    """``/?subject=NAME&fact=TEXT``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.known = {}

    def work(self, query):
        facts = self.known.setdefault(query.get("subject", "nothing"), [])
        if "fact" in query and query["fact"] not in facts:
            facts.append(query["fact"])
        return {"facts": facts}

    def remember(self):
        return {"subjects": len(self.known)}


if __name__ == "__main__":
    KnowledgeBase().run()
