# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moods of the last sentences."""

from collections import deque

from main_pc_code.agents import emotion_agent


class MoodTrackerAgent(emotion_agent.EmotionAgent):
    """``/?text=TEXT``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.moods = deque(maxlen=50)

    def work(self, query):
        self.moods.append(self.weigh(query.get("text", "")))
        return {"moods": list(self.moods)}


if __name__ == "__main__":
    MoodTrackerAgent().run()
