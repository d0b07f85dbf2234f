# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says something friendly, never the same twice in a row."""

from common.core.life import Life

PHRASES = ("Nice to hear from you.", "How is your day?", "Tell me more.")


class BaseAgent:
    """A stand-in of this file's own, from when common/ could not be imported here."""

    def run(self):
        life = Life(self.work, well="HEALTHY")
        life.vitals.save()
        life.live()


class ChitchatAgent(BaseAgent):
    """``/``"""

    def __init__(self):
        self.said = 0

    def work(self, query):
        self.said = (self.said + 1) % len(PHRASES)
        return {"answer": PHRASES[self.said]}


if __name__ == "__main__":
    ChitchatAgent().run()
