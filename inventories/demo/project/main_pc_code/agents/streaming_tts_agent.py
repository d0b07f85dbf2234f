# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts a text into the pieces that are spoken in one breath."""

from main_pc_code.agents.speech_agent import SpeechAgent

BREATH = 8


class StreamingTTSAgent(SpeechAgent):
    """``/?text=TEXT``"""

    def work(self, query):
        words = query.get("text", "").split()
        self.frames += 1
        return {"pieces": [" ".join(words[at : at + BREATH]) for at in range(0, len(words), BREATH)]}


if __name__ == "__main__":
    StreamingTTSAgent().run()
