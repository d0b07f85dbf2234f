# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A service of its own kind, from before the fleet had a base class."""

from common.core.life import Life


class PlainService:
    """Has a life instead of inheriting one; says "running" when it is well."""

    state_kind = "json"

    def __init__(self):
        self.done = 0

    def work(self, query):
        raise NotImplementedError

    def serve(self):
        life = Life(self.work, self.state_kind, well="running")
        life.vitals.save()
        self.done = life.vitals.totals.get("done", 0)
        life.live(remember=lambda: {"done": self.done})
