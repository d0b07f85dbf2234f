#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot
short_description: Take a snapshot of a host into a repository
version_added: 1.0.0
description:
  - Takes one snapshot of all declared sources of a host. It exists completely or not at all.
  - Files that did not change since the parent snapshot are not read again. SQLite databases are copied by SQLite
    itself while they are written. JSON documents are parsed before they are taken.
  - The repository is made when there is none. Its format is documented on the page C(docs/snapshot-format.md).
  - With O(restore_point) the task describes a state. When the host already has a snapshot of that restore point,
    nothing is done.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads and compares like a real run, and writes nothing.
  diff_mode:
    support: full
    details:
      - Lists the paths that differ from the parent snapshot.
  idempotent:
    support: partial
    details:
      - Full with O(restore_point), and with O(if_changed=true). Without both each run takes a new snapshot.
options:
  repository:
    description:
      - Folder of the repository.
      - Defaults to the folder C(repository) in O(root).
    type: path
  root:
    description:
      - The host root of the fleet on this host.
      - Gives the defaults of O(repository), O(sources) and O(host).
    type: path
  sources:
    description:
      - Files and folders to take. A link given here is followed, links inside are taken as links.
      - Defaults to the folders C(state) and C(ledger) and the config of the current release in O(root), as far as
        they exist.
    type: list
    elements: path
  exclude:
    description:
      - Shell patterns of what is left out.
      - Without C(/) a pattern is matched with the last name of a path, with a leading C(/) with the whole path,
        otherwise with its end. C(*) matches C(/) too.
    type: list
    elements: str
    default: []
  documents:
    description:
      - Shell patterns of files that must be valid JSON.
      - Of a corrupt one the last good version stays in the snapshot, the corrupt one is kept beside it as evidence,
        and it is named in RV(problems).
    type: list
    elements: str
    default: ["*.json"]
  databases:
    description:
      - Databases behind servers. Each is dumped, the dump is read back, and it is part of the snapshot as
        C(<name>.pgdump) or C(<name>.rdb) in O(database_folder). The page C(docs/databases.md) says how to restore one.
      - One that cannot be dumped is named in RV(problems); everything else is taken.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - What the dump is called.
        type: str
        required: true
      type:
        description:
          - V(postgresql) is dumped by C(pg_dump) in its custom format. V(redis) hands over its RDB file.
        type: str
        required: true
        choices: [postgresql, redis]
      host:
        description:
          - Where the server is; for V(postgresql) possibly the folder of its socket.
        type: str
      port:
        description:
          - Its port.
        type: int
      socket:
        description:
          - Path of the server's socket; V(redis) only.
        type: path
      service:
        description:
          - A service of libpq's C(pg_service.conf); V(postgresql) only.
        type: str
      dbname:
        description:
          - The database; V(postgresql) only.
        type: str
      user:
        description:
          - Whom to log in as.
        type: str
      password_file:
        description:
          - File on the host that holds the password. V(postgresql) wants the format of C(~/.pgpass) and mode 0600,
            V(redis) takes the first line.
        type: path
      run_as:
        description:
          - The user of the host who runs C(pg_dump), for servers that know users by that; V(postgresql) only.
        type: str
      ca_file:
        description:
          - Certificates of authorities. With it the connection is TLS; V(redis) only.
        type: path
      timeout:
        description:
          - Seconds for the whole dump.
        type: float
        default: 3600
  database_folder:
    description:
      - Folder in the snapshot for the dumps.
      - Defaults to the folder C(databases) in O(root), else to C(/databases).
    type: path
  restore_point:
    description:
      - Identifier of the restore point that this snapshot belongs to, for example C(rp-20260131T020000Z).
      - Give the same one on all hosts in one run.
    type: str
  host:
    description:
      - The host's name in the fleet.
      - Defaults to the name in C(host.json) in O(root), else to the machine's own name.
    type: str
  tags:
    description:
      - Words to find the snapshot by.
    type: list
    elements: str
    default: []
  pin:
    description:
      - Whether the snapshot is exempt from retention. Without it a pin stays as it is.
    type: bool
  if_changed:
    description:
      - Take no new snapshot when nothing differs from the newest one of the same sources.
    type: bool
    default: false
  wait:
    description:
      - Seconds to wait for another writer of the same host.
    type: float
    default: 60
  recipients:
    description:
      - Public keys of age (C(age1…), C(ssh-ed25519 …), C(ssh-rsa …)) of those who may open the repository.
      - When the repository is made, it is made encrypted. When it is there already and is not encrypted, the task fails.
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
      - Taking a snapshot of an encrypted repository needs one too, because it is compared with the one before.
    type: list
    elements: path
    default: []
