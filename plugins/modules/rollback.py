#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback
short_description: Bring one host back to an earlier release
version_added: 1.0.0
description:
  - Replaces every agent that does not run what the earlier release has for it, in reverse dependency order and
    without bake time, and waits until the agents answer as they did before.
  - Works in every state of a rollout, also while one is running, and again after it was interrupted itself.
  - The release that is left can be quarantined. It is never deleted.
  - An agent that does not answer afterwards is not a failure of the task but RV(ok=false). Use C(failed_when).
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
  - fleetops.continuity.rollout.healthy
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  to:
    description:
      - The release to go back to. Without it the last rollout is taken back, finished or not. One that was taken back
        already is not taken back again, to go further back name a release.
    type: str
  plan:
    description:
      - Take back only the rollout of the plan with this hash. A host where it never began, or was taken back already,
        stays as it is.
    type: str
  run:
    description:
      - On whose behalf. Refused while another run holds the lease. Without it the lease does not matter.
    type: str
  reason:
    description: Why, for the ledger.
    type: str
    default: asked for by an operator
  quarantine:
    description: Whether to quarantine the release that is left.
    type: bool
    default: false
  parallel:
    description:
      - How many agents may be away at once on this host. The default is the share that the plan gives this host.
    type: int
  replace_seconds:
    description: How long replacing the agents may take.
    type: float
    default: 180.0
seealso:
  - module: fleetops.continuity.rollout_wave
"""

EXAMPLES = r"""
- name: Go back to the release before
  fleetops.continuity.rollback:
    root: /srv/fleet
    reason: orders are slow since the last rollout
    quarantine: true
  register: rollback
  failed_when: rollback is failed or not rollback.ok

- name: Go back to a named release
  fleetops.continuity.rollback:
    root: /srv/fleet
    to: r-5f0c1d2e3a4b
"""

RETURN = r"""
ok:
  description: Whether every agent runs what it ran before and answers as it did.
  returned: success
  type: bool
from_release:
  description: The release that was left.
  returned: success
  type: str
  sample: r-5f0c1d2e3a4b
to:
  description: The release that runs now, or null when the host had none before.
  returned: success
  type: str
  sample: r-0a1b2c3d4e5f
agents:
  description: For each agent that was replaced or stopped, what became of it.
  returned: success
  type: dict
  sample: {}
quarantined:
  description: Whether the release that was left is quarantined now.
  returned: success
  type: bool
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 8.5
objective_seconds:
  description: How long it may take.
  returned: success
  type: float
  sample: 300.0
within_objective:
  description: Whether it took no longer.
  returned: success
  type: bool
why:
  description: What went wrong, or why there was nothing to do.
  returned: success
  type: str
  sample: ""
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import HEALTHY, ROOT
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.rollback import (
    OBJECTIVE_SECONDS,
    Wish,
    foresee,
    roll_back,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    host = open_host(params["root"], runner=call.runner, clock=call.clock)
    wish = Wish(
        reason=params["reason"],
        to=params["to"] or None,
        plan=params["plan"] or None,
        run=params["run"] or None,
        quarantine=params["quarantine"],
        parallel=params["parallel"],
        replace_seconds=params["replace_seconds"],
        healthy_seconds=params["healthy_seconds"],
    )
    done = foresee(host, wish) if call.check_mode else roll_back(host, wish)
    result: dict[str, Any] = {
        "changed": done.changed,
        "ok": done.ok,
        "from_release": done.from_release,
        "to": done.to,
        "agents": done.batch.to_plain(),
        "quarantined": done.quarantined,
        "seconds": done.seconds,
        "objective_seconds": OBJECTIVE_SECONDS,
        "within_objective": done.within_objective,
        "why": done.message,
    }
    if not done.ok:
        result["msg"] = f"release {done.to} does not run as before: {done.message}"
    if call.diff_mode and done.changed:
        agents = sorted(done.batch.to_plain())
        result["diff"] = {
            "before": "".join(f"{agent} {done.from_release}\n" for agent in agents),
            "after": "".join(f"{agent} {done.to}\n" for agent in agents),
        }
    return result


def main() -> None:
    run_module(
        {
            **ROOT,
            **HEALTHY,
            "to": {"type": "str"},
            "plan": {"type": "str"},
            "run": {"type": "str"},
            "reason": {"type": "str", "default": "asked for by an operator"},
            "quarantine": {"type": "bool", "default": False},
            "parallel": {"type": "int"},
            "replace_seconds": {"type": "float", "default": 180.0},
        },
        execute,
    )


if __name__ == "__main__":
    main()
