# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of modules that keep secrets as files."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  directory:
    description:
      - The folder, for secrets alone. The one above it must be there.
      - Without root it has to be in memory and one's own, such as below C($XDG_RUNTIME_DIR).
    type: path
    default: /run/secrets
  secrets:
    description:
      - All secrets of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name of the file.
        type: str
        required: true
      path:
        description:
          - Where the value is found in the source.
        type: str
        required: true
      field:
        description:
          - The field below O(secrets[].path); V(*) is all of it, as JSON.
        type: str
        default: value
      version:
        description:
          - The version in KV v2; the newest by default.
        type: int
      dynamic:
        description:
          - Whether reading makes an account, with a lease.
        type: bool
        default: false
      parameters:
        description:
          - What is sent to an engine that makes something, such as a certificate.
        type: dict
      owner:
        description:
          - The user that may read it, by name or number. By default O(owner).
        type: str
      group:
        description:
          - The group of the file, which may not read it. By default O(group).
        type: str
  owner:
    description:
      - The user of secrets that name none; by default who runs the module.
    type: str
  group:
    description:
      - The group of secrets that name none; by default that of the user.
    type: str
  mount:
    description:
      - Whether to mount a tmpfs on O(directory), that cannot be swapped where the kernel has that. Needs root.
    type: bool
    default: false
"""
