# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words for a mood from -5 to 5."""

from main_pc_code.agents.emotion_agent import EmotionAgent

WORDS = ("heavy and slow", "quiet", "warm", "bright and quick")


class EmotionSynthesisAgent(EmotionAgent):
    """``/?mood=NUMBER``"""

    def work(self, query):
        mood = max(-5, min(5, int(query.get("mood", 0))))
        return {"words": WORDS[(mood + 5) // 3]}


if __name__ == "__main__":
    EmotionSynthesisAgent().run()
