# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long it takes to say a text."""

from main_pc_code.services.plain_service import PlainService

WORDS_PER_SECOND = 2.5


class TTSService(PlainService):
    """``/?text=TEXT``"""

    def work(self, query):
        self.done += 1
        return {"seconds": round(len(query.get("text", "").split()) / WORDS_PER_SECOND, 2)}


if __name__ == "__main__":
    TTSService().serve()
