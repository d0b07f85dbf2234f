#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_info
short_description: List the snapshots in a repository
version_added: 1.0.0
description:
  - Lists the snapshots of all hosts, or of one, oldest first.
  - Reads only. Takes no lock.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details:
      - Nothing is changed.
  idempotent:
    support: full
options:
  repository:
    description:
      - Folder of the repository.
    type: path
    required: true
  host:
    description:
      - Only snapshots of this host.
    type: str
  restore_point:
    description:
      - Only snapshots of this restore point.
    type: str
  tags:
    description:
      - Only snapshots that have all these tags.
    type: list
    elements: str
    default: []
seealso:
  - module: fleetops.continuity.snapshot
"""

EXAMPLES = r"""
- name: List the snapshots of this host
  fleetops.continuity.snapshot_info:
    repository: /srv/fleet/repository
    host: pc2
  register: listed

- name: Show the newest one
  ansible.builtin.debug:
    var: listed.snapshots[-1]
"""

RETURN = r"""
snapshots:
  description: The snapshots, oldest first, each as M(fleetops.continuity.snapshot) returns it.
  returned: success
  type: list
  elements: dict
  sample:
    - id: 2918f5a08515
      digest: 2918f5a08515ff7aa005d9fcd2536894478c70f0160c5ad19538a97069d068b7
      host: pc2
      sequence: 3
      time: "2026-01-31T02:00:00.000000Z"
      restore_point: rp-before-release-42
      tags: []
      pinned: false
      sources: [/srv/fleet/state]
      totals: {"files": 412, "directories": 80, "symlinks": 0, "fifos": 0, "bytes": 10485760}
      problems: []
damaged:
  description: Manifests that cannot be read, and why.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "repository": {"type": "path", "required": True},
    "host": {"type": "str"},
    "restore_point": {"type": "str"},
    "tags": {"type": "list", "elements": "str", "default": []},
}


def execute(call: Call) -> dict:
    found, damaged = snapshots.list_snapshots(
        call.params["repository"],
        host=call.params["host"],
        restore_point=call.params["restore_point"],
        tags=call.params["tags"],
    )
    return {"changed": False, "snapshots": found, "damaged": damaged}


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
