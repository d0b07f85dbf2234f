# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits a command line into its verb and its arguments."""

import shlex

from common.core.base_agent import BaseAgent


class AdvancedCommandHandler(BaseAgent):
    """``/?command=TEXT``"""

    def work(self, query):
        words = shlex.split(query.get("command", ""))
        return {"verb": words[0] if words else None, "arguments": words[1:]}


if __name__ == "__main__":
    AdvancedCommandHandler().run()
