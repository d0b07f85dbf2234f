# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a supervisor, written only where they differ."""

from __future__ import annotations

import os
from typing import Mapping, Optional

from ..journal import durable


def write_changed(files: Mapping[str, str], *, mode: int = 0o644) -> set[str]:
    """Make the files (path to text) stand as given, each replaced at once; returns those that differed."""
    changed = {path for path, text in files.items() if read(path) != text}
    for folder in {os.path.dirname(path) for path in changed}:
        os.makedirs(folder, exist_ok=True)
    for path in sorted(changed):
        durable.write_file(path, files[path].encode(), mode)
    return changed


def read(path: str) -> Optional[str]:
    """The file's text, None when there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
