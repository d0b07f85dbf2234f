# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mean of all marks from 1 to 5."""

from common.core.life import Life


class BaseAgent:
    """A stand-in of this file's own, from when common/ could not be imported here."""

    def run(self):
        life = Life(self.work, "sqlite", well="HEALTHY")
        life.vitals.save()
        life.live()


class FeedbackHandler(BaseAgent):
    """``/?mark=1..5``"""

    def __init__(self):
        self.marks = []

    def work(self, query):
        if "mark" in query:
            self.marks.append(max(1, min(5, int(query["mark"]))))
        return {"marks": len(self.marks), "mean": sum(self.marks) / max(1, len(self.marks))}


if __name__ == "__main__":
    FeedbackHandler().run()
