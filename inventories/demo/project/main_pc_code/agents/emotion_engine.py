# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the mood, moved a little by every sentence."""

from main_pc_code.agents import emotion_agent


class EmotionEngine(emotion_agent.EmotionAgent):
    """``/?text=TEXT``"""

    def __init__(self):
        super().__init__()
        self.mood = 0.0

    def work(self, query):
        self.mood = 0.8 * self.mood + self.weigh(query.get("text", ""))
        return {"mood": round(self.mood, 3)}

    def remember(self):
        return {"mood": self.mood}

    def recall(self, facts):
        self.mood = facts.get("mood", 0.0)


if __name__ == "__main__":
    EmotionEngine().run()
