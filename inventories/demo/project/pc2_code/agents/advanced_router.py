# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shortest way through a small network."""

from common import aio

LINKS = {"a": "bc", "b": "d", "c": "bd", "d": "a"}


async def work(query):
    """``/?from=a&to=d``"""
    ways = [[query.get("from", "a")]]
    for way in ways:
        if way[-1] == query.get("to", "d"):
            return {"way": way}
        ways += [[*way, step] for step in LINKS.get(way[-1], "") if step not in way]
    return {"way": None}


if __name__ == "__main__":
    aio.run(work)
