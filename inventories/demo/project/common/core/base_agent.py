# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base class of the fleet: a subclass says what the agent does, this says how it lives."""

from common.core.life import Life
from common.core.registration import Registration


class BaseAgent:
    """Override ``work``; let ``remember`` name what a restart must not lose.

    On the agent's port ``/`` does the work, ``/health`` and ``/metrics`` tell how it goes. The health
    port answers the same two, or JSON actions over ZeroMQ where ``health_protocol`` is "zmq".
    ``state_kind`` is one of "json", "sqlite", "sqlite-wal".
    """

    health_protocol = "http"
    state_kind = "json"

    def __init__(self):
        self.life = Life(self.work, self.state_kind)

    def work(self, query):
        """One piece of work: the request's parameters in, what is to be answered out."""
        raise NotImplementedError

    def remember(self):
        """Facts (names to numbers or text) that are written with every beat."""
        return {}

    def recall(self, facts):
        """What was written in an earlier life; called once, before the first request."""

    def run(self):
        self.life.vitals.save()
        self.recall(self.life.vitals.totals)
        registration = Registration(self.life.identity)
        self.life.live(self.remember, registration.beat, self.health_protocol)
