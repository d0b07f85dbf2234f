# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suggests what to do at this hour."""

import time

from main_pc_code import httpd

SUGGESTIONS = ("sleep", "work", "rest")


class ProactiveAgent(httpd.Handler):
    """``/?hour=0..23``"""

    def work(self, query):
        hour = int(query.get("hour", time.localtime().tm_hour)) % 24
        return {"suggestion": SUGGESTIONS[hour // 8]}


if __name__ == "__main__":
    httpd.run(ProactiveAgent)
