# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where there is no systemd: one line in the user's crontab (text, pure). Format: crontab(5).

cron forgets what it missed, so the line does not say when: it asks four times an hour what is due.
"""

from __future__ import annotations

import os
import shlex

from .sets import ScheduleError

MARK = "# fleetops.continuity schedule of "


def edit(crontab: str, root: str, python: str, wanted: bool) -> str:
    """The crontab with our line for this root, or without it; everything else stays as it is."""
    lines, skip = [], False
    for line in crontab.rstrip("\n").splitlines():
        if skip or line == MARK + root:
            skip = not skip
            continue
        lines.append(line)
    if wanted:
        lines += [MARK + root, line_for(root, python)]
    return "".join(line + "\n" for line in lines)


def line_for(root: str, python: str) -> str:
    """The line itself. Its output goes into a log of the host root; cron would mail it."""
    if any(ord(letter) < 32 for letter in root + python):
        raise ScheduleError("a crontab cannot hold this path", where=root, fix="Use one without line breaks")
    words = [python, os.path.join(root, "continuity.pyz"), "scheduled", "--root", root, "--due"]
    log = shlex.quote(os.path.join(root, "logs", "continuity-schedule.log"))
    # cron turns % into a line break.
    return f"*/15 * * * * nice -n 10 {shlex.join(words)} >> {log} 2>&1".replace("%", "\\%")
