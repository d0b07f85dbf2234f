# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agents along the speech path have in common."""

from common.core.base_agent import BaseAgent


class SpeechAgent(BaseAgent):
    """Works on frames of sound, given as comma-separated samples: ``/?frame=3,-4,0``."""

    def __init__(self):
        super().__init__()
        self.frames = 0

    def samples(self, query):
        self.frames += 1
        return [int(sample) for sample in query.get("frame", "0").split(",")]

    def remember(self):
        return {"frames": self.frames}

    def recall(self, facts):
        self.frames = facts.get("frames", 0)
