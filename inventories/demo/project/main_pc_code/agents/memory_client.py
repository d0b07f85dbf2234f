# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short notes under a key."""

from main_pc_code import httpd

NOTES = {}


class MemoryClient(httpd.Handler):
    """``/?key=KEY&note=TEXT``"""

    def work(self, query):
        if "note" in query:
            NOTES[query["key"]] = query["note"]
        return {"note": NOTES.get(query.get("key"))}


if __name__ == "__main__":
    httpd.run(MemoryClient)
