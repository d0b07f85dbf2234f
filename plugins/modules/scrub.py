#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: scrub
short_description: Read a whole repository again for rot, and heal what is damaged
version_added: 1.0.0
description:
  - Compares every byte of packs, index, manifests, C(config.json), pins and lines of forgotten snapshots with its
    digest, and the chain of manifests with itself. Fails when something is damaged and was not healed.
  - Names every damaged thing, and which snapshots and which files need it.
  - With O(heal) what is damaged is replaced, from other copies of the repository, from the files on this host, or from
    what the repository itself still has. Nothing is believed before its digest is right.
  - Damaged files go to the folder C(quarantine) of the repository. They are never deleted.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads everything, looks for good copies, and writes nothing.
  diff_mode:
    support: full
    details:
      - Lists what was replaced, and from where.
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
    type: path
  share:
    description:
      - Which part of the packs to read, for example V(3/7). Which pack is in which part never changes.
      - Everything else is small and read each time.
    type: str
    default: 1/1
  restart:
    description:
      - Begin anew. Otherwise a scrub that was killed in the last seven days goes on where it was.
    type: bool
    default: false
  heads:
    description:
      - A file outside of the repository that notes the newest snapshot of each host. It is made when there is none.
      - When the repository has an older one, or another in its place, that is reported. This is how it is noticed that
        a repository was put back as a whole.
    type: path
  heal:
    description:
      - Replace what is damaged.
    type: bool
    default: false
  copies:
    description:
      - Folders with a copy of the repository, in the order in which they are asked. They may be damaged, too.
    type: list
    elements: path
    default: []
  offsite:
    description:
      - An off-site copy to heal from, after O(copies). Only what is needed is fetched.
    type: dict
    suboptions:
      destination:
        description:
          - A path, C(s3://bucket/prefix), C(gs://bucket/prefix), C(az://container/prefix), or the URL of an HTTP server.
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
          - File on this host with the credentials, see M(fleetops.continuity.offsite).
        type: path
      ca_file:
        description:
          - File with the certificates of a private certificate authority.
        type: path
      identity_files:
        description:
          - Files with private keys of age, one of which opens the copy.
        type: list
        elements: path
        default: []
  live:
    description:
      - Take blocks from the files on this host that still hold them.
    type: bool
    default: true
  wait:
    description:
      - Seconds to wait for writers, when something is healed.
    type: float
    default: 60
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
      - Without one nothing can be said of whom damage touches, and only whole files are healed.
    type: list
    elements: path
    default: []
seealso:
  - module: fleetops.continuity.verify
  - module: fleetops.continuity.forget
  - module: fleetops.continuity.offsite
"""

EXAMPLES = r"""
- name: Read everything again
  fleetops.continuity.scrub:
    root: "{{ continuity_root }}"

- name: Read a seventh every night, heal from the peer's copy
  fleetops.continuity.scrub:
    root: "{{ continuity_root }}"
    share: "{{ now(utc=true).isoweekday() }}/7"
    heads: /var/lib/continuity/heads.json
    heal: true
    copies: [/mnt/peer/repository]
"""

RETURN = r"""
damaged:
  description: What is damaged; with O(heal) what still is.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: >-
        One of V(config), V(index), V(manifest), V(forgotten), V(pin), V(pack), V(chain), V(head), V(blocks).
      type: str
      sample: pack
    where:
      description: The file or folder in the repository.
      type: str
      sample: packs/2f/2f1b.pack
    what:
      description: What is wrong.
      type: str
      sample: The pack file was changed
touched:
  description: The snapshots that lost something, and the paths in them, with special characters as C(%) and two digits.
  returned: always
  type: dict
  sample: {"2918f5a08515": ["/srv/fleet/state/Twin/memory.db"]}
found:
  description: What was damaged before anything was healed; the same keys as RV(damaged).
  returned: always
  type: list
  elements: dict
  sample: []
healed:
  description: What was healed, or in check mode would be.
  returned: always
  type: dict
  contains:
    replaced:
      description: Files of the repository and from where they came.
      type: dict
      sample: {"packs/2f/2f1b.pack": "/mnt/peer/repository"}
    blocks:
      description: How many blocks were stored again, by where they came from.
      type: dict
      sample: {"the file /srv/fleet/state/Twin/memory.db": 2}
    quarantined:
      description: Damaged files that were set aside.
      type: list
      elements: str
      sample: ["quarantine/2026-01-31T020000000000Z-packs-2f-2f1b.pack"]
unused:
  description: Pack files that no index names. They harm nothing, prune deletes them.
  returned: always
  type: list
  elements: str
  sample: []
unopened:
  description: Why nothing can be said of whom the damage touches, when the repository is encrypted and there is no key.
  returned: always
  type: str
  sample: ""
absent:
  description: Folders of O(copies) in which there is no repository. With O(heal) the module fails then.
  returned: always
  type: list
  elements: str
  sample: []
scrubbed:
  description: How many C(files) and C(bytes) were read, and how many packs an earlier scrub had read (C(packs_resumed)).
  returned: always
  type: dict
  sample: {"files": 31, "bytes": 734003200, "packs_resumed": 0}
"""

import os

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import maintenance
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.offsite_copies import Copy
from ansible_collections.fleetops.continuity.plugins.module_utils.offsite.destination import Destination
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "repository": {"type": "path"},
    "root": {"type": "path"},
    "share": {"type": "str", "default": "1/1"},
    "restart": {"type": "bool", "default": False},
    "heads": {"type": "path"},
    "heal": {"type": "bool", "default": False},
    "copies": {"type": "list", "elements": "path", "default": []},
    "offsite": {
        "type": "dict",
        "options": {
            "destination": {"type": "str", "required": True},
            "endpoint": {"type": "str"},
            "region": {"type": "str"},
            "profile": {"type": "str", "default": "default"},
            "credentials_file": {"type": "path"},
            "ca_file": {"type": "path"},
            "identity_files": {"type": "list", "elements": "path", "default": []},
        },
    },
    "live": {"type": "bool", "default": True},
    "wait": {"type": "float", "default": 60},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}


def execute(call: Call) -> dict:
    options = call.params
    far = dict(options["offsite"] or {})
    far_identities = tuple(far.pop("identity_files", ()))
    wanted = maintenance.Scrubbing(
        share=options["share"],
        restart=options["restart"],
        heads=options["heads"],
        heal=options["heal"],
        copies=tuple(options["copies"]),
        offsite=Copy(Destination(url=far.pop("destination"), **far)) if far else None,
        offsite_identity_files=far_identities,
        live=options["live"],
        wait=options["wait"],
        identity_files=tuple(options["identity_files"]),
    )
    repository = options["repository"] or os.path.join(options["root"], "repository")
    done = maintenance.scrub(repository, wanted, call.clock, check=call.check_mode)
    result = {"changed": done.changed, **done.fields()}
    faults = done.faults()
    if faults and not (call.check_mode and done.healed):
        result.update(failed=True, msg=f"{len(faults)} faults: {'; '.join(faults)}")
    return {**result, "diff": {"prepared": done.render()}} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute, required_one_of=[("repository", "root")])


if __name__ == "__main__":
    main()
