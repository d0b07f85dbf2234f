# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests of texts."""

import hashlib

from common.core.base_agent import BaseAgent


class UnifiedUtilsAgent(BaseAgent):
    """``/?text=TEXT``"""

    def work(self, query):
        return {"sha256": hashlib.sha256(query.get("text", "").encode()).hexdigest()}


if __name__ == "__main__":
    UnifiedUtilsAgent().run()