seealso:
  - module: fleetops.continuity.snapshot_info
  - module: fleetops.continuity.verify
  - module: fleetops.continuity.restore
"""

EXAMPLES = r"""
- name: Take a restore point of the whole fleet, all hosts under one identifier
  fleetops.continuity.snapshot:
    root: "{{ continuity_root }}"
    restore_point: rp-before-release-42

- name: Take a snapshot of two folders when something in them changed
  fleetops.continuity.snapshot:
    repository: /var/backups/fleet
    sources:
      - /srv/fleet/state
      - /etc/fleet
    exclude:
      - "*.tmp"
      - __pycache__
    if_changed: true
    tags: [nightly]
  register: nightly

- name: Take the agents' state together with the databases that belong to it
  fleetops.continuity.snapshot:
    root: "{{ continuity_root }}"
    databases:
      - name: orders
        type: postgresql
        dbname: orders
        run_as: postgres
      - name: cache
        type: redis
        port: 6379
        password_file: /etc/fleet/redis.password

- name: Stop when something could not be taken as it stands
  ansible.builtin.assert:
    that: nightly.complete
    fail_msg: "{{ nightly.problems }}"
"""

RETURN = r"""
snapshot:
  description: The snapshot that now exists; null in check mode when a new one would be taken.
  returned: success
  type: dict
  contains:
    id:
      description: Short name of the snapshot, the start of its digest.
      type: str
      sample: 2918f5a08515
    digest:
      description: SHA-256 of the manifest. Note it elsewhere to be able to notice a swapped snapshot.
      type: str
      sample: 2918f5a08515ff7aa005d9fcd2536894478c70f0160c5ad19538a97069d068b7
    host:
      description: Whose snapshot it is.
      type: str
      sample: pc2
    sequence:
      description: Its number among the host's snapshots, from 1.
      type: int
      sample: 3
    time:
      description: When it was begun (ISO 8601, UTC).
      type: str
      sample: "2026-01-31T02:00:00.000000Z"
    restore_point:
      description: The restore point that it belongs to, or null.
      type: str
      sample: rp-before-release-42
    tags:
      description: Its tags.
      type: list
      elements: str
      sample: [nightly]
    pinned:
      description: Whether it is exempt from retention.
      type: bool
      sample: false
    sources:
      description: The real paths that were taken.
      type: list
      elements: str
      sample: [/srv/fleet/ledger, /srv/fleet/state]
    totals:
      description: How many C(files), C(directories), C(symlinks) and C(fifos) it holds, and C(bytes) in the files.
      type: dict
      sample: {"files": 412, "directories": 80, "symlinks": 0, "fifos": 0, "bytes": 10485760}
    problems:
      description: What could not be taken as it stands when it was taken.
      type: list
      elements: dict
      sample: []
repository:
  description: The folder of the repository.
  returned: success
  type: str
  sample: /srv/fleet/repository
complete:
  description: Whether everything was taken as it stands. A file that vanished meanwhile does not count.
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
      description: One of V(unreadable), V(vanished), V(special), V(unsettled), V(json), V(sqlite),
        V(postgresql), V(redis), V(parent).
      type: str
      sample: json
    message:
      description: What is wrong.
      type: str
      sample: "not valid JSON: Expecting value: line 1 column 6 (char 5)"
changes:
  description: How many paths differ from the parent snapshot.
  returned: success
  type: dict
  contains:
    added:
      description: Paths that the parent does not have.
      type: int
      sample: 4
    changed:
      description: Paths that differ.
      type: int
      sample: 12
    removed:
      description: Paths that only the parent has.
      type: int
      sample: 0
