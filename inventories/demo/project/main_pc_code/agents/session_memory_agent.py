# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remembers the last turns of a session."""

from collections import deque

from common.core import base_agent


class SessionMemoryAgent(base_agent.BaseAgent):
    """``/?session=ID&say=TEXT``"""

    state_kind = "sqlite-wal"

    def __init__(self):
        super().__init__()
        self.sessions = {}

    def work(self, query):
        turns = self.sessions.setdefault(query.get("session", "default"), deque(maxlen=20))
        if "say" in query:
            turns.append(query["say"])
        return {"turns": list(turns)}

    def remember(self):
        return {"sessions": len(self.sessions)}


if __name__ == "__main__":
    SessionMemoryAgent().run()
