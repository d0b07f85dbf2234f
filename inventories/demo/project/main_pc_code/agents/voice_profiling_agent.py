# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running mean of a voice's pitch."""

try:
    from common.agents import BaseAgent
except ImportError:  # an older layout of common/
    from common.core.base_agent import BaseAgent


class VoiceProfilingAgent(BaseAgent):
    """``/?voice=NAME&pitch=HERTZ``"""

    state_kind = "sqlite-wal"

    def __init__(self):
        super().__init__()
        self.voices = {}

    def work(self, query):
        count, mean = self.voices.get(query.get("voice", "unknown"), (0, 0.0))
        mean += (float(query.get("pitch", 120)) - mean) / (count + 1)
        self.voices[query.get("voice", "unknown")] = (count + 1, mean)
        return {"pitch": mean, "heard": count + 1}

    def remember(self):
        return {"voices": len(self.voices)}


if __name__ == "__main__":
    VoiceProfilingAgent().run()