totals:
  description: What the snapshot holds, or would hold.
  returned: success
  type: dict
  sample: {"files": 412, "directories": 80, "symlinks": 0, "fifos": 0, "bytes": 10485760}
files_read:
  description: How many files had to be read.
  returned: success
  type: int
  sample: 16
bytes_stored:
  description: By how many bytes the repository grew; in check mode how many bytes are new, before compression.
  returned: success
  type: int
  sample: 524288
"""

import os

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import snapshots
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.faults import RepositoryError
from ansible_collections.fleetops.continuity.plugins.module_utils.repository.manifests import describe
from ansible_collections.fleetops.continuity.plugins.module_utils.sources.databases import FOLDER, Database
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

DATABASE = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True, "choices": ["postgresql", "redis"]},
    "host": {"type": "str"},
    "port": {"type": "int"},
    "socket": {"type": "path"},
    "service": {"type": "str"},
    "dbname": {"type": "str"},
    "user": {"type": "str"},
    "password_file": {"type": "path", "no_log": False},
    "run_as": {"type": "str"},
    "ca_file": {"type": "path"},
    "timeout": {"type": "float", "default": 3600},
}

ARGUMENTS = {
    "repository": {"type": "path"},
    "root": {"type": "path"},
    "sources": {"type": "list", "elements": "path"},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "documents": {"type": "list", "elements": "str", "default": ["*.json"]},
    "databases": {"type": "list", "elements": "dict", "options": DATABASE},
    "database_folder": {"type": "path"},
    "restore_point": {"type": "str"},
    "host": {"type": "str"},
    "tags": {"type": "list", "elements": "str", "default": []},
    "pin": {"type": "bool"},
    "if_changed": {"type": "bool", "default": False},
    "wait": {"type": "float", "default": 60},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "recipients_file": {"type": "path"},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}


def execute(call: Call) -> dict:
    options, root = call.params, call.params["root"]
    repository = options["repository"] or os.path.join(root, "repository")
    sources = tuple(options["sources"] or (snapshots.default_sources(root) if root else ()))
    databases = tuple(Database.from_fields(one) for one in options["databases"] or ())
    if not sources and not databases:
        raise RepositoryError("There is nothing to take a snapshot of", where=root, fix="Name sources")
    wanted = snapshots.Wanted(
        host=snapshots.host_name(root, options["host"]),
        sources=sources,
        exclude=tuple(options["exclude"]),
        documents=tuple(options["documents"]),
        restore_point=options["restore_point"],
        tags=tuple(options["tags"]),
        pin=options["pin"],
        if_changed=options["if_changed"],
        wait=options["wait"],
        databases=databases,
        database_folder=options["database_folder"] or os.path.join(root or "/", FOLDER),
    )
    outcome = snapshots.take_snapshot(
        repository,
        wanted,
        call.clock,
        runner=call.runner,
        check=call.check_mode,
        recipients=tuple(options["recipients"]),
        recipients_file=options["recipients_file"],
        identity_files=tuple(options["identity_files"]),
    )
    incomplete = snapshots.incomplete(outcome)
    pinned = (outcome.manifest.digest,) if outcome.manifest and outcome.pinned else ()
    for problem in incomplete:
        call.warn(f"{problem['path']}: {problem['message']} ({problem['kind']})")
    result = {
        "changed": outcome.published or outcome.pin_changed or (call.check_mode and outcome.manifest is None),
        "snapshot": describe(outcome.manifest, pinned) if outcome.manifest else None,
        "repository": repository,
        "complete": not incomplete,
        "problems": [problem.fields() for problem in outcome.problems],
        "changes": {kind: len(paths) for kind, paths in outcome.changes.by_kind().items()},
        "totals": outcome.totals,
        "files_read": outcome.files_read,
        "bytes_stored": outcome.bytes_stored,
    }
    return {**result, "diff": {"prepared": outcome.changes.render()}} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute, required_one_of=[("repository", "root"), ("sources", "root", "databases")])


if __name__ == "__main__":
    main()
