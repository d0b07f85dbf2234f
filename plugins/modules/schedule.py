#!/usr/bin/python
# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: schedule
short_description: Make a host back itself up at set times
version_added: 1.0.0
description:
  - Writes the sets of a host's schedule, and makes the host's own scheduler run them by C(continuity.pyz), without a
    controller.
  - With systemd each set is a timer that survives a reboot and catches up after a time that was missed. Without it one
    line in the crontab of the user asks four times an hour what is due, with the same effect.
  - The sets given are all that there are. One that is not given any more is removed with its timer; what it has made stays.
author:
  - fleetops.continuity developers (@fleetops)
extends_documentation_fragment:
  - fleetops.continuity.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  root:
    description:
      - The host root of the fleet on this host. C(continuity.pyz) lies in it.
    type: path
    required: true
  sets:
    description:
      - The sets, by name (lower-case letters, digits and C(-)). Empty removes the schedule.
      - A set has C(at), one of V(hourly), C(HH:MM), C(Sun HH:MM) in the local time of the host, and V(manual) for one that
        a job or a person starts.
      - C(make) is V(snapshot), into the repository alone, which is the default, V(backup), the whole protocol, or
        V(scrub), which looks for damage in one of C(shares) parts of the repository (default 1) and in the folders of
        backups, and heals the repository, also from C(copies), a list of other repositories.
      - C(source_paths), C(log_paths), C(document_paths), C(databases), C(exclude), C(backup_type), C(compression),
        C(compression_level) and C(offsite) are those of M(fleetops.continuity.backup).
      - C(retention) are rules for the snapshots of this set, as M(fleetops.continuity.forget) names them, for example
        C(keep_daily). C(keep_backups) is how many of its folders stay. Both are applied after each success.
    type: dict
    required: true
  repository:
    description:
      - Folder of the repository.
      - Defaults to the folder C(repository) in O(root).
    type: path
  destination:
    description:
      - Folder in which C(STAGING) lies.
      - Defaults to the folder C(03_BACKUPS) in O(root).
    type: path
  identity_files:
    description:
      - Files with private keys of age, one of which opens the repository, when it is encrypted.
    type: list
    elements: path
    default: []
  python:
    description:
      - The interpreter that runs C(continuity.pyz).
    type: path
    default: /usr/bin/python3
  scheduler:
    description:
      - What runs the sets.
      - V(systemd) needs root. V(systemd-user) are timers of the user, who then lingers. V(cron) is a line in the crontab of
        the user.
      - V(auto) takes V(systemd) where it runs and the user is root, else V(systemd-user) where the user has one,
        else V(cron).
    type: str
    choices: [auto, systemd, systemd-user, cron]
    default: auto
  spread:
    description:
      - By how many seconds at most a set starts later than due, so that hosts do not all start at once. With V(cron) it means
        nothing.
    type: int
    default: 300
  unit_directory:
    description:
      - Where systemd looks for units, when that is not the usual folder.
    type: path
seealso:
  - module: fleetops.continuity.backup
  - module: fleetops.continuity.forget
"""

EXAMPLES = r"""
- name: Back the host up every night, and take a snapshot every hour
  fleetops.continuity.schedule:
    root: /srv/fleet
    sets:
      hourly:
        at: hourly
        retention: {keep_last: 48}
      daily:
        at: "02:00"
        make: backup
        backup_type: incremental
        retention: {keep_daily: 14}
        keep_backups: 14
      after-training:
        at: manual
        make: backup

- name: Let the host make no more backups by itself
  fleetops.continuity.schedule:
    root: /srv/fleet
    sets: {}
"""

RETURN = r"""
scheduler:
  description: What runs the sets.
  returned: success
  type: str
  sample: systemd
sets:
  description: The names of the sets.
  returned: success
  type: list
  elements: str
  sample: [after-training, daily, hourly]
changes:
  description: What was changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [/srv/fleet/schedule/sets.json, timer continuity-backup-daily.timer]
"""

import os

from ansible_collections.fleetops.continuity.plugins.module_utils.schedule import installing
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule.sets import Settings, parse_sets
from ansible_collections.fleetops.continuity.plugins.module_utils.wiring import Call, run_module

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "sets": {"type": "dict", "required": True},
    "repository": {"type": "path"},
    "destination": {"type": "path"},
    "identity_files": {"type": "list", "elements": "path", "default": []},
    "python": {"type": "path", "default": "/usr/bin/python3"},
    "scheduler": {"type": "str", "choices": ["auto", "systemd", "systemd-user", "cron"], "default": "auto"},
    "spread": {"type": "int", "default": 300},
    "unit_directory": {"type": "path"},
}


def execute(call: Call) -> dict:
    options, root = call.params, os.path.abspath(call.params["root"])
    wish = installing.Wish(
        root=root,
        python=options["python"],
        sets=parse_sets(options["sets"], "sets"),
        settings=Settings(
            options["repository"] or os.path.join(root, "repository"),
            options["destination"] or os.path.join(root, "03_BACKUPS"),
            tuple(options["identity_files"]),
        ),
        spread=options["spread"],
        directory=options["unit_directory"],
    )
    scheduler = options["scheduler"] if options["scheduler"] != "auto" else installing.choose(call.runner)
    changes = installing.plan(wish, scheduler, call.runner)
    if changes and not call.check_mode:
        installing.apply(wish, scheduler, changes, call.runner)
    result = {
        "changed": bool(changes),
        "scheduler": scheduler,
        "sets": sorted(wish.sets),
        "changes": [change.what for change in changes],
    }
    shown = [
        {"before": one.before or "", "after": one.after or "", "before_header": one.what, "after_header": one.what}
        for one in changes
    ]
    return {**result, "diff": shown} if call.diff_mode else result


def main() -> None:
    run_module(ARGUMENTS, execute)


if __name__ == "__main__":
    main()
