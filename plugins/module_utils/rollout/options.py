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
AGENT_RULE: Spec = {
    "match": {"type": "list", "elements": "str", "required": True},
    "socket": {"type": "raw"},
    "overlap": {"type": "bool"},
    "probe": {"type": "dict"},
    "user": {"type": "str"},
    "stop_seconds": {"type": "float"},
    "credentials": {"type": "dict", "no_log": False},
}
RELEASE: Spec = {
    "root": {"type": "path", "required": True},
    "host": {"type": "str", "required": True},
    "project": {"type": "path"},
    "startup_config": {"type": "path"},
    "release": {"type": "str"},
    "state": {"type": "str", "choices": ["staged"], "default": "staged"},
    "supervisor": {"type": "dict", "required": True},
    "python": {"type": "str", "default": "/usr/bin/python3"},
    "address": {"type": "str"},
    "agent_rules": {"type": "list", "elements": "dict", "default": [], "options": AGENT_RULE},
    "values": {"type": "dict", "default": {}},
    "resume": {"type": "bool", "default": False},
    "transfer": {"type": "dict", "default": {}},
}
