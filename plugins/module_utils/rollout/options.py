# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the steps of a rollout have in common, as plain data in the form of an argument spec.

Their texts stand in the doc fragment ``fleetops.continuity.rollout``.
"""

from __future__ import annotations

from typing import Any, Mapping

Spec = Mapping[str, Mapping[str, Any]]

ROOT: Spec = {"root": {"type": "path", "required": True}}
LEASE: Spec = {
    "owner": {"type": "str", "required": True},
    "run": {"type": "str", "required": True},
    "lease_seconds": {"type": "float", "default": 900.0},
}
PLAN: Spec = {"plan": {"type": "dict", "required": True}}
WAVE: Spec = {"wave": {"type": "int", "required": True}}
HEALTHY: Spec = {"healthy_seconds": {"type": "float", "default": 30.0}}
RESTORE_POINT: Spec = {"restore_point": {"type": "str"}}
