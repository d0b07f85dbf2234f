# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache that forgets what was used least lately."""

from collections import OrderedDict

from pc2_code import service_shell

CACHE = OrderedDict()
SIZE = 1000


def work(query):
    """``/?key=KEY&value=VALUE``"""
    key = query.get("key", "")
    if "value" in query:
        CACHE[key] = query["value"]
    if key in CACHE:
        CACHE.move_to_end(key)
    while len(CACHE) > SIZE:
        CACHE.popitem(last=False)
    return {"value": CACHE.get(key), "kept": len(CACHE)}


if __name__ == "__main__":
    service_shell.run(work, lambda: {"kept": len(CACHE)}, state_kind="sqlite")
