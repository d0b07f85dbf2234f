#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_migration
short_description: Move credentials out of YAML to where secrets are kept
version_added: 1.0.0
description:
  - Puts the passwords and tokens that stand in the YAML files of a tree into Vault or an encrypted file, and leaves a
    placeholder in their place. Every other byte of a file stays as it was.
  - Originals are backed up encrypted, values are read back as agents read them before a file is changed, and each step
    is noted in a journal. A run that was cut off is gone on with by the next one; each run can be undone.
  - Options and results hold names, paths and places, never a value. The page C(docs/secret-migration.md) tells more.
author:
  - fleetops.continuity developers (@fleetops)
requirements:
  - PyYAML and pyrage; hvac for O(source.kind=vault)
extends_documentation_fragment:
  - fleetops.continuity.attributes
  - fleetops.continuity.secret_source
attributes:
  check_mode:
    support: full
    details:
      - Tells what would be moved, and reads nothing from O(source).
  diff_mode:
    support: full
    details:
      - Shows places, kinds and placeholders.
  idempotent:
    support: full
options:
  state:
    description:
      - V(moved) moves what is found, V(undone) takes O(run) back.
    type: str
    choices: [moved, undone]
    default: moved
  root:
    description:
      - The tree.
      - Required if O(state=moved).
    type: path
  run:
    description:
      - The run to undo, as RV(run) tells it.
      - Required if O(state=undone).
    type: str
  prefix:
    description:
      - The path below which each value is put, under its name. For Vault it begins with the mount.
    type: str
    required: true
  writer:
    description:
      - What writing takes, beside what O(source) says.
    type: dict
    required: true
    suboptions:
      recipients:
        description:
          - Public keys of age for which the file is encrypted. All who read it must be among them.
          - Required if O(source.kind=age).
        type: list
        elements: str
      auth:
        description:
          - The login that may write.
          - Required if O(source.kind=vault).
        type: dict
        suboptions:
          method:
            description:
              - The auth method.
            type: str
            required: true
            choices: [token, approle, jwt, kubernetes, cert, userpass, ldap]
          mount:
            description:
              - Where the method is mounted, when not under its own name.
            type: str
          token_file:
            description:
              - The file with the token.
            type: path
          role_id_file:
            description:
              - The file with the role_id.
            type: path
          secret_id_file:
            description:
              - The file with the secret_id.
            type: path
          wrapped_secret_id_file:
            description:
              - The file with the token that unwraps the secret_id, once.
            type: path
          role:
            description:
              - The role.
            type: str
          jwt_file:
            description:
              - The file with the JSON web token.
            type: path
          name:
            description:
              - The role of the certificate.
            type: str
          username:
            description:
              - The user.
            type: str
          password_file:
            description:
              - The file with the user's password.
            type: path
  backup:
    description:
      - Where originals and the journal are kept.
    type: dict
    required: true
    suboptions:
      folder:
        description:
          - The folder, on the host. It is made where it is missing.
        type: path
        required: true
      recipients:
        description:
          - Public keys of age for which originals are encrypted.
        type: list
        elements: str
        required: true
      identity_files:
        description:
          - Files with private keys that open the backup. With one, a backup is proven to open before a file is changed.
          - Required if O(state=undone).
        type: list
        elements: path
  baseline:
    description:
      - A YAML file of accepted findings, which are left alone.
    type: path
seealso:
  - module: fleetops.continuity.secret_scan
  - module: fleetops.continuity.secret_files
"""

EXAMPLES = r"""
- name: Move credentials to Vault
  fleetops.continuity.secret_migration:
    root: /srv/project
    source:
      kind: vault
      address: https://vault.example:8200
      auth:
        method: approle
        role_id_file: /etc/continuity/role_id
        secret_id_file: /etc/continuity/secret_id
    writer:
      auth:
        method: userpass
        username: operator
        password_file: /run/user/1000/vault-password
    prefix: kv/fleet
    backup:
      folder: /srv/fleet/migrations
      recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
  register: migration

- name: Take it back
  fleetops.continuity.secret_migration:
    state: undone
    run: "{{ migration.run }}"
    source:
      kind: vault
      address: https://vault.example:8200
      auth:
        method: approle
        role_id_file: /etc/continuity/role_id
        secret_id_file: /etc/continuity/secret_id
    writer:
      auth:
        method: userpass
        username: operator
        password_file: /run/user/1000/vault-password
    prefix: kv/fleet
    backup:
      folder: /srv/fleet/migrations
      recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]
      identity_files: [/root/backup-key.txt]
"""

RETURN = r"""
run:
  description: The run, by which it can be undone. Null when nothing was begun.
  returned: success
  type: str
  sample: 20261121T070301-4f2a
