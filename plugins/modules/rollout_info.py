#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what a host's ledger says, and what it really runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_info
short_description: Say which release a host runs, and what happened to it
version_added: 1.0.0
author:
  - fleetops.continuity developers (@fleetops)
description:
  - Reads the ledger of a host, checking its hash chain, and asks its supervisor and its agents. Changes nothing.
  - A ledger that was tampered with is an error that names the line.
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.rollout
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: There is nothing that it could change.
  idempotent:
    support: full
options:
  entries:
    description: How many of the last ledger entries to return.
    type: int
    default: 20
  verify:
    description: Read every file of the current release and compare it with its digest.
    type: bool
    default: false
seealso:
  - module: fleetops.continuity.release
  - module: fleetops.continuity.rollout_lock
"""

EXAMPLES = r"""
- name: What does this host run?
  fleetops.continuity.rollout_info:
    root: /srv/fleet
  register: status

- name: Also read the current release byte by byte
  fleetops.continuity.rollout_info:
    root: /srv/fleet
    entries: 5
    verify: true
"""

RETURN = r"""
host:
  description: The host's name in the fleet.
  returned: success
  type: str
  sample: PC2
host_state:
  description: What the host runs, as M(fleetops.continuity.release) returns it.
  returned: success
  type: dict
  sample:
    current: r-77e1ecbeb4a6
    previous: r-0a1b2c3d4e5f
    quarantined: []
    unfinished: null
    agents:
      CacheManager:
        release: r-77e1ecbeb4a6
        fingerprint: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        process: running
        status: healthy
converged:
  description: The host is as its current release says.
  returned: success
  type: bool
  sample: true
differences:
  description: Why it is not, in sentences.
  returned: success
  type: list
  elements: str
  sample: []
releases:
  description: The ids of all releases staged on the host, the one published last at the end.
  returned: success
  type: list
  elements: str
  sample: [r-0a1b2c3d4e5f, r-77e1ecbeb4a6]
damage:
  description: Files of the current release that are no longer as they were staged.
  returned: when O(verify=true)
  type: list
  elements: str
  sample: []
lease:
  description: Who may change the host now, none when nobody may.
  returned: success
  type: dict
  sample:
    owner: anna@ops-controller
    run: "20261120-2210"
    expires: "2026-11-20T22:25:00+00:00"
ledger:
  description: The last entries of the ledger, oldest first.
  returned: success
  type: list
  elements: dict
  sample:
    - seq: 1
      time: "2026-11-20T22:10:00.000+00:00"
      host: PC2
      event: lease_taken
      run: "20261120-2210"
      owner: anna@ops-controller
      expires: "2026-11-20T22:25:00+00:00"
      previous: "0000000000000000000000000000000000000000000000000000000000000000"
      hash: 4329784b44b517928d0464f743dba2d20027ba145ebbe8febe7d42eba00117f9
ledger_entries:
  description: How many entries the ledger has.
  returned: success
  type: int
  sample: 1
"""

from typing import Any, Mapping

from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.lease import to_plain as lease_to_plain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.observation import observe, to_plain
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.options import ROOT
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.staging import find
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS: dict[str, Any] = {
    **ROOT,
    "entries": {"type": "int", "default": 20},
    "verify": {"type": "bool", "default": False},
}


def execute(call: Call) -> Mapping[str, Any]:
    host = open_host(call.params["root"], runner=call.runner, clock=call.clock)
    entries = host.ledger.entries()
    current = host.ledger.state().current
    observation = observe(host, find(host, current))
    result = {
        "changed": False,
        "host": host.name,
        "host_state": to_plain(observation),
        "converged": not observation.differences,
        "differences": list(observation.differences),
        "releases": host.releases.staged(),
        "lease": lease_to_plain(host.lease.live()),
        "ledger": entries[-call.params["entries"] :] if call.params["entries"] > 0 else [],
        "ledger_entries": len(entries),
    }
    if call.params["verify"]:
        result["damage"] = host.releases.verify(current) if current is not None else []
    return result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
