# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns phonemes into text."""

from main_pc_code.services.plain_service import PlainService


class STTService(PlainService):
    """``/?phonemes=h-e-l-o``"""

    def work(self, query):
        self.done += 1
        return {"text": query.get("phonemes", "").replace("-", "")}


if __name__ == "__main__":
    STTService().serve()