moves:
  description: What was moved, or would be.
  returned: when O(state=moved)
  type: list
  elements: dict
  contains:
    file:
      description: The file, relative to O(root).
      type: str
      sample: config/hub.yaml
    line:
      description: The line, from 1.
      type: int
      sample: 31
    key:
      description: The keys that lead there.
      type: str
      sample: hub.database.password
    kind:
      description: What it is, as M(fleetops.continuity.secret_scan) tells it.
      type: str
      sample: password
    class:
      description: V(live) or V(default).
      type: str
      sample: live
    id:
      description: Of the finding.
      type: str
      sample: 90bb7a5d20c4ee15
    name:
      description: Of the placeholder.
      type: str
      sample: HUB_DATABASE_PASSWORD
    path:
      description: Where the value is, in the field C(value).
      type: str
      sample: kv/fleet/HUB_DATABASE_PASSWORD
left:
  description: Findings that stay where they are, as M(fleetops.continuity.secret_scan) tells them, each with its C(reason).
  returned: when O(state=moved)
  type: list
  elements: dict
  sample: [{"file": "agents/hub_client.py", "line": 12, "kind": "token", "class": "default", "rule": "default-value",
    "id": "5f0c9c6d4a1be207", "reason": "it is not in YAML: read the secret there, then remove it"}]
declarations:
  description: What to declare, so that M(fleetops.continuity.secret_files) hands the secrets out.
  returned: when O(state=moved)
  type: list
  elements: dict
  sample: [{"name": "HUB_DATABASE_PASSWORD", "path": "kv/fleet/HUB_DATABASE_PASSWORD"}]
unread:
  description: Files that could not be read, and why.
  returned: when O(state=moved)
  type: list
  elements: dict
  sample: []
state:
  description: V(planned), V(begun) or V(done).
  returned: when O(state=moved)
  type: str
  sample: done
restored:
  description: Files that have their old content again.
  returned: when O(state=undone)
  type: list
  elements: str
  sample: [config/hub.yaml]
taken_back:
  description: Paths whose value was removed.
  returned: when O(state=undone)
  type: list
  elements: str
  sample: [kv/fleet/HUB_DATABASE_PASSWORD]
kept:
  description: Files and paths that could not be taken back, with the reason. The task then fails.
  returned: when O(state=undone)
  type: dict
  sample: {}
error_code:
  description: V(failed), V(unforeseen), or one of C(docs/secrets.md).
  returned: failure
  type: str
  sample: sealed
step:
  description: What was being done, V(options), V(plan), V(move) or V(undo).
  returned: failure
  type: str
  sample: move
"""

from datetime import datetime, timezone
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets import migration, migration_report
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.options import AUTH, SOURCE
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scan_baseline import (
    ScanBaseline,
    read_scan_baseline,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import SecretCall, run_secret_module


def execute(call: SecretCall) -> dict[str, Any]:
    params = call.params
    settings = migration_report.settings_of({name: params[name] for name in migration_report.OPTIONS})
    if params["state"] == "undone":
        return _undo(call, settings)
    call.step("plan")
    today = datetime.fromtimestamp(call.clock.now(), timezone.utc).date()
    baseline = read_scan_baseline(params["baseline"]) if params["baseline"] else ScanBaseline()
    plan, unread = migration_report.plan_of(params["root"], baseline, today)
    for value in plan.values.values():
        call.hide(value.reveal())
    run = migration.unfinished(settings, call.clock)
    changed = bool(run or plan.moves)
    if not call.check_mode:
        call.step("move")
        run = migration.apply(params["root"], plan, settings, call.clock)
    for one in unread:
        call.warn(f"{one.file}: {one.reason}")
    result = {**migration_report.plan_document(plan, unread, settings, run), "changed": changed}
    if call.diff_mode:
        result["diff"] = migration_report.plan_diff(run.moves if run else plan.moves)
    return result


def _undo(call: SecretCall, settings: migration.Settings) -> dict[str, Any]:
    call.step("undo")
    run = migration.known(call.params["run"], settings, call.clock)
    if call.check_mode or run.over:
        return {"run": run.id, "restored": [], "taken_back": [], "kept": {}, "changed": not run.over}
    undone = migration.undo(run.id, settings, call.clock)
    result = {**migration_report.undone_document(undone), "changed": True}
    if undone.kept:
        result.update(failed=True, msg=f"Not all could be taken back: {', '.join(sorted(undone.kept))}")
    return result


def main() -> None:
    run_secret_module(
        {
            "state": {"type": "str", "choices": ["moved", "undone"], "default": "moved"},
            "root": {"type": "path"},
            "run": {"type": "str"},
            "source": {"type": "dict", "required": True, "options": dict(SOURCE), "no_log": False},
            "writer": {
                "type": "dict",
                "required": True,
                "options": {
                    "recipients": {"type": "list", "elements": "str", "no_log": False},
                    "auth": {"type": "dict", "options": dict(AUTH), "no_log": False},
                },
            },
            "prefix": {"type": "str", "required": True},
            "backup": {
                "type": "dict",
                "required": True,
                "options": {
                    "folder": {"type": "path", "required": True},
                    "recipients": {"type": "list", "elements": "str", "required": True, "no_log": False},
                    "identity_files": {"type": "list", "elements": "path", "no_log": False},
                },
            },
            "baseline": {"type": "path"},
        },
        execute,
        required_if=[("state", "moved", ("root",)), ("state", "undone", ("run",))],
    )


if __name__ == "__main__":
    main()
