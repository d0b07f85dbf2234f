# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says which models to unload so that a new one fits."""

from common.core.base_agent import BaseAgent

TOTAL = 24576
LOADED = {"speech": 3072, "vision": 6144, "language": 14336}


class VRAMOptimizerAgent(BaseAgent):
    """``/?need=MEGABYTES``"""

    health_protocol = "zmq"

    def work(self, query):
        need, freed, unload = int(query.get("need", 0)), TOTAL - sum(LOADED.values()), []
        for model, size in sorted(LOADED.items(), key=lambda item: item[1]):
            if freed >= need:
                break
            unload.append(model)
            freed += size
        return {"unload": unload, "fits": freed >= need}


if __name__ == "__main__":
    VRAMOptimizerAgent().run()
