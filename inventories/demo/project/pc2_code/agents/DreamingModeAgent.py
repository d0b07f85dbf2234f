# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Awake by day, dreaming by night."""

import time

from common.core.life import Life


class BaseAgent:
    """A stand-in of this file's own, from when common/ could not be imported here."""

    def run(self):
        life = Life(self.work, well="HEALTHY")
        life.vitals.save()
        life.live()


class DreamingModeAgent(BaseAgent):
    """``/?hour=0..23``"""

    def work(self, query):
        hour = int(query.get("hour", time.localtime().tm_hour)) % 24
        return {"mode": "dreaming" if hour < 6 else "awake"}


if __name__ == "__main__":
    DreamingModeAgent().run()
