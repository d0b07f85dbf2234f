#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: forget
short_description: Drop snapshots by policy and reclaim their space
version_added: 1.0.0
description:
  - Drops the snapshots of a repository that no rule keeps, or exactly those that are named. Each kept one says why.
  - Rules add up. They are counted for every host alone, in the order in which the snapshots were taken; hours, days
    and the rest are those of UTC. Snapshots whose time cannot be believed are kept and take nobody else's place.
  - Pinned snapshots, the last one of a host, and the restore point on which a rollout relies are kept, too.
  - A dropped snapshot leaves a line behind, so that the chain of manifests stays whole.
  - With O(prune) the space of what no snapshot needs is reclaimed. It can be killed at any moment; readers and writers
    go on meanwhile.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Says what would be dropped and how many bytes would become free, and writes nothing.
  diff_mode:
    support: full
    details:
      - Lists every snapshot with C(keep) or C(drop) and the reasons.
  idempotent:
    support: full
options:
  repository:
    description:
      - Folder of the repository.
      - Defaults to the folder C(repository) in O(root).
    type: path
  root:
    description:
      - The host root of the fleet on this host.
      - Its ledger says on which restore point a rollout relies.
    type: path
  host:
    description:
      - Drop snapshots of this host only.
    type: str
  snapshots:
    description:
      - Drop exactly these, whatever the rules say. Starts of ids, V(latest), or restore points.
      - Damaged ones can be dropped by their id.
    type: list
    elements: str
    default: []
  keep_last:
    description:
      - Keep the last so many. V(-1) keeps all, here and in the other counts.
    type: int
    default: 0
  keep_hourly:
    description:
      - Keep the newest of each of the last so many hours that have one.
    type: int
    default: 0
  keep_daily:
    description:
      - Keep the newest of each of the last so many days that have one.
    type: int
    default: 0
  keep_weekly:
    description:
      - Keep the newest of each of the last so many ISO weeks that have one.
    type: int
    default: 0
  keep_monthly:
    description:
      - Keep the newest of each of the last so many months that have one.
    type: int
    default: 0
  keep_yearly:
    description:
      - Keep the newest of each of the last so many years that have one.
    type: int
    default: 0
  keep_within:
    description:
      - Keep all that are at most this much older than the newest, for example V(30d) or V(1y6m2w3d12h).
        A month counts 31 days, a year 366.
    type: str
  keep_tags:
    description:
      - Keep all with one of these tags.
    type: list
    elements: str
    default: []
  schedules:
    description:
      - Rules of their own for snapshots with a tag. A dictionary from the tag to a dictionary of the options
        C(keep_last) to C(keep_tags).
      - Snapshots with such a tag are judged by these rules alone.
    type: dict
    default: {}
  allow:
    description:
      - What may be dropped although it is protected.
      - V(last) is the last snapshot of a host, V(rollout) the restore point on which a rollout relies, V(pinned) a
        pinned snapshot that is named in O(snapshots).
    type: list
    elements: str
    choices: [last, rollout, pinned]
    default: []
  lost:
    description:
      - Also note snapshots that were taken away without being forgotten, and that no copy can bring back.
      - Until then M(fleetops.continuity.verify) and M(fleetops.continuity.scrub) report them, and O(prune) refuses to
        delete anything, for they may come back from a copy and would need their blocks.
    type: bool
    default: false
  prune:
    description:
      - Reclaim the space of what no snapshot needs. Without any rule nothing is dropped before.
    type: bool
    default: false
  max_unused:
    description:
      - How many percent of the repository may stay unused after O(prune). V(0) reclaims everything.
    type: float
    default: 5
  wait:
    description:
      - Seconds to wait for writers.
    type: float
    default: 60
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
      - Only O(prune) needs one.
    type: list
    elements: path
    default: []
seealso:
  - module: fleetops.continuity.snapshot
  - module: fleetops.continuity.scrub
"""

EXAMPLES = r"""
- name: Keep two days of hourly, two weeks of daily and a year of monthly snapshots, and reclaim the space
  fleetops.continuity.forget:
    root: "{{ continuity_root }}"
    keep_hourly: 48
    keep_daily: 14
    keep_monthly: 12
    prune: true

- name: Each schedule has rules of its own
  fleetops.continuity.forget:
    repository: /var/backups/fleet
    keep_last: 3
    schedules:
      hourly:
        keep_last: 24
      weekly:
        keep_weekly: 8
        keep_yearly: 3

