# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Predicts the next value of a series by its straight line."""

from common.core.base_agent import BaseAgent


class PredictiveHealthMonitor(BaseAgent):
    """``/?series=1,2,4``"""

    health_protocol = "zmq"

    def work(self, query):
        series = [float(value) for value in query.get("series", "0,0").split(",")]
        slope = (series[-1] - series[0]) / max(1, len(series) - 1)
        return {"slope": slope, "next": series[-1] + slope}


if __name__ == "__main__":
    PredictiveHealthMonitor().run()
