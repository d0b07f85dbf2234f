#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_files
short_description: Keep secrets as files in memory, which only their agent can read
version_added: 1.0.0
description:
  - Reads all declared secrets on the host, and switches all their files at once. Each is C(0400) and its owner's from
    the moment at which it is made; what is not declared is removed.
  - Options and results hold names, paths, versions and fingerprints, never a value.
  - Nothing is changed before every value was read. The page C(docs/secret-files.md) tells what stands where.
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
      - Shows names, versions, owners and fingerprints.
  idempotent:
    support: full
    details:
      - A dynamic secret is made anew when its lease cannot be renewed any more.
options:
  state:
    description:
      - V(present) makes the files what is declared.
      - V(absent) removes the folder with all secrets.
    type: str
    choices: [present, absent]
    default: present
  source:
    required: false
    description:
      - Where values come from. The page C(docs/secrets.md) explains each.
      - Required if O(state=present).
  secrets:
    required: false
    description:
      - All secrets of this host. Required if O(state=present).
  on_outage:
    description:
      - What to do while the source is away. Nothing is changed in any case.
      - V(fail) fails.
      - V(keep) succeeds with a warning as long as every declared secret stands here.
    type: str
    choices: [fail, keep]
    default: fail
seealso:
  - module: fleetops.continuity.secret_scan
"""

EXAMPLES = r"""
- name: Secrets of this host, from an encrypted file
  fleetops.continuity.secret_files:
    mount: true
    source:
      kind: age
      file: /etc/continuity/secrets.age
      identity_files: [/etc/continuity/identity.txt]
    secrets:
      - {name: database_password, path: fleet/database, field: password, owner: feeds}
      - {name: exchange_key, path: fleet/exchange, field: api_key, owner: trader}

- name: The same from Vault, and keep what is there while Vault is away
  fleetops.continuity.secret_files:
    on_outage: keep
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

- name: No secrets on this host any more
  fleetops.continuity.secret_files:
    state: absent
"""

RETURN = r"""
directory:
  description: The folder.
  returned: success
  type: str
  sample: /run/secrets
secrets:
  description: What became of each name.
  returned: success and O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
      sample: database_password
    file:
      description: Where its value stands.
      type: str
      sample: /run/secrets/database_password
    change:
      description: V(added), V(changed), V(owner), V(repaired), V(kept) or V(removed).
      type: str
      sample: changed
    version:
      description: The version in the source, where it has one.
      type: str
      sample: "4"
    version_before:
      description: The version with which the file was written that stood here.
      type: str
      sample: "3"
    fingerprint:
      description: Equal ones are equal values, on this host until it boots again. None is told before the first run.
      type: str
      sample: 9f1c22ab04d7e653
    fingerprint_before:
      description: That of the value that stood here.
      type: str
      sample: 0b5ce1d28f64a91c
changed_names:
  description: Names with a value that they did not have before. Agents that keep values in memory are to be told.
  returned: success and O(state=present)
  type: list
  elements: str
  sample: [database_password]
removed:
  description: What was removed because nobody declared it.
  returned: success and O(state=present)
  type: list
  elements: str
  sample: []
stale:
  description: Whether the source is away and nothing was compared.
  returned: success and O(state=present)
  type: bool
  sample: false
error_code:
  description: What went wrong, in one word of C(docs/secrets.md) or C(docs/secret-files.md).
  returned: failure
  type: str
  sample: sealed
step:
  description: What was being done, V(options), V(inspect), V(read) or V(switch).
  returned: failure
  type: str
  sample: read
"""

import os
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import injection
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.options import FILES
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import SecretCall, run_secret_module

ARGUMENTS: dict[str, Any] = {
    **FILES,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "on_outage": {"type": "str", "choices": ["fail", "keep"], "default": "fail"},
}


def execute(call: SecretCall) -> dict[str, Any]:
    options = call.params
    world = injection.World(call.clock, call.runner, call.step, call.hide)
    directory = os.path.abspath(options["directory"])
    if options["state"] == "absent":
        return {"changed": injection.remove(directory, world, check=call.check_mode), "directory": directory}
    wanted = injection.Wanted(
        directory=directory,
        source=options["source"],
        secrets=options["secrets"],
        owner=options["owner"],
        group=options["group"],
        mount=options["mount"],
        keep_on_outage=options["on_outage"] == "keep",
    )
    injected = injection.inject(wanted, world, check=call.check_mode)
    for warning in injected.warnings:
        call.warn(warning)
    result = injected.fields(directory)
    if call.diff_mode:
        before, after = injected.plan.rendered()
        result["diff"] = {"before": before, "after": after, "before_header": directory, "after_header": directory}
    return result


def main() -> None:
    run_secret_module(ARGUMENTS, execute, required_if=[("state", "present", ("source", "secrets"))])


if __name__ == "__main__":
    main()