- name: Drop one snapshot by name
  fleetops.continuity.forget:
    repository: /var/backups/fleet
    snapshots: [2918f5a08515]
"""

RETURN = r"""
kept:
  description: The snapshots that stay, hosts by name, each host's newest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Short name of the snapshot.
      type: str
      sample: 2918f5a08515
    digest:
      description: SHA-256 of its manifest.
      type: str
      sample: 2918f5a08515ff7aa005d9fcd2536894478c70f0160c5ad19538a97069d068b7
    host:
      description: Whose snapshot it is.
      type: str
      sample: pc2
    sequence:
      description: Its number among the host's snapshots.
      type: int
      sample: 3
    time:
      description: When it was begun, as its manifest says.
      type: str
      sample: "2026-01-31T02:00:00.000000Z"
    tags:
      description: Its tags.
      type: list
      elements: str
      sample: [hourly]
    restore_point:
      description: The restore point that it belongs to, or null.
      type: str
      sample: rp-before-release-42
    reasons:
      description: Why it is kept.
      type: list
      elements: str
      sample: [last snapshot, daily snapshot]
dropped:
  description: The snapshots that were dropped, or would be; the same keys as RV(kept).
  returned: success
  type: list
  elements: dict
  sample: []
unreadable:
  description: Damaged manifests. No rule drops them.
  returned: success
  type: list
  elements: str
  sample: []
lost:
  description: Snapshots that were taken away before, and are noted as forgotten now, or would be.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: Whose snapshot it was.
      type: str
      sample: pc2
    sequence:
      description: Its number among the host's snapshots.
      type: int
      sample: 4
    digest:
      description: SHA-256 of its manifest where the next one says it, else null.
      type: str
      sample: 2918f5a08515ff7aa005d9fcd2536894478c70f0160c5ad19538a97069d068b7
pruned:
  description: What was reclaimed, or would be. Bytes are those of pack files.
  returned: when O(prune) is true
  type: dict
  contains:
    packs_deleted:
      description: Packs in which nothing was needed.
      type: int
      sample: 3
    packs_rewritten:
      description: Packs whose needed blocks were copied into new ones.
      type: int
      sample: 1
    leftovers_deleted:
      description: Packs that killed writers left behind.
      type: int
      sample: 0
    index_merged:
      description: Whether many index files became one.
      type: bool
      sample: false
    bytes_before:
      description: The size of all packs before.
      type: int
      sample: 734003200
    bytes_freed:
      description: By how much they shrank.
      type: int
      sample: 104857600
    bytes_unused:
      description: What stays unused.
      type: int
      sample: 1048576
"""

import os

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "repository": {"type": "path"},
    "root": {"type": "path"},
    "host": {"type": "str"},
    "snapshots": {"type": "list", "elements": "str", "default": []},
    "keep_last": {"type": "int", "default": 0},
    "keep_hourly": {"type": "int", "default": 0},
    "keep_daily": {"type": "int", "default": 0},
    "keep_weekly": {"type": "int", "default": 0},
    "keep_monthly": {"type": "int", "default": 0},
    "keep_yearly": {"type": "int", "default": 0},
    "keep_within": {"type": "str"},
    "keep_tags": {"type": "list", "elements": "str", "default": []},
    "schedules": {"type": "dict", "default": {}},
    "allow": {"type": "list", "elements": "str", "choices": ["last", "rollout", "pinned"], "default": []},
    "lost": {"type": "bool", "default": False},
    "prune": {"type": "bool", "default": False},
    "max_unused": {"type": "float", "default": 5},
    "wait": {"type": "float", "default": 60},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}


def execute(call: Call) -> dict:
    options = call.params
    wanted = maintenance.Dropping(
        maintenance.retention_from(options),
        names=tuple(options["snapshots"]),
        host=options["host"],
        root=options["root"],
        lost=options["lost"],
        wait=options["wait"],
        identity_files=tuple(options["identity_files"]),
    )
    repository = options["repository"] or os.path.join(options["root"], "repository")
    done = maintenance.forget(
        repository,
        wanted,
        call.clock,
        prune=options["prune"],
        max_unused=options["max_unused"],
        check=call.check_mode,
    )
    for fault in done.forgetting.unreadable:
        call.warn(fault)
    result = {"changed": done.changed, **done.forgetting.fields()}
    if done.pruned:
        result["pruned"] = done.pruned.fields()
    return {**result, "diff": {"prepared": done.forgetting.render()}} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute, required_one_of=[("repository", "root")])


if __name__ == "__main__":
    main()
