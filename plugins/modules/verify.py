#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: verify
short_description: Verify snapshots, or compare files with a snapshot
version_added: 1.0.0
description:
  - Verifies that snapshots still hold what was put in, and fails naming everything that does not.
  - The manifests of a host form a chain. One that was changed, taken away, swapped or put back is named.
  - With O(target) compares the files on the host with a snapshot instead, and fails naming each file that was
    changed, is missing, was added, or was swapped with another one.
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
  repository:
    description:
      - Folder of the repository.
    type: path
    required: true
  snapshots:
    description:
      - The snapshots to verify. Starts of ids, V(latest), or restore points. Empty means all.
      - With O(target) exactly one; empty means V(latest).
    type: list
    elements: str
    default: []
  host:
    description:
      - Only snapshots of this host.
    type: str
  level:
    description:
      - V(manifest) looks at manifests, their chain, the index, and that every block is known and its pack file there.
      - V(data) also reads every stored byte and compares every block with its digest.
      - V(files) puts every file together and compares it with its SHA-256 and its MD5, as a restore does. It takes
        about twice as long, and finds in addition what only a mistake in the program that wrote it can cause.
    type: str
    choices: [manifest, data, files]
    default: files
  target:
    description:
      - Folder in which the snapshot's paths stand. V(/) compares with where the snapshot was taken.
    type: path
  expected:
    description:
      - SHA-256 of a manifest that must be there, as M(fleetops.continuity.snapshot) returned it in C(snapshot.digest).
      - This is how it is noticed that the newest snapshot was taken away.
    type: str
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
    type: list
    elements: path
    default: []
seealso:
  - module: fleetops.continuity.snapshot
"""

EXAMPLES = r"""
- name: Verify a restore point before a rollout relies on it
  fleetops.continuity.verify:
    repository: /srv/fleet/repository
    snapshots: [rp-before-release-42]
    host: pc2

- name: Verify everything in the repository
  fleetops.continuity.verify:
    repository: /srv/fleet/repository

- name: Notice that a file was tampered with
  fleetops.continuity.verify:
    repository: /srv/fleet/repository
    snapshots: [2918f5a08515]
    target: /
"""

RETURN = r"""
damaged:
  description: What is damaged in the repository, by C(<snapshot>:<path>) or by file of the repository, and how.
  returned: when O(target) is not given
  type: dict
  sample: {"2918f5a08515:/srv/fleet/state/Twin/memory.db": "Block 2f…b1 was changed"}
chain:
  description: What breaks the chains of manifests.
  returned: when O(target) is not given
  type: list
  elements: str
  sample: ["pc2: snapshot number 2 was taken away"]
unused:
  description: Pack files that no index names. A killed writer leaves them behind; they harm nothing.
  returned: when O(target) is not given
  type: list
  elements: str
  sample: []
verified:
  description: How many C(snapshots), C(entries), C(files) and C(bytes) were verified; content that several snapshots share counts once.
  returned: when O(target) is not given
  type: dict
  sample: {"snapshots": 3, "entries": 1476, "files": 430, "bytes": 10485760}
differences:
  description: What differs between the files and the snapshot.
  returned: when O(target) is given
  type: dict
  contains:
    changed:
      description: Paths whose content, type, target or mode differs, and how.
      type: dict
      sample: {"/srv/fleet/state/Twin/profile.json": "content differs"}
    missing:
      description: Paths that only the snapshot has.
      type: list
      elements: str
      sample: []
    added:
      description: Paths that the snapshot does not have.
      type: list
      elements: str
      sample: []
    swapped:
      description: Pairs of paths whose contents changed places.
      type: list
      elements: list
      sample: []
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "repository": {"type": "path", "required": True},
    "snapshots": {"type": "list", "elements": "str", "default": []},
    "host": {"type": "str"},
    "level": {"type": "str", "choices": ["manifest", "data", "files"], "default": "files"},
    "target": {"type": "path"},
    "expected": {"type": "str"},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}


def execute(call: Call) -> dict:
    options = call.params
    repository, names, host = options["repository"], options["snapshots"], options["host"]
    identities = options["identity_files"]
    if options["target"] is not None:
        compared = snapshots.compare_tree(
            repository,
            snapshots.only_one(names),
            options["target"],
            host=host,
            expected=options["expected"],
            identity_files=identities,
        )
        result, faults = {"differences": compared.fields()}, compared.faults()
    else:
        verified = snapshots.verify_repository(
            repository,
            names,
            host=host,
            level=options["level"],
            expected=options["expected"],
            identity_files=identities,
        )
        result, faults = verified.fields(), verified.faults()
    if faults:
        result.update(failed=True, msg=f"{len(faults)} faults: {'; '.join(faults)}")
    return {"changed": False, **result}


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
