#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a host, and verify them
version_added: 1.0.0
description:
  - Lists the backups in a destination, oldest first.
  - With O(verify) reads every file of them again, and fails naming each one that was changed, is missing, was added, or
    was swapped with another one.
  - Changes nothing and takes no lock.
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
  destination:
    description:
      - Folder in which C(STAGING) lies, by default C(03_BACKUPS) in the host root.
    type: path
    required: true
  backup_id:
    description:
      - Only the backup of this name.
    type: str
  verify:
    description:
      - Whether to compare every file with its checksums.
    type: bool
    default: false
  expected:
    description:
      - SHA-256 of the report as M(fleetops.continuity.backup) returned it. Needs O(backup_id) and O(verify).
      - It vouches for the report, the report for the sums, and the sums for every file.
    type: str
seealso:
  - module: fleetops.continuity.backup
"""

EXAMPLES = r"""
- name: Verify all backups of the host
  fleetops.continuity.backup_info:
    destination: /srv/fleet/03_BACKUPS
    verify: true

- name: Prove that one backup is what it was
  fleetops.continuity.backup_info:
    destination: /srv/fleet/03_BACKUPS
    backup_id: BACKUP_2026-01-31_020000
    verify: true
    expected: 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
"""

RETURN = r"""
backups:
  description: The backups, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    backup_id:
      description: Name of the backup.
      type: str
      sample: BACKUP_2026-01-31_020000
    folder:
      description: Its folder.
      type: str
      sample: /srv/fleet/03_BACKUPS/STAGING/2026-01-31
    report_file:
      description: The file of its report.
      type: str
      sample: /srv/fleet/03_BACKUPS/STAGING/2026-01-31/backup_report_2026-01-31.json
    status:
      description: As it stands in the report.
      type: str
      sample: SUCCESS
    backup_type:
      description: As it stands in the report.
      type: str
      sample: full
    set:
      description: The set of the schedule that made it; empty for one on demand.
      type: str
      sample: daily
    total_files_backed_up:
      description: As it stands in the report.
      type: int
      sample: 412
damaged:
  description: Folders that have the name of a backup and are none, and why.
  returned: always
  type: list
  elements: str
  sample: []
faults:
  description: With O(verify) what is wrong with each backup, by its name. Empty when everything is sound.
  returned: always
  type: dict
  sample: {"BACKUP_2026-01-31_020000": ["legal/srv/documents/contract.pdf: changed"]}
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.backup.layout import Staging
from ansible_collections.fleetops.continuity.plugins.module_utils.backup.verifying import verify_all
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "destination": {"type": "path", "required": True},
    "backup_id": {"type": "str"},
    "verify": {"type": "bool", "default": False},
    "expected": {"type": "str"},
}
SHOWN = ("status", "backup_type", "set", "total_files_backed_up")


def execute(call: Call) -> dict:
    found, damaged = Staging(call.params["destination"]).chosen(call.params["backup_id"])
    faults = verify_all(found, expected=call.params["expected"]) if call.params["verify"] else {}
    described = [
        {
            "backup_id": one.id,
            "folder": one.folder,
            "report_file": one.report_file,
            **{key: one.report.get(key) for key in SHOWN},
        }
        for one in found
    ]
    result = {"changed": False, "backups": described, "damaged": damaged, "faults": faults}
    if faults or (call.params["verify"] and damaged):
        said = [f"{name}: {fault}" for name, of_one in faults.items() for fault in of_one] + damaged
        result.update(failed=True, msg=f"{len(said)} faults: {'; '.join(said)}")
    return result


def main() -> None:
    run_module(ARGUMENTS, execute, required_by={"expected": ["backup_id"]})


if __name__ == "__main__":
    main()
