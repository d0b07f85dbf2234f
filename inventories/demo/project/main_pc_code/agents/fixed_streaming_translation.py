# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translates a stream: what came before the last full stop is final."""

from main_pc_code import httpd


class FixedStreamingTranslation(httpd.Handler):
    """``/?text=TEXT``"""

    def work(self, query):
        final, _unused, open_part = query.get("text", "").rpartition(".")
        return {"final": final, "open": open_part.strip()}


if __name__ == "__main__":
    httpd.run(FixedStreamingTranslation)
