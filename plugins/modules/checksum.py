#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: checksum
short_description: Write checksums beside files, or name what differs from them
version_added: 1.0.0
description:
  - Writes a sidecar C(<name>.checksum) beside each file, and catalogues C(SHA256SUMS) and C(MD5SUMS) that the standard
    tools read.
  - Verifies them, and fails naming each file that was changed, is missing, was added, or was swapped with another one.
  - The formats are described on the page C(docs/checksums.md).
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads all files like a real run, and writes nothing.
  diff_mode:
    support: full
    details:
      - Lists the sidecars and catalogues that are written.
  idempotent:
    support: full
    details:
      - A sidecar or catalogue that says the same already is not written again.
options:
  paths:
    description:
      - Files and folders. Folders are read to their depth.
    type: list
    elements: path
    required: true
  state:
    description:
      - V(present) writes what is not there or not true any more.
      - V(verified) writes nothing, and fails when something differs.
    type: str
    choices: [present, verified]
    default: present
  sidecars:
    description:
      - Whether sidecars are meant.
    type: bool
    default: true
  catalogues:
    description:
      - Whether C(SHA256SUMS) and C(MD5SUMS) in each folder of O(paths) are meant.
    type: bool
    default: false
  exclude:
    description:
      - Shell patterns of what is left out in folders. Without C(/) a pattern is matched with names, otherwise with
        the end of the path.
    type: list
    elements: str
    default: []
  update:
    description:
      - Whether a file that differs from its checksum is given a new one. With V(false) that is a failure, and
        nothing is written.
    type: bool
    default: true
seealso:
  - module: fleetops.continuity.verify
"""

EXAMPLES = r"""
- name: Write down what the documents hold
  fleetops.continuity.checksum:
    paths: [/srv/documents]
    catalogues: true

- name: Give new documents a checksum, and stop when an old one was changed
  fleetops.continuity.checksum:
    paths: [/srv/documents]
    update: false

- name: Name every document that was tampered with
  fleetops.continuity.checksum:
    paths: [/srv/documents]
    catalogues: true
    state: verified
"""

RETURN = r"""
files:
  description: How many files were read.
  returned: success or when something differs
  type: int
  sample: 412
new:
  description: Files that had no checksum.
  returned: success and O(state=present)
  type: list
  elements: str
  sample: [/srv/documents/report.pdf]
updated:
  description: Files that differ from the checksum that they had.
  returned: success and O(state=present)
  type: list
  elements: str
  sample: []
written:
  description: The sidecars and catalogues that were written, or would be.
  returned: success and O(state=present)
  type: list
  elements: str
  sample: [/srv/documents/MD5SUMS, /srv/documents/SHA256SUMS, /srv/documents/report.pdf.checksum]
differences:
  description: What differs from the checksums.
  returned: O(state=verified)
  type: dict
  contains:
    changed:
      description: Files that hold something else.
      type: list
      elements: str
      sample: [/srv/documents/contract.pdf]
    missing:
      description: Files that are gone.
      type: list
      elements: str
      sample: []
    added:
      description: Files without a checksum.
      type: list
      elements: str
      sample: []
    swapped:
      description: Pairs of files that hold each other's content.
      type: list
      elements: list
      sample: []
    damaged:
      description: Sidecars and catalogues that are none, and why.
      type: dict
      sample: {}
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.checksums import folders
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS: dict[str, Any] = {
    "paths": {"type": "list", "elements": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "verified"], "default": "present"},
    "sidecars": {"type": "bool", "default": True},
    "catalogues": {"type": "bool", "default": False},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "update": {"type": "bool", "default": True},
}


def execute(call: Call) -> dict[str, Any]:
    options = call.params
    wanted = folders.Wanted(
        paths=tuple(options["paths"]),
        exclude=tuple(options["exclude"]),
        sidecars=options["sidecars"],
        catalogues=options["catalogues"],
    )
    return _verify(wanted) if options["state"] == "verified" else _write(wanted, call)


def _verify(wanted: folders.Wanted) -> dict[str, Any]:
    differences, count = folders.verify(wanted)
    result = {"changed": False, "files": count, "differences": differences.fields()}
    faults = differences.faults()
    if faults:
        result.update(failed=True, msg=f"{len(faults)} differences: {'; '.join(faults)}")
    return result


def _write(wanted: folders.Wanted, call: Call) -> dict[str, Any]:
    planned = folders.plan(wanted, call.clock)
    if not call.params["update"]:
        folders.refuse_updates(planned)
    if not call.check_mode:
        folders.write(planned)
    result = {
        "changed": bool(planned.writes),
        "files": planned.files,
        "new": sorted(planned.new),
        "updated": sorted(planned.updated),
        "written": sorted(planned.writes),
    }
    return {**result, "diff": {"prepared": planned.rendered}} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
