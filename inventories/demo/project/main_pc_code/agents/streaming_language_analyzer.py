# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells languages apart by their small words."""

from common import aio

SMALL_WORDS = {"en": {"the", "and", "is"}, "de": {"der", "und", "ist"}, "fr": {"le", "et", "est"}}


async def work(query):
    """``/?text=TEXT``"""
    words = set(query.get("text", "").lower().split())
    return {"language": max(SMALL_WORDS, key=lambda language: len(words & SMALL_WORDS[language]))}


if __name__ == "__main__":
    aio.run(work)
