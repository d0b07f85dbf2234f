# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts labelled and unlabelled samples and names the next class to ask for."""

from collections import Counter

from common.agents import BaseAgent


class ActiveLearningMonitor(BaseAgent):
    """``/?label=NAME``"""

    def __init__(self):
        super().__init__()
        self.labels = Counter()

    def work(self, query):
        if "label" in query:
            self.labels[query["label"]] += 1
        rarest = min(self.labels, key=self.labels.get) if self.labels else None
        return {"labels": dict(self.labels), "ask_for": rarest}

    def remember(self):
        return {"samples": sum(self.labels.values())}


if __name__ == "__main__":
    ActiveLearningMonitor().run()
