# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells shouting from speaking by the capital letters."""

from main_pc_code.agents import emotion_agent


class ToneDetector(emotion_agent.EmotionAgent):
    """``/?text=TEXT``"""

    health_protocol = "zmq"

    def work(self, query):
        text = query.get("text", "")
        loud = sum(letter.isupper() for letter in text) * 2 > max(1, len(text))
        return {"tone": "loud" if loud else "even", "weight": self.weigh(text)}


if __name__ == "__main__":
    ToneDetector().run()
