# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Continues a text with the word that most often follows its last one."""

from main_pc_code.FORMAINPC import zmq_service

FOLLOWS = {"the": "fleet", "fleet": "runs", "runs": "on"}


def continue_text(question):
    """Action "continue", text."""
    last = question["text"].split()[-1]
    return {"text": question["text"] + " " + FOLLOWS.get(last, "and")}


if __name__ == "__main__":
    zmq_service.run({"continue": continue_text})
