# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guesses what is meant from the words that are there."""

from common.core.base_agent import BaseAgent

INTENTS = {"stop": {"stop", "quiet"}, "time": {"time", "clock"}, "light": {"light", "lamp"}}


class NLUAgent(BaseAgent):
    """``/?text=TEXT``"""

    health_protocol = "zmq"

    def work(self, query):
        words = set(query.get("text", "").lower().split())
        return {"intent": next((intent for intent, signs in INTENTS.items() if words & signs), "chat")}


if __name__ == "__main__":
    NLUAgent().run()
