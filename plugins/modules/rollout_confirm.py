#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_confirm
short_description: Make a rollout final on one host
version_added: 1.0.0
description:
  - Checks that every wave with agents of this host has passed its gate, points the agents that did not change at the
    new release as well, writes C(confirmed) into the ledger, ends the dead man and removes old releases.
  - Never removes a release that is current, previous, quarantined, or that something still leads to.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
  - fleetops.continuity.rollout.lease
  - fleetops.continuity.rollout.plan
  - fleetops.continuity.rollout.restore_point
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  keep:
    description: How many releases to keep besides those that are needed.
    type: int
    default: 5
seealso:
  - module: fleetops.continuity.rollout_gate
  - module: fleetops.continuity.rollback
"""

EXAMPLES = r"""
- name: Make the rollout final
  fleetops.continuity.rollout_confirm:
    root: /srv/fleet
    plan: "{{ rollout.plan }}"
    owner: operator@controller
    run: "{{ rollout.run }}"
"""

RETURN = r"""
release:
  description: The release that is current now.
  returned: success
  type: str
  sample: r-5f0c1d2e3a4b
pointed:
  description: Agents whose links moved without their processes being touched.
  returned: success
  type: list
  elements: str
  sample: []
pruned:
  description: Releases that were removed.
  returned: success
  type: list
  elements: str
  sample: []
interruptions:
  description: The agents whose socket nothing held for a while, with the seconds.
  returned: success
  type: dict
  sample: {"GoTToTAgent": 0.26}
seconds:
  description: Seconds since the rollout began on this host.
  returned: success
  type: float
  sample: 41.2
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.apply import Request, confirm, foresee_confirm
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import (
    LEASE,
    PLAN,
    RESTORE_POINT,
    ROOT,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.plan_document import from_document
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    host = open_host(params["root"], runner=call.runner, clock=call.clock)
    plan = from_document(params["plan"])
    before = host.ledger.state().current
    if call.check_mode:
        done = foresee_confirm(host, plan)
    else:
        request = Request(**{name: params[name] for name in ("owner", "run", "lease_seconds", "restore_point")})
        done = confirm(host, plan, request, keep=params["keep"])
    release = plan.releases[host.name]
    result: dict[str, Any] = {
        "changed": done.changed,
        "release": release,
        "pointed": list(done.pointed),
        "pruned": list(done.pruned),
        "seconds": done.seconds,
        "interruptions": dict(done.interruptions),
    }
    if call.diff_mode and before != release:
        result["diff"] = {"before": f"current {before}\n", "after": f"current {release}\n"}
    return result


def main() -> None:
    run_module(
        {
            **ROOT,
            **LEASE,
            **PLAN,
            **RESTORE_POINT,
            "keep": {"type": "int", "default": 5},
        },
        execute,
    )


if __name__ == "__main__":
    main()
