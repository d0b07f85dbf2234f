# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many threads work at once. More than there are cores for cost time: they wait for the interpreter in turn."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

_MOST = 4
CORES = min(_MOST, os.cpu_count() or 1)
BESIDE = max(1, CORES - 1)
"""While the main thread works too."""
_INTERVAL = 0.0005
"""Seconds after which a thread that waits for the interpreter gets it. It is 0.005 else: long, beside a small file."""


class Crew(ExitStack):
    """The threads of one snapshot, each begun when it is first needed.

    ``files`` reads small files, which is work for the interpreter. ``blocks`` prepares the blocks of large ones, and
    ``digests`` does one thing after the other: both leave the interpreter alone most of the time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_INTERVAL)
        self.files = self.enter_context(ThreadPoolExecutor(BESIDE))
        self.blocks = self.enter_context(ThreadPoolExecutor(CORES))
        self.digests = self.enter_context(ThreadPoolExecutor(1))
