# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line for each step: there when the step begins, completed in place when it ends."""

from __future__ import annotations

import os
import sys
import time
from typing import Optional

NAME_WIDTH = 15
BEGUN = "CONTINUITY_DEMO_BEGUN"
"""When the demo began (monotonic seconds), kept when it starts itself again in an environment of its own."""


class Console:
    """``begin`` a step, ``note`` what it is doing (on a terminal only), ``done`` with what was seen."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.begun = float(os.environ.setdefault(BEGUN, str(time.monotonic())))
        self.seconds: list[tuple[str, float]] = []
        self.step: Optional[str] = None
        self._step_begun = self.begun
        self._head = ""
        self._terminal = sys.stdout.isatty()

    def begin(self, name: str) -> None:
        self._step_begun = time.monotonic()
        number = len(self.seconds) + 1
        self._head = f"[{self._step_begun - self.begun:4.0f}s] {number}/{self.steps} {name:<{NAME_WIDTH}} "
        self.step = name
        print(self._head, end="", flush=True)

    def note(self, text: str) -> None:
        if self._terminal and self.step is not None:
            room = 100 - len(self._head)
            print(f"\r\x1b[K{self._head}{text[:room]}", end="", flush=True)

    def done(self, text: str) -> None:
        seconds = time.monotonic() - self._step_begun
        self.seconds.append((self.step or "", seconds))
        self.step = None
        start = f"\r\x1b[K{self._head}" if self._terminal else ""
        print(f"{start}{text} ({seconds:.1f}s)", flush=True)

    def forget(self) -> None:
        """Clear a line that somebody else will begin again."""
        print("\r\x1b[K" if self._terminal else "environment made", end="" if self._terminal else "\n", flush=True)

    def failed(self, text: str) -> None:
        start = f"\r\x1b[K{self._head}" if self._terminal and self.step else ""
        print(f"{start}FAILED: {text}", flush=True)

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.begun
