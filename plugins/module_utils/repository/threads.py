# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many threads work at once. More than there are cores for cost time: they wait for the interpreter in turn."""

from __future__ import annotations

import os

_MOST = 4
CORES = min(_MOST, os.cpu_count() or 1)
BESIDE = max(1, CORES - 1)
"""While the main thread works too."""
