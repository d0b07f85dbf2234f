# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands out tokens and knows them again."""

import secrets

from common.core import base_agent


class AuthenticationAgent(base_agent.BaseAgent):
    """``/?user=NAME``, ``/?token=TOKEN``"""

    def __init__(self):
        super().__init__()
        self.tokens = {}

    def work(self, query):
        if "user" in query:
            token = secrets.token_hex(8)
            self.tokens[token] = query["user"]
            return {"token": token}
        return {"user": self.tokens.get(query.get("token"))}

    def remember(self):
        return {"tokens": len(self.tokens)}


if __name__ == "__main__":
    AuthenticationAgent().run()
