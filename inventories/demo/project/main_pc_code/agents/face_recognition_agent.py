# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the known face that is nearest to a vector."""

from common.core.base_agent import BaseAgent

FACES = {"first": (0.1, 0.9), "second": (0.8, 0.2), "nobody": (0.0, 0.0)}


class FaceRecognitionAgent(BaseAgent):
    """``/?face=0.1,0.9``"""

    health_protocol = "zmq"

    def work(self, query):
        face = [float(value) for value in query.get("face", "0,0").split(",")]
        return {"nearest": min(FACES, key=lambda name: sum((a - b) ** 2 for a, b in zip(FACES[name], face)))}


if __name__ == "__main__":
    FaceRecognitionAgent().run()
