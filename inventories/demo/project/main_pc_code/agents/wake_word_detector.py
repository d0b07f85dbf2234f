# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listens for its name in what was recognised."""

from main_pc_code.agents.speech_agent import SpeechAgent

WAKE_WORD = "computer"


class WakeWordDetector(SpeechAgent):
    """``/?text=TEXT``"""

    health_protocol = "zmq"

    def work(self, query):
        self.frames += 1
        return {"awake": WAKE_WORD in query.get("text", "").lower().split()}


if __name__ == "__main__":
    WakeWordDetector().run()
