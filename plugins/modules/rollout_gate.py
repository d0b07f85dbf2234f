#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_gate
short_description: Watch a wave on one host and decide whether it may stay
version_added: 1.0.0
description:
  - Looks at all agents of the host over the plan's bake time. Compares their health, restarts, error counts and
    log errors with what was measured before the rollout.
  - The verdict is V(pass), V(fail) or V(inconclusive). What could not be measured never passes.
  - Only a failure ends the watch early. The verdict and its numbers are written into the ledger.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
  - fleetops.continuity.rollout.lease
  - fleetops.continuity.rollout.plan
  - fleetops.continuity.rollout.wave
attributes:
  check_mode:
    support: full
    details:
      - Nothing is watched and the verdict is V(inconclusive).
  diff_mode:
    support: none
    details:
      - It changes nothing but the ledger.
  idempotent:
    support: full
options:
  hold_seconds:
    description:
      - How long to go on watching after the bake time while the verdict is inconclusive.
    type: float
    default: 0.0
  min_samples:
    description: How often an agent must have answered.
    type: int
    default: 3
  unhealthy_in_a_row:
    description: How many unhealthy answers one after the other are a failure.
    type: int
    default: 2
  max_restarts:
    description: How often an agent may have been restarted by its supervisor.
    type: int
    default: 0
  factor:
    description: By how much an error rate may exceed what it was before.
    type: float
    default: 2.0
  errors_per_minute_allowed:
    description: Errors a minute, counted by the agent itself, that are allowed on top of that.
    type: float
    default: 6.0
  log_errors_allowed:
    description: How many error lines an agent may log.
    type: int
    default: 3
seealso:
  - module: fleetops.continuity.rollout_wave
  - module: fleetops.continuity.rollout_confirm
"""

EXAMPLES = r"""
- name: Watch the first wave
  fleetops.continuity.rollout_gate:
    root: /srv/fleet
    plan: "{{ rollout.plan }}"
    wave: 1
    owner: operator@controller
    run: "{{ rollout.run }}"
  register: gate
  failed_when: gate is failed or gate.verdict != 'pass'
"""

RETURN = r"""
verdict:
  description: V(pass), V(fail) or V(inconclusive).
  returned: success
  type: str
  sample: pass
reasons:
  description: A sentence for each reason.
  returned: success
  type: list
  elements: str
  sample: ["ApiGateway is unhealthy"]
numbers:
  description: What was measured, for each changed agent.
  returned: success
  type: dict
  sample: {"ApiGateway": {"samples": 15, "answered": 15, "unhealthy": 0}}
seconds:
  description: How long the host was watched.
  returned: success
  type: float
  sample: 30.1
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.apply import Request
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.bake import bake
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.gates import GateRules
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import LEASE, PLAN, ROOT, WAVE
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan_document import from_document
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

RULES = (
    "min_samples",
    "unhealthy_in_a_row",
    "max_restarts",
    "factor",
    "errors_per_minute_allowed",
    "log_errors_allowed",
)


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    if call.check_mode:
        return {"changed": False, "verdict": "inconclusive", "reasons": ["check mode"], "numbers": {}, "seconds": 0.0}
    host = open_host(params["root"], runner=call.runner, clock=call.clock)
    request = Request(params["owner"], params["run"], params["lease_seconds"])
    rules = GateRules(**{name: params[name] for name in RULES})
    begun = call.clock.monotonic()
    plan = from_document(params["plan"])
    decided = bake(host, plan, params["wave"], request, rules, hold_seconds=params["hold_seconds"])
    result: dict[str, Any] = {
        "changed": False,
        "verdict": decided.verdict,
        "reasons": list(decided.reasons),
        "numbers": dict(decided.numbers),
        "seconds": round(call.clock.monotonic() - begun, 3),
    }
    if decided.verdict != "pass":
        result["msg"] = f"gate of wave {params['wave']}: {decided.verdict}: {'; '.join(decided.reasons[:5])}"
    return result


def main() -> None:
    run_module(
        {
            **ROOT,
            **LEASE,
            **PLAN,
            **WAVE,
            "hold_seconds": {"type": "float", "default": 0.0},
            "min_samples": {"type": "int", "default": 3},
            "unhealthy_in_a_row": {"type": "int", "default": 2},
            "max_restarts": {"type": "int", "default": 0},
            "factor": {"type": "float", "default": 2.0},
            "errors_per_minute_allowed": {"type": "float", "default": 6.0},
            "log_errors_allowed": {"type": "int", "default": 3},
        },
        execute,
    )


if __name__ == "__main__":
    main()
