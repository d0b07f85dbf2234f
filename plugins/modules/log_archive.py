#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: log_archive
short_description: Archive logs compressed, every line once
version_added: 1.0.0
description:
  - Archives what was written to the logs of a host since the last time, all logs side by side.
  - A log that is being written is archived up to its last whole line. Rotated files are recognised by inode and by
    content, so that no line is lost and none is archived twice.
  - Each archive file is decompressed and compared before it counts, and once more before an original is removed.
  - The archive and its catalogue are described on the page C(docs/logs.md).
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
    details:
      - Says what would be archived and removed, without the sizes that compression would give.
  diff_mode:
    support: full
    details:
      - Lists what is archived, removed and truncated.
  idempotent:
    support: full
    details:
      - What an agent writes in between is archived by the next run.
options:
  paths:
    description:
      - Logs, folders, or shell patterns of either. Folders are searched to their depth; their rotated files belong to
        the logs that they were rotated from.
    type: list
    elements: path
    required: true
  archive:
    description:
      - Folder for the archive files; made when there is none.
    type: path
    required: true
  catalogue:
    description:
      - Folder for the catalogue of what is archived.
      - Give the same one to runs that archive into folders of their own.
      - Defaults to the folder C(catalogue) in O(archive).
    type: path
  patterns:
    description:
      - Shell patterns of the names of logs in folders.
    type: list
    elements: str
    default: ["*.log"]
  exclude:
    description:
      - Shell patterns of names in folders that are left out.
    type: list
    elements: str
    default: []
  compression:
    description:
      - V(zstd) needs the Python package C(zstandard), or Python 3.14, on the host.
    type: str
    choices: [gzip, zstd]
    default: gzip
  compression_level:
    description:
      - V(low), V(normal), V(high), or a number from 1 to 9 (V(gzip)) or 22 (V(zstd)).
    type: str
    default: normal
  original:
    description:
      - What becomes of a file when all of it is archived.
      - V(remove) removes it, unless a process has it open for writing.
      - V(truncate) cuts off the front of a log, and removes rotated files. Writers must append, and the file system
        must be able to do it in one step (ext4, xfs).
      - What cannot be removed or truncated safely stays, and RV(kept) says why.
    type: str
    choices: [keep, remove, truncate]
    default: keep
seealso:
  - module: fleetops.continuity.snapshot
  - module: fleetops.continuity.checksum
"""

EXAMPLES = r"""
- name: Archive the logs of all agents of a host
  fleetops.continuity.log_archive:
    paths: [/srv/fleet/logs]
    archive: /srv/backups/logs
    compression_level: high

- name: Archive into the folder of the day, each line on one day only, and remove what nobody writes to any more
  fleetops.continuity.log_archive:
    paths:
      - /srv/fleet/logs
      - /srv/sessions/session_*.log
    archive: "/srv/backups/STAGING/{{ today }}/logs"
    catalogue: /srv/backups/log_catalogue
    compression: zstd
    original: remove
"""

RETURN = r"""
files:
  description: The archive files that were made; in check mode C(log), C(source) and C(size_bytes) of those to come.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The archive file.
      type: str
      sample: /srv/backups/logs/Twin.log.00000001.20260131T020000Z.gz
    log:
      description: The log.
      type: str
      sample: /srv/fleet/logs/Twin.log
    source:
      description: The name of the file that the lines stood in.
      type: str
      sample: Twin.log.1
    size_bytes:
      description: Plain size.
      type: int
      sample: 5242880
    compressed_bytes:
      description: Size of the archive file.
      type: int
      sample: 419430
    ratio:
      description: Compressed size divided by plain size.
      type: float
      sample: 0.08
    lines:
      description: How many lines it holds.
      type: int
      sample: 40960
    sha256:
      description: SHA-256 of the plain bytes.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    archive_sha256:
      description: SHA-256 of the archive file.
      type: str
      sample: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
    compression:
      description: How it is compressed.
      type: str
      sample: gzip
    level:
      description: The level as a number.
      type: int
      sample: 9
    time:
      description: When (ISO 8601, UTC).
      type: str
      sample: "2026-01-31T02:00:00Z"
count:
  description: How many archive files were made, or would be.
  returned: always
  type: int
  sample: 77
size_bytes:
  description: Plain size of all of them.
  returned: always
  type: int
  sample: 403701760
compressed_bytes:
  description: Size of all of them; not known in check mode.
  returned: always
  type: int
  sample: 32296140
ratio:
  description: Compressed size divided by plain size; null when nothing was archived, and in check mode.
  returned: always
  type: float
  sample: 0.08
removed:
  description: Original files that were removed, or would be.
  returned: always
  type: list
  elements: str
  sample: [/srv/fleet/logs/Twin.log.1]
truncated:
  description: Logs whose front was cut off, or would be.
  returned: always
  type: list
  elements: str
  sample: []
kept:
  description: Files that O(original) could not be applied to safely, each with C(path) and C(reason).
  returned: always
  type: list
  elements: dict
  sample: [{"path": "/srv/fleet/logs/Twin.log", "reason": "a process has it open for writing"}]
problems:
  description: What could not be archived, in sentences. Everything else was.
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.logs.batch import Wanted, archive_logs, summary
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS: dict[str, Any] = {
    "paths": {"type": "list", "elements": "path", "required": True},
    "archive": {"type": "path", "required": True},
    "catalogue": {"type": "path"},
    "patterns": {"type": "list", "elements": "str", "default": ["*.log"]},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "compression": {"type": "str", "choices": ["gzip", "zstd"], "default": "gzip"},
    "compression_level": {"type": "str", "default": "normal"},
    "original": {"type": "str", "choices": ["keep", "remove", "truncate"], "default": "keep"},
}


def execute(call: Call) -> dict[str, Any]:
    options = call.params
    wanted = Wanted(
        paths=tuple(options["paths"]),
        archive=options["archive"],
        catalogue=options["catalogue"],
        patterns=tuple(options["patterns"]),
        exclude=tuple(options["exclude"]),
        compression=options["compression"],
        level=options["compression_level"],
        original=options["original"],
    )
    results = archive_logs(wanted, call.clock, check=call.check_mode)
    found = summary(results)
    if found["problems"]:
        found.update(failed=True, msg=f"{len(found['problems'])} problems: {'; '.join(found['problems'])}")
    if call.diff_mode:
        found["diff"] = {"prepared": "".join(one.render() for one in results)}
    return found


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
