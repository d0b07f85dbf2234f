#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes, renews and gives back the lease of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_lock
short_description: Take or give back the right to change a host
version_added: 1.0.0
author:
  - fleetops.continuity developers (@fleetops)
description:
  - A host is changed by one rollout at a time. Its lease says by whose, and ends by itself when that one no longer
    renews it, so that nobody has to remove the lock of a controller that died.
  - A lease that is over, or that an earlier run of the same owner left, is taken over, and the ledger says so.
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
  - fleetops.continuity.rollout.lease
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details: Renewing one's own lease moves its end and is not reported as a change.
options:
  state:
    description: Whether the lease is held, or given back.
    type: str
    choices: [present, absent]
    default: present
  wait_seconds:
    description: How long to wait while somebody else has it.
    type: int
    default: 0
seealso:
  - module: fleetops.continuity.rollout_info
"""

EXAMPLES = r"""
- name: Nobody else changes the fleet now
  fleetops.continuity.rollout_lock:
    root: /srv/fleet
    owner: "anna@ops-controller"
    run: "{{ rollout_run }}"
    lease_seconds: 600

- name: Give the fleet back
  fleetops.continuity.rollout_lock:
    root: /srv/fleet
    owner: "anna@ops-controller"
    run: "{{ rollout_run }}"
    state: absent
"""

RETURN = r"""
lease:
  description: The lease as it stands after the task, none when it was given back.
  returned: success
  type: dict
  contains:
    owner:
      description: Who may change the host.
      type: str
    run:
      description: On whose behalf.
      type: str
    expires:
      description: Until when, unless it is renewed.
      type: str
  sample:
    owner: anna@ops-controller
    run: "20261120-2210"
    expires: "2026-11-20T22:25:00+00:00"
"""

from typing import Any, Mapping, Optional

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.lease import LeaseRecord, to_plain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import LEASE, ROOT
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS: dict[str, Any] = {
    **ROOT,
    **LEASE,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait_seconds": {"type": "int", "default": 0},
}


def execute(call: Call) -> Mapping[str, Any]:
    given = call.params
    lease = open_host(given["root"], runner=call.runner, clock=call.clock).lease
    owner, run = given["owner"], given["run"]
    before, after = lease.holder(), None
    if given["state"] == "absent":
        if lease.belongs(owner, run) and not call.check_mode:
            lease.release(owner, run)
    elif call.check_mode:
        after = lease.foresee(owner, run, given["lease_seconds"])
    else:
        after = lease.acquire(owner, run, given["lease_seconds"], wait=given["wait_seconds"])
    result: dict[str, Any] = {"changed": _holder(before) != _holder(after), "lease": to_plain(after)}
    if call.diff_mode:
        result["diff"] = {"before": _holder(before), "after": _holder(after)}
    return result


def _holder(lease: Optional[LeaseRecord]) -> dict[str, str]:
    return {} if lease is None else {"owner": lease.owner, "run": lease.run}


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
