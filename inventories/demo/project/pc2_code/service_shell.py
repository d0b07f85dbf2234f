# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""For agents that are one function: ``run(work)`` is all the rest."""

from common.core.life import Life


def run(work, remember=dict, state_kind="json", health_protocol="http"):
    """``work``: a request's parameters in, what is to be answered out."""
    life = Life(work, state_kind, well="healthy")
    life.vitals.save()
    life.live(remember, health_protocol=health_protocol)
