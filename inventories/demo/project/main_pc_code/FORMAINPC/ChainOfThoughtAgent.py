# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Breaks a question into its parts, one step each."""

import common.core.base_agent


class ChainOfThoughtAgent(common.core.base_agent.BaseAgent):
    """``/?question=TEXT``"""

    def work(self, query):
        parts = [part.strip() for part in query.get("question", "").replace("?", " and ").split(" and ")]
        return {"steps": [part for part in parts if part]}


if __name__ == "__main__":
    ChainOfThoughtAgent().run()
