#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: restore
short_description: Restore files from a snapshot
version_added: 1.0.0
description:
  - Makes files, folders and links be as they are in a snapshot, and leaves alone what is so already.
  - Each file is written aside, compared with its digests, and renamed over the old one. Nothing is ever written
    outside of the target.
  - A restore that was interrupted goes on where it stopped when it is run again.
  - What is not in the snapshot is not removed.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Lists the paths that are created or replaced.
  idempotent:
    support: full
options:
  repository:
    description:
      - Folder of the repository.
    type: path
    required: true
  snapshot:
    description:
      - The snapshot. The start of its id, V(latest), or a restore point.
    type: str
    default: latest
  host:
    description:
      - Only snapshots of this host. Needed with V(latest) or a restore point where the repository holds several hosts.
    type: str
  target:
    description:
      - Folder under which everything is restored with its whole path.
      - Without it everything goes back to where it came from, and what is replaced is kept beside each source in a
        folder C(.replaced-<snapshot>-<time>).
    type: path
  include:
    description:
      - Paths as they were on the host, each with everything in it, or shell patterns of whole paths.
      - Empty means everything.
    type: list
    elements: str
    default: []
  agents:
    description:
      - Names of agents whose state is restored, from a snapshot that was taken of a host root.
      - Beside what O(include) names.
    type: list
    elements: str
    default: []
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
    type: list
    elements: path
    default: []
seealso:
  - module: fleetops.continuity.snapshot
  - module: fleetops.continuity.verify
"""

EXAMPLES = r"""
- name: Bring back the state of one agent, as it was before the release
  fleetops.continuity.restore:
    repository: /srv/fleet/repository
    snapshot: rp-before-release-42
    host: pc2
    agents: [TieredResponder]

- name: Look at a whole snapshot somewhere else
  fleetops.continuity.restore:
    repository: /srv/fleet/repository
    snapshot: 2918f5a08515
    target: /var/tmp/look
"""

RETURN = r"""
snapshot:
  description: The id of the snapshot.
  returned: success
  type: str
  sample: 2918f5a08515
created:
  description: Paths that were missing.
  returned: success
  type: list
  elements: str
  sample: [/srv/fleet/state/Twin/profile.json]
replaced:
  description: Paths that differed.
  returned: success
  type: list
  elements: str
  sample: [/srv/fleet/state/Twin/memory.db]
kept_aside:
  description: Where what was replaced is kept.
  returned: success
  type: list
  elements: str
  sample: [/srv/fleet/.replaced-2918f5a08515-20260131T021500Z/state/Twin/memory.db]
matched:
  description: How many entries of the snapshot were asked for.
  returned: success
  type: int
  sample: 412
bytes_written:
  description: How many bytes were written into files.
  returned: success
  type: int
  sample: 10485760
failures:
  description: Paths that could not be restored, and why. The task fails when there are any.
  returned: always
  type: dict
  sample: {}
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "repository": {"type": "path", "required": True},
    "snapshot": {"type": "str", "default": "latest"},
    "host": {"type": "str"},
    "target": {"type": "path"},
    "include": {"type": "list", "elements": "str", "default": []},
    "agents": {"type": "list", "elements": "str", "default": []},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}


def execute(call: Call) -> dict:
    options = call.params
    manifest, restored = snapshots.restore_snapshot(
        options["repository"],
        options["snapshot"],
        host=options["host"],
        target=options["target"],
        include=options["include"],
        agents=options["agents"],
        check=call.check_mode,
        identity_files=options["identity_files"],
    )
    for warning in restored.warnings:
        call.warn(warning)
    result = {
        "changed": bool(restored.created or restored.changed),
        "snapshot": manifest.id,
        "created": restored.created,
        "replaced": restored.changed,
        "kept_aside": restored.kept_aside,
        "matched": restored.matched,
        "bytes_written": restored.bytes_written,
        "failures": restored.failed,
    }
    if restored.failed:
        faults = "; ".join(f"{path}: {why}" for path, why in restored.failed.items())
        result.update(failed=True, msg=f"{len(restored.failed)} paths could not be restored: {faults}")
    if call.diff_mode:
        result["diff"] = {"prepared": restored.render()}
    return result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
