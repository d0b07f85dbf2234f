#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_scan
short_description: Find credentials that are written down
version_added: 1.0.0
description:
  - Finds passwords, tokens and keys in the files of a tree, and on the command lines and in the environments of
    running processes.
  - Reports where they stand, what kind they are and how bad that is. No value is returned, shown or logged.
  - Nothing is changed, and nothing is sent anywhere.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - PyYAML, where O(baseline) is given
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
  root:
    description:
      - The folder below which files are read. Links are not followed.
      - At least one of O(root) and O(processes) is needed.
    type: path
  processes:
    description:
      - Look at the command lines and environments of running processes as well.
      - Without root, the environments of other users cannot be read; RV(closed_environments) says how many.
    type: bool
    default: false
  key_file:
    description:
      - A file with a key of at least 16 bytes, which only its owner can read. With it, fingerprints of one run can be
        compared with those of another.
      - Without it a key is drawn for this run.
    type: path
  baseline:
    description:
      - A YAML file of accepted findings. Each entry needs an owner, a reason and an expiry.
    type: path
  fail_on_findings:
    description:
      - Whether findings of the classes V(live) and V(default) that O(baseline) does not accept, and findings in
        processes, make the task fail.
    type: bool
    default: true
seealso:
  - module: fleetops.continuity.fleet_audit
"""

EXAMPLES = r"""
- name: Stop when a credential is written down
  fleetops.continuity.secret_scan:
    root: /srv/project
    baseline: accepted_credentials.yml
  delegate_to: localhost
  run_once: true

- name: Which processes show a credential
  fleetops.continuity.secret_scan:
    processes: true
    fail_on_findings: false
  become: true
  register: shown
"""

RETURN = r"""
findings:
  description: What the baseline does not accept, by file and line.
  returned: always
  type: list
  elements: dict
  contains:
    file:
      description: The file, relative to O(root).
      type: str
      sample: config/docker-compose.yml
    line:
      description: The line, from 1.
      type: int
      sample: 31
    kind:
      description: V(password), V(secret), V(token), V(api_key), V(authorization), V(private_key) or V(url).
      type: str
      sample: password
    class:
      description: V(live), V(default), V(sample), V(test) or V(encrypted).
      type: str
      sample: live
    rule:
      description: What found it. Its name never changes its meaning.
      type: str
      sample: assigned-value
    id:
      description: Stays the same when lines move. Nothing in it comes from the value.
      type: str
      sample: 90bb7a5d20c4ee15
summary:
  description: The number of findings of each class.
  returned: always
  type: dict
  sample: {"live": 1, "default": 1, "sample": 1, "test": 0, "encrypted": 0}
baseline:
  description: What the baseline made of the findings.
  returned: always
  type: dict
  contains:
    accepted:
      description: Findings that an entry accepts, with that entry.
      type: list
      elements: dict
    expired:
      description: Entries that accept nothing any more.
      type: list
      elements: dict
    unused:
      description: Entries that match no finding.
      type: list
      elements: dict
unread:
  description: Files that could not be read, or not to their end, and why.
  returned: when O(root) is given
  type: list
  elements: dict
  sample: [{"file": "logs/huge.log", "reason": "is larger than 32 MiB"}]
files:
  description: The number of files.
  returned: when O(root) is given
  type: int
  sample: 865
bytes:
  description: Their size.
  returned: when O(root) is given
  type: int
  sample: 9570000
processes:
  description: Credentials that running processes show.
  returned: when O(processes) is set
  type: list
  elements: dict
  contains:
    pid:
      description: The process.
      type: int
      sample: 4711
    uid:
      description: Its user.
      type: int
      sample: 1000
    exe:
      description: Its program.
      type: str
      sample: /usr/bin/redis-server
    place:
      description: The number of the argument (0 is the program), or the name of the variable.
      type: str
      sample: argument 2
    kind:
      description: As in RV(findings).
      type: str
      sample: password
    class:
      description: Always V(live).
      type: str
      sample: live
    rule:
      description: As in RV(findings).
      type: str
      sample: command-argument
    fingerprint:
      description: Equal ones of one key are equal values.
      type: str
      sample: a3c19e0d77b2
closed_environments:
  description: The number of processes that keep their environment from this user.
  returned: when O(processes) is set
  type: int
  sample: 0
report:
  description: The same for people, line by line.
  returned: always
  type: list
  elements: str
  sample: ["nothing to remove; 865 files, 9.6 MB"]
"""

from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.process_scan import read_key, scan_processes
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import (
    ScanBaseline,
    read_scan_baseline,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_report import report
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module


def execute(call: Call) -> dict[str, Any]:
    params = call.params
    if not params["root"] and not params["processes"]:
        raise ContinuityError("There is nothing to scan", fix="Give root, processes, or both")
    key = read_key(params["key_file"]) if params["key_file"] else None
    baseline = read_scan_baseline(params["baseline"]) if params["baseline"] else ScanBaseline()
    found = report(
        scan(params["root"]) if params["root"] else None,
        scan_processes(key) if params["processes"] else None,
        baseline,
        datetime.fromtimestamp(call.clock.now(), timezone.utc).date(),
    )
    for entry in (*found.applied.expired, *found.applied.unused):
        call.warn(f"{entry.where} accepts nothing")
    for unread in found.tree.unread if found.tree else ():
        call.warn(f"{unread.file}: {unread.reason}")
    result = {**found.document(), "report": found.text(), "changed": False}
    if found.status == 1 and params["fail_on_findings"]:
        result.update(failed=True, msg=f"Credentials are written down: {found.text()[-1]}")
    return result


def main() -> None:
    run_module(
        {
            "root": {"type": "path"},
            "processes": {"type": "bool", "default": False},
            "key_file": {"type": "path", "no_log": False},
            "baseline": {"type": "path"},
            "fail_on_findings": {"type": "bool", "default": True},
        },
        execute,
    )


if __name__ == "__main__":
    main()
