# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a set is due, in the local time of the host (pure)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Optional

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_AT = re.compile(rf"(?:({'|'.join(DAYS)}) )?([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Times:
    """``hour`` None: every hour; ``day`` (0 is Monday) None: every day."""

    minute: int
    hour: Optional[int] = None
    day: Optional[int] = None

    @classmethod
    def parse(cls, text: str) -> Times:
        """``hourly``, ``02:00`` or ``Sun 03:00``. Raises ValueError."""
        if text == "hourly":
            return cls(0)
        found = _AT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no time: use hourly, HH:MM, 'Sun HH:MM', or manual")
        day, hour, minute = found.groups()
        return cls(int(minute), int(hour), None if day is None else DAYS.index(day))

    def on_calendar(self) -> str:
        """As ``OnCalendar=`` of systemd.timer(5)."""
        if self.hour is None:
            return f"*-*-* *:{self.minute:02}:00"
        day = "" if self.day is None else f"{DAYS[self.day]} "
        return f"{day}*-*-* {self.hour:02}:{self.minute:02}:00"

    def last(self, now: float) -> float:
        """The latest time up to ``now`` (seconds since 1970) at which it was due."""
        local = time.localtime(now)
        if self.hour is None:
            due = time.mktime((*local[:4], self.minute, 0, 0, 0, local.tm_isdst))
            return due if due <= now else due - 3600
        for ago in range(9):
            # mktime sets right what falls before the first of the month, and finds out about summer time.
            due = time.mktime((*local[:2], local.tm_mday - ago, self.hour, self.minute, 0, 0, 0, -1))
            if due <= now and self.day in (None, time.localtime(due).tm_wday):
                return due
        raise AssertionError("no week without this day")
