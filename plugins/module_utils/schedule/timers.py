# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets as systemd timers (text, pure). Formats: systemd.timer(5), systemd.service(5)."""

from __future__ import annotations

import os
import re
from typing import Mapping, Optional

from .sets import BackupSet, ScheduleError

PREFIX = "continuity-backup-"
_OWNER = re.compile(r"# Written by fleetops\.continuity for (.*)\n")

SERVICE = """\
# Written by fleetops.continuity for {root}
[Unit]
Description=Set {name} of the fleet's backups
ConditionPathExists={sets}

[Service]
Type=oneshot
ExecStart={command}
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
"""

TIMER = """\
# Written by fleetops.continuity for {root}
[Unit]
Description=When set {name} of the fleet's backups is due

[Timer]
OnCalendar={on_calendar}
Persistent=true
AccuracySec=1s
RandomizedDelaySec={spread}

[Install]
WantedBy=timers.target
"""


def render(root: str, python: str, sets: Mapping[str, BackupSet], spread: int) -> dict[str, str]:
    """File name to text: a service for every set, a timer for each that has times. ``spread`` (seconds)
    is how much later than due it may start, so that hosts do not all start at once."""
    files = {}
    for name, one in sets.items():
        words = (python, os.path.join(root, "continuity.pyz"), "scheduled", "--root", root, "--set", name)
        files[f"{PREFIX}{name}.service"] = SERVICE.format(
            root=_value(root),
            name=name,
            sets=_value(os.path.join(root, "schedule", "sets.json")),
            command=" ".join(map(_word, words)),
        )
        times = one.times
        if times is not None:
            files[f"{PREFIX}{name}.timer"] = TIMER.format(
                root=_value(root), name=name, on_calendar=times.on_calendar(), spread=spread
            )
    return files


def owner(text: str) -> Optional[str]:
    """The root for which a unit file was written; None for one that is not ours."""
    found = _OWNER.match(text)
    return found.group(1).replace("%%", "%") if found else None


def _value(text: str) -> str:
    if re.search(r"[\x00-\x1f\"'\\]", text) or text != text.strip():
        raise ScheduleError("a unit file cannot hold this path", where=text, fix="Use one without quotes and \\")
    return text.replace("%", "%%")


def _word(text: str) -> str:
    return f'"{_value(text)}"'.replace("$", "$$")
