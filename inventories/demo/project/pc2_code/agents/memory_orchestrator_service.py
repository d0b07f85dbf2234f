# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memories with a weight that fades unless they are called back."""

from common.core.base_agent import BaseAgent


class MemoryOrchestratorService(BaseAgent):
    """``/?store=TEXT``, ``/?recall=WORD``"""

    state_kind = "sqlite-wal"

    def __init__(self):
        super().__init__()
        self.memories = {}

    def work(self, query):
        if "store" in query:
            self.memories[query["store"]] = 1.0
        for text in self.memories:
            self.memories[text] *= 1.2 if query.get("recall", " ") in text else 0.99
        return {"memories": sorted(self.memories, key=self.memories.get, reverse=True)[:5]}

    def remember(self):
        return {"memories": len(self.memories)}


if __name__ == "__main__":
    MemoryOrchestratorService().run()
