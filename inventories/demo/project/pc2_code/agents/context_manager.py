# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last lines of the conversation, as many as fit."""

from collections import deque

from pc2_code import service_shell

LINES = deque()
ROOM = 4000


def work(query):
    """``/?say=TEXT``"""
    if "say" in query:
        LINES.append(query["say"])
    while sum(map(len, LINES)) > ROOM:
        LINES.popleft()
    return {"context": list(LINES)}


if __name__ == "__main__":
    service_shell.run(work, lambda: {"lines": len(LINES)}, state_kind="sqlite-wal")
