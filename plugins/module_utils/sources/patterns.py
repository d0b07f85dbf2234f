# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exclude patterns."""

from __future__ import annotations

import fnmatch
import os
import re
from typing import Sequence


class Patterns:
    """Shell patterns over paths. Without ``/`` a pattern is matched with the last name of a path,
    with a leading ``/`` with the whole path, otherwise with its end; ``*`` crosses ``/``."""

    def __init__(self, patterns: Sequence[str]) -> None:
        names = [pattern.rstrip("/") for pattern in patterns]
        self._name = _any([name for name in names if "/" not in name])
        self._path = _any([name if name.startswith("/") else f"*/{name}" for name in names if "/" in name])

    def match(self, path: bytes) -> bool:
        if self._name and self._name.match(path[path.rfind(b"/") + 1 :]):
            return True
        return bool(self._path and self._path.match(path))


def _any(patterns: Sequence[str]) -> re.Pattern[bytes] | None:
    if not patterns:
        return None
    return re.compile(
        b"|".join(fnmatch.translate(os.fsencode(pattern).decode("latin-1")).encode("latin-1") for pattern in patterns)
    )
