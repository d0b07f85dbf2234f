# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the edges in a row of pixels."""

from common.core.base_agent import BaseAgent


class VisionProcessingAgent(BaseAgent):
    """``/?row=0,0,9,9``"""

    health_protocol = "zmq"

    def work(self, query):
        row = [int(pixel) for pixel in query.get("row", "0,0").split(",")]
        return {"edges": [at for at, (a, b) in enumerate(zip(row, row[1:])) if abs(a - b) > 4]}


if __name__ == "__main__":
    VisionProcessingAgent().run()
