# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers a mood with the fitting words."""

from main_pc_code.agents import emotion_agent


class EmpathyAgent(emotion_agent.EmotionAgent):
    """``/?text=TEXT``"""

    def work(self, query):
        weight = self.weigh(query.get("text", ""))
        return {"answer": "I am glad." if weight > 0 else "I am sorry." if weight < 0 else "I see."}


if __name__ == "__main__":
    EmpathyAgent().run()
