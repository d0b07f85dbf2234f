# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the models that were used last, within a budget."""

from main_pc_code.services.plain_service import PlainService

BUDGET = 20000


class ModelManagerSuite(PlainService):
    """``/?load=NAME&size=MEGABYTES``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.loaded = {}

    def work(self, query):
        if "load" in query:
            self.loaded.pop(query["load"], None)
            self.loaded[query["load"]] = int(query.get("size", 1000))
            while sum(self.loaded.values()) > BUDGET:
                self.loaded.pop(next(iter(self.loaded)))
        self.done += 1
        return {"loaded": self.loaded}


if __name__ == "__main__":
    ModelManagerSuite().serve()
