#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: backup
short_description: Make a backup of a host
version_added: 1.0.0
description:
  - Makes one backup of a host. Takes a restore point into the repository and verifies it. Copies databases and documents
    out of it into a folder that a person can browse, with the states of the agents and compressed logs. Makes
    checksums, compares every copy with its source, and writes a report.
  - The backup exists completely or not at all, whatever kills the task.
  - The layout and the report are documented on the page C(docs/backup.md).
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Says which files would be copied, and writes nothing.
  diff_mode:
    support: full
    details:
      - Lists the files of the backup.
  idempotent:
    support: partial
    details:
      - Full with O(backup_id). Without it each run makes a new backup.
options:
  root:
    description:
      - The host root of the fleet on this host.
      - Gives the defaults of O(repository), O(destination), O(source_paths), O(log_paths) and O(host).
    type: path
    required: true
  host:
    description:
      - The host's name in the fleet.
      - Defaults to the name in C(host.json) in O(root), else to the machine's own name.
    type: str
  backup_id:
    description:
      - Name of the backup, C(BACKUP_YYYY-MM-DD_HHMMSS). Give the same one on all hosts in one run.
      - When the backup of this name exists nothing is done.
      - Without it the backup is named by the time at which it begins, in UTC.
    type: str
  backup_type:
    description:
      - V(full) writes every copy anew and archives all that stands in the logs.
      - V(incremental) makes a copy that is equal to that of the newest backup a hard link to it, and archives what was
        written to the logs since. Every copy is read and compared either way.
    type: str
    choices: [full, incremental]
    default: full
  source_paths:
    description:
      - Files and folders to back up. All of it goes into the repository; databases, JSON documents, texts and
        legal documents among it into the folder too.
      - Defaults to the folders C(state) and C(ledger) and the config of the current release in O(root), as far as
        they exist.
    type: list
    elements: path
  destination:
    description:
      - Folder in which C(STAGING) lies. Each host needs one of its own.
      - Defaults to the folder C(03_BACKUPS) in O(root).
    type: path
  compression_level:
    description:
      - How hard logs are compressed, V(low), V(normal), V(high) or a number.
    type: str
    default: normal
  compression:
    description:
      - How logs are compressed. V(zstd) needs the Python package C(zstandard), or Python 3.14, on the host.
    type: str
    choices: [gzip, zstd]
    default: gzip
  log_paths:
    description:
      - Logs to archive, or folders with logs.
      - Defaults to the folder C(logs) in O(root), if there is one.
    type: list
    elements: path
  document_paths:
    description:
      - Legal, technical and other documents. They are sorted into C(legal) and C(technical).
    type: list
    elements: path
    default: []
  databases:
    description:
      - Databases behind servers, each as O(fleetops.continuity.snapshot#module:databases). Their dumps lie in C(database).
    type: list
    elements: dict
    default: []
  exclude:
    description:
      - Shell patterns of what is left out, as for M(fleetops.continuity.snapshot).
    type: list
    elements: str
    default: []
  offsite:
    description:
      - Send the restore point and the documents off-site, too, as M(fleetops.continuity.offsite) does. When that
        fails the backup is made all the same, and RV(problems) says why.
    type: dict
    suboptions:
      destination:
        description: Where to, a path or an address.
        type: str
        required: true
      endpoint:
        description: Address of a service that speaks the protocol of O(offsite.destination) elsewhere.
        type: str
      region:
        description: Region of an S3 bucket.
        type: str
      profile:
        description: Section of O(offsite.credentials_file) for S3.
        type: str
      credentials_file:
        description: File on the host with the credentials.
        type: path
      ca_file:
        description: File on the host with the certificates of a private authority.
        type: path
      recipients:
        description: Public keys for which everything is encrypted.
        type: list
        elements: str
      recipients_file:
        description: File on the host with public keys, one a line.
        type: path
      parallel:
        description: How many objects travel at once.
        type: int
        default: 4
      append_only:
        description: Whether nothing may ever be withdrawn.
        type: bool
        default: false
  states:
    description:
      - The states of the agents of all hosts of the fleet, by the name of the host, as
        M(fleetops.continuity.agent_states_info) returns them. Without it only those of this host are kept.
    type: dict
  repository:
    description:
      - Folder of the repository.
      - Defaults to the folder C(repository) in O(root).
    type: path
  recipients:
    description:
      - Public keys of age of those who may open the repository. When the repository is made, it is made encrypted.
      - The folder of the backup is not encrypted. It is readable by its owner alone.
    type: list
    elements: str
    default: []
  recipients_file:
    description:
      - File with such public keys, one a line.
    type: path
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
    type: list
    elements: path
    default: []
  wait:
    description:
      - Seconds to wait for another backup, and for another writer of the repository.
    type: float
    default: 60
seealso:
  - module: fleetops.continuity.backup_info
  - module: fleetops.continuity.snapshot
  - module: fleetops.continuity.log_archive
  - module: fleetops.continuity.offsite
"""

EXAMPLES = r"""
- name: Make a backup of the host
  fleetops.continuity.backup:
    root: "{{ continuity_root }}"
  register: made

- name: Show its summary
  ansible.builtin.debug:
    msg: "{{ made.summary }}"

- name: Make an incremental backup under one name on all hosts
  fleetops.continuity.backup:
    root: "{{ continuity_root }}"
    backup_id: BACKUP_2026-01-31_020000
    backup_type: incremental
    compression_level: high
    document_paths:
      - /srv/documents
"""

RETURN = r"""
backup_id:
  description: Name of the backup; null in check mode when a new one would be made.
  returned: success
  type: str
  sample: BACKUP_2026-01-31_020000
folder:
  description: The folder of the backup; null in check mode when a new one would be made.
  returned: success
  type: str
  sample: /srv/fleet/03_BACKUPS/STAGING/2026-01-31
report_file:
  description: The file of the report; null in check mode when a new one would be made.
  returned: success
  type: str
  sample: /srv/fleet/03_BACKUPS/STAGING/2026-01-31/backup_report_2026-01-31.json
report_checksum:
  description: SHA-256 of the report's file. Note it elsewhere to be able to prove the whole backup.
  returned: success
  type: str
  sample: 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
complete:
  description: Whether everything was taken as it stands.
  returned: success
  type: bool
  sample: true
problems:
  description: What could not be taken as it stands.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The path, with special characters as C(%) and two digits.
      type: str
      sample: /srv/fleet/state/Twin/profile.json
    kind:
      description: What kind of problem it is, for example V(json), V(unsettled), V(log) or V(differs).
      type: str
      sample: json
    message:
      description: What is wrong.
      type: str
      sample: "not valid JSON: Expecting value: line 1 column 6 (char 5)"
report:
  description: The report without its C(catalogue); null in check mode when a new one would be made.
  returned: success
  type: dict
  sample: {"backup_id": "BACKUP_2026-01-31_020000", "status": "SUCCESS", "verification_status": "VERIFIED"}
files:
  description: The files of the backup, or those that it would have, as paths inside its folder.
  returned: success
  type: list
  elements: str
  sample: [database/agent_states_2026-01-31.json, logs/Twin.log.00000001.20260131T020000Z.gz]
summary:
  description: The report for people, a line each.
  returned: success
  type: list
  elements: str
  sample: ["BACKUP_2026-01-31_020000 of pc2: SUCCESS, VERIFIED"]
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.backup.report import summary
from ansible_collections.fleetops.continuity.plugins.module_utils.composition import backups
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "host": {"type": "str"},
    "backup_id": {"type": "str"},
    "backup_type": {"type": "str", "choices": ["full", "incremental"], "default": "full"},
    "source_paths": {"type": "list", "elements": "path"},
    "destination": {"type": "path"},
    "compression_level": {"type": "str", "default": "normal"},
    "compression": {"type": "str", "choices": ["gzip", "zstd"], "default": "gzip"},
    "log_paths": {"type": "list", "elements": "path"},
    "document_paths": {"type": "list", "elements": "path", "default": []},
    "databases": {"type": "list", "elements": "dict", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "offsite": {
        "type": "dict",
        "options": {
            "destination": {"type": "str", "required": True},
            "endpoint": {"type": "str"},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "credentials_file": {"type": "path", "no_log": False},
            "ca_file": {"type": "path"},
            "recipients": {"type": "list", "elements": "str"},
            "recipients_file": {"type": "path"},
            "parallel": {"type": "int", "default": 4},
            "append_only": {"type": "bool", "default": False},
        },
    },
    "states": {"type": "dict"},
    "repository": {"type": "path"},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "recipients_file": {"type": "path"},
    "identity_files": {"type": "list", "elements": "path", "default": []},
    "wait": {"type": "float", "default": 60},
}


def execute(call: Call) -> dict:
    wish = backups.wish_for(call.params["root"], call.params)
    made = backups.make_backup(wish, call.runner, call.clock, check=call.check_mode)
    backup = made.backup
    report = dict(backup.report) if backup else {}
    files = [copy["path"] for copy in report.pop("catalogue", [])] if backup else list(made.planned)
    for problem in report.get("problems", []):
        call.warn(f"{problem['path']}: {problem['message']} ({problem['kind']})")
    result = {
        "changed": made.new,
        "backup_id": backup.id if backup else None,
        "folder": backup.folder if backup else None,
        "report_file": backup.report_file if backup else None,
        "report_checksum": made.checksum,
        "complete": not report.get("problems"),
        "problems": report.get("problems", []),
        "report": report or None,
        "files": files,
        "summary": summary(backup.report, backup.folder, made.checksum) if backup else [],
    }
    shown = "".join(f"+ {path}\n" for path in files) if made.new else ""
    return {**result, "diff": {"prepared": shown}} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
