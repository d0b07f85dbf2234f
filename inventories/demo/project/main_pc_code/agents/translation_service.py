# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translates, and keeps what it has translated."""

from main_pc_code.services.plain_service import PlainService

WORDS = {"good": "guten", "day": "tag", "the": "das", "house": "haus"}


class TranslationService(PlainService):
    """``/?text=TEXT``"""

    state_kind = "sqlite"

    def __init__(self):
        super().__init__()
        self.cache = {}

    def work(self, query):
        text = query.get("text", "")
        if text not in self.cache:
            self.cache[text] = " ".join(WORDS.get(word, word) for word in text.lower().split())
        self.done += 1
        return {"text": self.cache[text], "kept": len(self.cache)}


if __name__ == "__main__":
    TranslationService().serve()
