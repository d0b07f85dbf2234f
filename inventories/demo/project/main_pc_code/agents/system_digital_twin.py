# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the last value of every named signal of the system."""

from common.core.base_agent import BaseAgent


class SystemDigitalTwin(BaseAgent):
    """``/?signal=NAME&value=NUMBER``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.signals = {}

    def work(self, query):
        if "signal" in query:
            self.signals[query["signal"]] = float(query.get("value", 0))
        return {"signals": self.signals}

    def remember(self):
        return {"signals": len(self.signals)}


if __name__ == "__main__":
    SystemDigitalTwin().run()
