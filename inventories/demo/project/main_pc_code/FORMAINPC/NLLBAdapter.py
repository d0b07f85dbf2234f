# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translates word by word into a second language."""

from main_pc_code.services.plain_service import PlainService

WORDS = {"good": "bon", "day": "jour", "the": "le", "house": "maison"}


class NLLBAdapter(PlainService):
    """``/?text=TEXT``"""

    def work(self, query):
        self.done += 1
        return {"text": " ".join(WORDS.get(word, word) for word in query.get("text", "").lower().split())}


if __name__ == "__main__":
    NLLBAdapter().serve()
