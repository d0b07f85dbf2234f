# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where generations of servers answer differently: HashiCorp Vault of API generation 1.8, and OpenBao of today."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    name: str
    version: str
    without_token: tuple[int, str]
    no_handler: str
    bad_role: str
    bad_secret_id: str
    bad_version: int
    bad_batch: int
    namespaces: bool
    custom_metadata: bool
    patch: bool
    performance_standby: bool
    inline_auth: bool


OLDER = Profile(
    name="older",
    version="1.8.12",
    without_token=(400, "missing client token"),
    no_handler="no handler for route '{}'",
    bad_role="invalid role ID",
    bad_secret_id="invalid secret id",
    bad_version=500,
    bad_batch=200,
    namespaces=False,
    custom_metadata=False,
    patch=False,
    performance_standby=True,
    inline_auth=False,
)

CURRENT = Profile(
    name="current",
    version="2.6.2",
    without_token=(403, "permission denied"),
    no_handler='no handler for route "{}". route entry not found.',
    bad_role="invalid role or secret ID",
    bad_secret_id="invalid role or secret ID",
    bad_version=400,
    bad_batch=400,
    namespaces=True,
    custom_metadata=True,
    patch=True,
    performance_standby=False,
    inline_auth=True,
)

PROFILES = {profile.name: profile for profile in (OLDER, CURRENT)}
