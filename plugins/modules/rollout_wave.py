#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_wave
short_description: Bring the agents of one wave on one host to a release
version_added: 1.0.0
description:
  - Writes the plan into the ledger, arms the dead man, writes which agents are activated, and then replaces them,
    dependencies first, at most as many at a time as the plan allows.
  - All agents of the wave are replaced by one call, and it waits until they answer healthy.
  - An agent that already runs what the release wants, and answers, is not touched. So a call that was interrupted
    is simply made again.
  - An agent that fails is not a failure of the task but RV(ok=false), so that the play decides with all results at
    hand. Use C(failed_when).
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
  - fleetops.continuity.rollout.lease
  - fleetops.continuity.rollout.plan
  - fleetops.continuity.rollout.wave
  - fleetops.continuity.rollout.healthy
  - fleetops.continuity.rollout.restore_point
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - One line for each agent of the wave.
  idempotent:
    support: full
options:
  wave_seconds:
    description:
      - How long replacing the agents may take. Never more than four fifths of the plan's dead man.
    type: float
    default: 120.0
seealso:
  - module: fleetops.continuity.rollout_plan
  - module: fleetops.continuity.rollout_gate
"""

EXAMPLES = r"""
- name: Replace the agents of the first wave
  fleetops.continuity.rollout_wave:
    root: /srv/fleet
    plan: "{{ rollout.plan }}"
    wave: 1
    owner: operator@controller
    run: "{{ rollout.run }}"
  register: wave
  failed_when: wave is failed or not wave.ok
"""

RETURN = r"""
ok:
  description: Whether every agent of the wave runs the release and answers healthy.
  returned: success
  type: bool
agents:
  description: For each agent that was replaced or stopped, what became of it.
  returned: success
  type: dict
  sample: {"ApiGateway": {"agent": "ApiGateway", "ok": true, "message": "", "seconds": 1.2, "away_seconds": 0.0}}
replaced:
  description: The agents that were replaced or stopped, in check mode those that would be.
  returned: success
  type: list
  elements: str
  sample: [ApiGateway]
kept:
  description: The agents of the wave that already were as the plan wants them.
  returned: success
  type: list
  elements: str
  sample: []
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 2.4
away_seconds:
  description: The longest time for which nothing held an agent's socket.
  returned: success
  type: float
  sample: 0.0
failures:
  description: A sentence for each agent that failed.
  returned: success
  type: list
  elements: str
  sample: ["ApiGateway: not healthy within 30 s (unhealthy: HTTP 500)"]
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.apply import Request, apply_wave, foresee_wave
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import (
    HEALTHY,
    LEASE,
    PLAN,
    RESTORE_POINT,
    ROOT,
    WAVE,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan_document import from_document
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

REQUEST = ("owner", "run", "lease_seconds", "wave_seconds", "healthy_seconds", "restore_point")


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    host = open_host(params["root"], runner=call.runner, clock=call.clock)
    plan = from_document(params["plan"])
    request = Request(**{name: params[name] for name in REQUEST})
    step = foresee_wave if call.check_mode else apply_wave
    done = step(host, plan, params["wave"], request)
    result: dict[str, Any] = {
        "changed": done.changed,
        "ok": done.batch.ok,
        "agents": done.batch.to_plain(),
        "replaced": list(done.replaced),
        "kept": list(done.kept),
        "seconds": done.batch.seconds,
        "away_seconds": max((outcome.away_seconds for outcome in done.batch.outcomes), default=0.0),
        "failures": done.batch.failures,
    }
    if done.batch.failures:
        result["msg"] = f"wave {params['wave']}: " + "; ".join(done.batch.failures[:5])
    if call.diff_mode and done.replaced:
        before, after = plan.previous[host.name], plan.releases[host.name]
        result["diff"] = {
            "before": "".join(f"{agent} {before}\n" for agent in done.replaced),
            "after": "".join(f"{agent} {after}\n" for agent in done.replaced),
        }
    return result


def main() -> None:
    run_module(
        {
            **ROOT,
            **LEASE,
            **PLAN,
            **WAVE,
            **HEALTHY,
            **RESTORE_POINT,
            "wave_seconds": {"type": "float", "default": 120.0},
        },
        execute,
    )


if __name__ == "__main__":
    main()
