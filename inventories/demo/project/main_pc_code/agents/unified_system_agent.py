# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells how the machine is doing, from its load average."""

import os

from common.core.base_agent import BaseAgent


class UnifiedSystemAgent(BaseAgent):
    """``/``"""

    def work(self, query):
        load = os.getloadavg()[0]
        return {"load": load, "busy": load > (os.cpu_count() or 1)}


if __name__ == "__main__":
    UnifiedSystemAgent().run()
