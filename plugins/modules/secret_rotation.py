#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_rotation
short_description: Give running agents new secrets without an interruption, or take it back
version_added: 1.0.0
description:
  - Makes the secret files of a host what is declared, as M(fleetops.continuity.secret_files) does, and replaces the
    running agents that were given a value that is younger than their process, dependencies first. Their sockets stay
    open meanwhile.
  - When agents do not become healthy, the old values stand again, agents are replaced once more, and the module fails.
  - A run that was killed is carried on by the next one. The old credential is to be revoked after this module has
    succeeded on every host, not before.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - pyrage and PyYAML for C(age); cryptography beside them for C(sops); hvac for C(vault)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.secret_source
  - fleetops.continuity.secret_files
attributes:
  check_mode:
    support: full
    details:
      - Values are read and compared, except those of dynamic secrets.
  diff_mode:
    support: full
    details:
      - Shows names, versions, owners and fingerprints, and the agents that are replaced.
  idempotent:
    support: full
    details:
      - A dynamic secret is made anew when its lease cannot be renewed any more.
options:
  root:
    description:
      - The host root, with a release that was rolled out.
    type: path
    required: true
  parallel:
    description:
      - How many agents may be away at once.
    type: int
    default: 1
  wave_seconds:
    description:
      - How long replacing the agents of one layer may take.
    type: float
    default: 120.0
  healthy_seconds:
    description:
      - How long replaced agents have to answer healthy, before those that depend on them are replaced.
    type: float
    default: 30.0
seealso:
  - module: fleetops.continuity.secret_files
"""

EXAMPLES = r"""
- name: Rotate, one host after the other
  fleetops.continuity.secret_rotation:
    root: /srv/fleet
    source:
      kind: vault
      address: https://vault.example:8200
      ca_file: /etc/continuity/vault-ca.pem
      auth:
        method: approle
        role_id_file: /etc/continuity/role_id
        secret_id_file: /etc/continuity/secret_id
    secrets:
      - {name: database_password, path: kv/fleet/database, field: password, owner: feeds}
  throttle: 1
"""

RETURN = r"""
directory:
  description: The folder.
  returned: success
  type: str
  sample: /run/secrets
secrets:
  description: What became of each name, as M(fleetops.continuity.secret_files) returns it.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "database_password", "change": "changed", "version": "4", "version_before": "3",
    "fingerprint": "9f1c22ab04d7e653", "fingerprint_before": "0b5ce1d28f64a91c",
    "file": "/run/secrets/database_password"}]
changed_names:
  description: Names with a value that they did not have before.
  returned: success
  type: list
  elements: str
  sample: [database_password]
removed:
  description: What was removed because nobody declared it.
  returned: success
  type: list
  elements: str
  sample: []
stale:
  description: Always V(false); a source that is away is a failure here.
  returned: success
  type: bool
  sample: false
replaced:
  description: Agents that were replaced, or would be.
  returned: success
  type: list
  elements: str
  sample: [MarketData, Orders]
seconds:
  description: How long replacing them took.
  returned: success
  type: float
  sample: 4.2
away_seconds:
  description: The longest time for which nothing held the socket of one of them.
  returned: success
  type: float
  sample: 0.0
error_code:
  description: What went wrong, in one word; V(rotation) when agents did not bear the new values.
  returned: failure
  type: str
  sample: rotation
step:
  description: What was being done, V(options), V(inspect), V(read), V(switch), V(replace) or V(take_back).
  returned: failure
  type: str
  sample: take_back
"""

import os
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.secret_rotation import Pace, rotate
from ansible_collections.fleetops.continuity.plugins.module_utils.host import open_host
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.injection import Wanted, World
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.options import FILES
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import SecretCall, run_secret_module

WANTED = ("source", "secrets", "owner", "group", "mount")
ARGUMENTS: dict[str, Any] = {
    **FILES,
    "source": {**FILES["source"], "required": True},
    "secrets": {**FILES["secrets"], "required": True},
    "root": {"type": "path", "required": True},
    "parallel": {"type": "int", "default": 1},
    "wave_seconds": {"type": "float", "default": 120.0},
    "healthy_seconds": {"type": "float", "default": 30.0},
}


def execute(call: SecretCall) -> dict[str, Any]:
    options = call.params
    directory = os.path.abspath(options["directory"])
    wanted = Wanted(directory, **{name: options[name] for name in WANTED})
    pace = Pace(options["parallel"], options["wave_seconds"], options["healthy_seconds"])
    host = open_host(options["root"], runner=call.runner, clock=call.clock)
    world = World(call.clock, call.runner, call.step, call.hide)
    rotated = rotate(host, wanted, world, pace, check=call.check_mode)
    for warning in rotated.injected.warnings:
        call.warn(warning)
    result = rotated.injected.fields(directory)
    result["changed"] = bool(result["changed"] or rotated.replaced)
    result["replaced"] = list(rotated.replaced)
    result["seconds"] = rotated.seconds
    result["away_seconds"] = max((outcome.away_seconds for outcome in rotated.batch.outcomes), default=0.0)
    if call.diff_mode:
        before, after = rotated.injected.plan.rendered()
        after += "".join(f"agent {name}: replaced\n" for name in rotated.replaced)
        result["diff"] = {"before": before, "after": after, "before_header": directory, "after_header": directory}
    return result


def main() -> None:
    run_secret_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
