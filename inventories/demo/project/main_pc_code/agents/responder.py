# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts an answer together from a template."""

try:
    from common.agents import BaseAgent
except ImportError:  # an older layout of common/
    from common.core.base_agent import BaseAgent

TONES = {"happy": "Hello {}!", "calm": "Hello {}.", "sad": "Hello {} ..."}


class Responder(BaseAgent):
    """``/?to=NAME&mood=calm``"""

    def work(self, query):
        return {"answer": TONES.get(query.get("mood"), "Hello {}.").format(query.get("to", "you"))}


if __name__ == "__main__":
    Responder().run()
