# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Optional services that speak ZeroMQ on their port, and HTTP only on their health port."""

from common.core.life import Life
from common.core.zmq_reply import actions_reply


def run(actions, state_kind="json"):
    """``actions`` maps a name to a function: the question (a dict) in, what is to be answered out."""
    life = Life(None, state_kind, well="available")

    def count(action):
        def counted(question):
            life.vitals.requests += 1
            return action(question)

        return counted

    known = {
        "health_check": lambda question: life.health(),
        "ping": lambda question: {"status": "success"},
        "status": lambda question: life.vitals.summary(),
        **actions,
    }
    life.vitals.save()
    life.live(zmq_service=actions_reply({name: count(action) for name, action in known.items()}))
