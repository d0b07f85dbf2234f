# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes work and does it a moment later, without keeping anybody waiting."""

import asyncio

from common import aio


async def work(query):
    """``/?numbers=1,2,3``"""
    numbers = [int(number) for number in query.get("numbers", "0").split(",")]
    await asyncio.sleep(0.001)
    return {"sum": sum(numbers)}


if __name__ == "__main__":
    aio.run(work)
