# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the tier that answers: quick, thorough or deep."""

from pc2_code import service_shell


def work(query):
    """``/?text=TEXT``"""
    words = len(query.get("text", "").split())
    return {"tier": "quick" if words < 5 else "thorough" if words < 20 else "deep"}


if __name__ == "__main__":
    service_shell.run(work)
