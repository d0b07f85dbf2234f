# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says whether a frame is loud enough to interrupt speech."""

from main_pc_code.agents.speech_agent import SpeechAgent

THRESHOLD = 1000


class StreamingInterruptHandler(SpeechAgent):
    """``/?frame=3,-4,0``"""

    health_protocol = "zmq"

    def work(self, query):
        peak = max(abs(sample) for sample in self.samples(query))
        return {"interrupt": peak > THRESHOLD, "peak": peak}


if __name__ == "__main__":
    StreamingInterruptHandler().run()
