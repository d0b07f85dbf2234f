# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses intentions that nobody may have."""

from main_pc_code import httpd

FORBIDDEN = {"delete_everything", "open_all_doors"}


class IntentionValidatorAgent(httpd.Handler):
    """``/?intention=NAME``"""

    def work(self, query):
        return {"allowed": query.get("intention") not in FORBIDDEN}


if __name__ == "__main__":
    httpd.run(IntentionValidatorAgent)
