# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agents of the emotion system have in common: words that carry a mood."""

import common.core.base_agent as fleet

MOODS = {
    "good": 1,
    "great": 2,
    "happy": 2,
    "thanks": 1,
    "love": 2,
    "calm": 1,
    "bad": -1,
    "sad": -2,
    "angry": -2,
    "tired": -1,
    "hate": -2,
    "broken": -1,
}


class EmotionAgent(fleet.BaseAgent):
    """``/?text=…`` is weighed by its words."""

    def weigh(self, text):
        return sum(MOODS.get(word.strip(".,!?").lower(), 0) for word in text.split())
