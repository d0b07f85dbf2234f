# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to try again, and when to stop."""

from __future__ import annotations

import email.utils
import threading
from typing import Callable, Optional

from ..effects import Clock

_FIRST, _LONGEST = 0.1, 5.0


class Patience:
    """A budget of seconds that all requests of one task share, counted from the first failure on."""

    def __init__(self, seconds: float, clock: Clock, random: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._random = random
        self._end: Optional[float] = None
        self._lock = threading.Lock()

    def wait(self, attempt: int, retry_after: Optional[str]) -> bool:
        """Wait before the next attempt (``attempt`` counts from 0); False when there is no time left for it.

        What the server asks for is waited for, and a little more, so that not all clients come back at once.
        """
        asked = self._asked(retry_after)
        pause = self._random() * min(_FIRST * 2**attempt, _LONGEST)
        pause = asked + min(pause, 1.0) if asked is not None else pause
        with self._lock:
            now = self._clock.monotonic()
            if self._end is None:
                self._end = now + self.seconds
            if now + pause >= self._end:
                return False
        self._clock.sleep(pause)
        return True

    def _asked(self, retry_after: Optional[str]) -> Optional[float]:
        """Seconds from a header of RFC 9110, section 10.2.3: a number, or a date."""
        if not retry_after:
            return None
        if retry_after.strip().isdigit():
            return float(retry_after)
        try:
            date = email.utils.parsedate_to_datetime(retry_after)
        except (TypeError, ValueError):
            return None
        return max(0.0, date.timestamp() - self._clock.now())
