# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws conclusions over rules of the form a implies b."""

from common.core import base_agent

RULES = {"rain": ("wet",), "wet": ("cold", "slippery"), "cold": ("heat",)}


class UnifiedMemoryReasoningAgent(base_agent.BaseAgent):
    """``/?from=rain``"""

    def work(self, query):
        known, waiting = set(), [query.get("from", "rain")]
        while waiting:
            fact = waiting.pop()
            if fact not in known:
                known.add(fact)
                waiting += RULES.get(fact, ())
        return {"known": sorted(known)}


if __name__ == "__main__":
    UnifiedMemoryReasoningAgent().run()
