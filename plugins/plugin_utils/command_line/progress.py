# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a long work has come: on a terminal, nowhere else."""

from __future__ import annotations

import sys
import time
from typing import Callable, Optional

_EVERY = 0.2


def on_terminal(what: str, unit: str = "entries") -> Optional[Callable[[int, int], None]]:
    """A callback that keeps one line on standard error up to date; None when nobody would see it."""
    if not sys.stderr.isatty():
        return None
    last = [0.0]

    def show(count: int, size: int) -> None:
        now = time.monotonic()
        if now - last[0] >= _EVERY:
            last[0] = now
            print(f"\r{what}: {count} {unit}, {size / 1e6:.1f} MB\033[K", end="", file=sys.stderr, flush=True)

    return show


def done() -> None:
    """Leave the line of the callback."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
