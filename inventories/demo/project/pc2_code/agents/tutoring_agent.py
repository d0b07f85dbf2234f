# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lesson comes next."""

from pc2_code import service_shell

LESSONS = ("counting", "adding", "multiplying")
DONE = set()


def work(query):
    """``/?done=NAME``"""
    if query.get("done") in LESSONS:
        DONE.add(query["done"])
    return {"next": next((lesson for lesson in LESSONS if lesson not in DONE), None)}


if __name__ == "__main__":
    service_shell.run(work, lambda: {"done": len(DONE)})
