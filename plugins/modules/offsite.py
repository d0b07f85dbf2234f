#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: offsite
short_description: Encrypted copies of restore points and documents in another place
version_added: 1.0.0
description:
  - Sends what the copy of a repository lacks to a directory, S3, Google Cloud Storage, Azure Blob, or an HTTP server;
    or documents, sorted into C(legal) and C(technical).
  - Everything is encrypted on this host before it leaves, in the age format, for public keys. An object is named by
    the digest of what it holds, so only what is missing is sent, and an interrupted run goes on where it was.
  - Each object is looked at after it was sent, so that an endpoint that stored nothing, or half of it, is noticed.
  - Verifies a copy where it lies, and restores straight from it.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Looks at the far side, and sends, deletes and restores nothing.
  diff_mode:
    support: full
    details:
      - Lists every object that is sent or withdrawn, or every path that is restored.
  idempotent:
    support: full
options:
  state:
    description:
      - V(sent) makes the copy complete, V(verified) proves it, V(restored) restores from it.
    type: str
    choices: [sent, verified, restored]
    default: sent
  content:
    description:
      - Of what the copy is.
    type: str
    choices: [restore_points, documents]
    default: restore_points
  repository:
    description:
      - Folder of the repository whose restore points are sent.
      - With O(state=verified) and O(level=list), what must be there is taken from it, and no identity is needed.
    type: path
  sources:
    description:
      - Files and folders that hold documents. With O(state=verified) as O(repository).
    type: list
    elements: path
    default: []
  legal_patterns:
    description:
      - Names of documents that go to C(legal). Compared in lower case, or with the whole path where there is a C(/).
      - Defaults to PDF, text processor files, and names with C(contract), C(license) or C(licence).
    type: list
    elements: str
  technical_patterns:
    description:
      - Names of documents that go to C(technical), unless they are legal.
      - Defaults to Markdown, JSON, YAML and other text.
    type: list
    elements: str
  host:
    description:
      - Whose documents they are, or only snapshots of this host.
      - For documents it defaults to the name in O(root), else to the machine's own.
    type: str
  root:
    description:
      - The host root of the fleet on this host, which knows the host's name.
    type: path
  destination:
    description:
      - A path, C(s3://bucket/prefix), C(gs://bucket/prefix), C(az://container/prefix), or the URL of an HTTP server.
      - It never holds credentials.
    type: str
    required: true
  endpoint:
    description:
      - URL of a service that speaks the protocol elsewhere, such as MinIO.
    type: str
  region:
    description:
      - Region of an S3 bucket.
    type: str
  profile:
    description:
      - Section of the AWS credentials file.
    type: str
    default: default
  credentials_file:
    description:
      - File on this host with the credentials. For S3 an AWS shared credentials file, for Google the JSON file of a
        service account, for Azure a connection string, for HTTP a netrc file or the value of the Authorization header.
    type: path
  ca_file:
    description:
      - File with the certificates of a private certificate authority.
    type: path
  recipients:
    description:
      - Public keys for which everything is encrypted, C(age1...) or SSH.
    type: list
    elements: str
    default: []
  recipients_file:
    description:
      - File with more of them, one a line.
    type: path
  identity_files:
    description:
      - Files with private keys, to verify and to restore.
    type: list
    elements: path
    default: []
  follow_forget:
    description:
      - Also withdraw from the far side what the repository has forgotten and pruned, or documents that are gone.
    type: bool
    default: false
  append_only:
    description:
      - Never delete anything on the far side. Also true when the repository is append-only.
    type: bool
    default: false
  level:
    description:
      - V(list) looks whether each object is there with exactly its size.
      - V(data) fetches and decrypts each one and compares its SHA-256 with its name.
    type: str
    choices: [list, data]
    default: list
  expected:
    description:
      - SHA-256 of a manifest that must be in the copy. Needs O(identity_files).
    type: str
  snapshot:
    description:
      - What to restore. Start of an id, V(latest), or a restore point.
    type: str
    default: latest
  target:
    description:
      - Folder to restore to, with whole paths. Without it snapshots are restored in place.
    type: path
  include:
    description:
      - Restore only these paths, with what is in them, or patterns of paths.
    type: list
    elements: str
    default: []
  scratch:
    description:
      - Folder for what is fetched, decrypted. It is kept, so that an interrupted restore goes on.
      - Without it a temporary folder is used and removed.
    type: path
  parallel:
    description:
      - How many objects travel at once.
    type: int
    default: 4
seealso:
  - module: fleetops.continuity.snapshot
  - module: fleetops.continuity.restore
  - module: fleetops.continuity.verify
  - module: fleetops.continuity.forget
notes:
  - Needs the Python library C(pyrage) on the host, and C(obstore) for S3 and Azure Blob, or C(google-cloud-storage).
"""

EXAMPLES = r"""
- name: Send the restore points of this host off-site
  fleetops.continuity.offsite:
    repository: /srv/fleet/repository
    destination: s3://fleet-backup/pc2
    credentials_file: /etc/continuity/s3-credentials
    recipients_file: /etc/continuity/recipients

- name: Send contracts and technical documents
  fleetops.continuity.offsite:
    content: documents
    sources: [/srv/fleet/documents]
    destination: https://backup.example.com/pc2
    credentials_file: /etc/continuity/netrc
    recipients: [age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p]

- name: Look whether everything is there, without a private key
  fleetops.continuity.offsite:
    state: verified
    repository: /srv/fleet/repository
    destination: s3://fleet-backup/pc2
    credentials_file: /etc/continuity/s3-credentials

- name: Restore one agent straight from the copy
  fleetops.continuity.offsite:
    state: restored
    destination: s3://fleet-backup/pc2
    credentials_file: /etc/continuity/s3-credentials
    identity_files: [/root/identity.txt]
    include: [/srv/fleet/state/Twin]
"""

RETURN = r"""
sent:
  description: Objects that were sent, or would be; for documents their paths.
  returned: when O(state=sent)
  type: list
  elements: str
  sample: [packs/2f/2f0c91….pack.age]
withdrawn:
  description: Objects that were deleted, or would be.
  returned: when O(state=sent)
  type: list
  elements: str
  sample: []
bytes:
  description: Bytes behind what was sent, before encryption.
  returned: when O(state=sent) and O(content=restore_points)
  type: int
  sample: 33554432
count:
  description: How many documents the copy holds.
  returned: when O(state=sent) and O(content=documents)
  type: int
  sample: 12
files:
  description: Every document of the copy, sent now or before.
  returned: when O(state=sent) and O(content=documents)
  type: list
  elements: dict
  contains:
    path:
      description: Where it stands on this host.
      type: str
      sample: /srv/fleet/documents/contract.pdf
    kind:
      description: C(legal) or C(technical).
      type: str
      sample: legal
    size:
      description: Bytes.
      type: int
      sample: 51200
    sha256:
      description: SHA-256 of the document.
      type: str
      sample: 2f0c91…
    md5:
      description: MD5 of the document.
      type: str
      sample: 9e107d…
    object:
      description: The object that holds it.
      type: str
      sample: documents/pc2/legal/2f0c91….age
problems:
  description: Documents that are not in the copy as they stand, and why.
  returned: when O(state=sent) and O(content=documents)
  type: dict
  sample: {}
level:
  description: What was verified.
  returned: when O(state=verified)
  type: str
  sample: data
objects:
  description: How many objects were verified.
  returned: when O(state=verified)
  type: int
  sample: 212
missing:
  description: Objects that are not there.
  returned: when O(state=verified)
  type: list
  elements: str
  sample: []
damaged:
  description: Objects that are not what they must be, and how.
  returned: when O(state=verified)
  type: dict
  sample: {"packs/2f/2f0c91….pack.age": "The object was changed or cut off"}
chain:
  description: What breaks the chains of manifests, or that the newest state was not sent.
  returned: when O(state=verified)
  type: list
  elements: str
  sample: []
snapshot:
  description: The snapshot that was restored.
  returned: when O(state=restored) and O(content=restore_points)
  type: str
  sample: 2918f5a08515
restored:
  description: Paths that were created or replaced, or would be.
  returned: when O(state=restored)
  type: list
  elements: str
  sample: [/srv/fleet/state/Twin/profile.json]
failures:
  description: Paths that could not be restored, and why.
  returned: when O(state=restored)
  type: dict
  sample: {}
"""

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import offsite
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "state": {"type": "str", "choices": ["sent", "verified", "restored"], "default": "sent"},
    "content": {"type": "str", "choices": ["restore_points", "documents"], "default": "restore_points"},
    "repository": {"type": "path"},
    "sources": {"type": "list", "elements": "path", "default": []},
    "legal_patterns": {"type": "list", "elements": "str"},
    "technical_patterns": {"type": "list", "elements": "str"},
    "host": {"type": "str"},
    "root": {"type": "path"},
    "destination": {"type": "str", "required": True},
    "endpoint": {"type": "str"},
    "region": {"type": "str"},
    "profile": {"type": "str", "default": "default"},
    "credentials_file": {"type": "path"},
    "ca_file": {"type": "path"},
    "recipients": {"type": "list", "elements": "str", "default": []},
    "recipients_file": {"type": "path"},
    "identity_files": {"type": "list", "elements": "path", "default": []},
    "follow_forget": {"type": "bool", "default": False},
    "append_only": {"type": "bool", "default": False},
    "level": {"type": "str", "choices": ["list", "data"], "default": "list"},
    "expected": {"type": "str"},
    "snapshot": {"type": "str", "default": "latest"},
    "target": {"type": "path"},
    "include": {"type": "list", "elements": "str", "default": []},
    "scratch": {"type": "path"},
    "parallel": {"type": "int", "default": 4},
}


def execute(call: Call) -> dict:
    outcome = offsite.carry_out(call.params, call.clock, check=call.check_mode)
    result = {"changed": outcome.changed, **outcome.fields}
    if call.diff_mode and outcome.rendered:
        result["diff"] = {"prepared": outcome.rendered}
    for warning in outcome.warnings:
        call.warn(warning)
    if outcome.faults:
        result.update(failed=True, msg=f"{len(outcome.faults)} faults: {'; '.join(outcome.faults)}")
    return result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
