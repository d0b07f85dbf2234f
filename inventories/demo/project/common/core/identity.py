# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who an agent is: what its start script put into its environment."""

import os
from typing import NamedTuple


class Identity(NamedTuple):
    """One agent of the fleet. ``bind`` is an address, ``release`` the release that it runs."""

    name: str
    bind: str
    port: int
    health_port: int
    state_dir: str
    release: str

    @classmethod
    def from_environment(cls):
        """KeyError names the variable that is missing."""
        return cls(
            name=os.environ["AGENT_NAME"],
            bind=os.environ.get("AGENT_BIND", "127.0.0.1"),
            port=int(os.environ["AGENT_PORT"]),
            health_port=int(os.environ["AGENT_HEALTH_PORT"]),
            state_dir=os.environ["AGENT_STATE_DIR"],
            release=os.environ.get("AGENT_RELEASE", "none"),
        )
