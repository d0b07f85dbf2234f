# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody is there: there was a word within the last minute."""

import time

from main_pc_code.agents import emotion_agent


class HumanAwarenessAgent(emotion_agent.EmotionAgent):
    """``/?text=TEXT``"""

    def __init__(self):
        super().__init__()
        self.last_word = 0.0

    def work(self, query):
        if query.get("text"):
            self.last_word = time.time()
        return {"present": time.time() - self.last_word < 60}


if __name__ == "__main__":
    HumanAwarenessAgent().run()
