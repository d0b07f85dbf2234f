# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the copy of a database one that can be opened and read?"""

from __future__ import annotations

import contextlib
import sqlite3
from urllib.parse import quote


def fault_of_sqlite(file: str) -> str:
    """What SQLite's own quick check finds wrong with a file at rest; empty when nothing is."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(file)}?mode=ro&immutable=1", uri=True)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        # It needs an extension or a collation that only its agent has: that is no damage.
        return ""
    except sqlite3.DatabaseError as error:
        found = error
    return "" if found == "ok" else f"SQLite finds it damaged: {found}"
