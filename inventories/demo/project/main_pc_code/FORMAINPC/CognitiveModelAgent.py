# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beliefs and how sure it is of them."""

from main_pc_code.FORMAINPC import zmq_service

BELIEFS = {}


def believe(question):
    """Action "believe", belief, evidence (0 to 1)."""
    sure = BELIEFS.get(question["belief"], 0.5)
    BELIEFS[question["belief"]] = 0.7 * sure + 0.3 * float(question["evidence"])
    return {"beliefs": BELIEFS}


if __name__ == "__main__":
    zmq_service.run({"believe": believe}, "sqlite")
