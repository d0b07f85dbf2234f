# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks a tree of thoughts, breadth first."""

from main_pc_code.FORMAINPC import zmq_service


def walk(question):
    """Action "walk", tree (node to children), start."""
    tree, found, waiting = question["tree"], [], [question["start"]]
    while waiting and len(found) < 1000:
        found.append(waiting.pop(0))
        waiting += tree.get(found[-1], [])
    return {"order": found}


if __name__ == "__main__":
    zmq_service.run({"walk": walk})
