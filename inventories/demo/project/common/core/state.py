# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent remembers over its restarts, in its own folder.

Safe while two instances overlap: a change is made to what is stored now, not to
what an instance read at its start.
"""

import fcntl
import json
import os


class JsonState:
    """One JSON document, replaced as a whole: a reader sees the old or the new one, never half."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "state.json")
        self._lock = os.path.join(folder, "state.lock")

    def read(self):
        """ValueError when what stands there is no JSON object."""
        try:
            with open(self.path, encoding="utf-8") as file:
                document = json.load(file)
        except FileNotFoundError:
            return {}
        if not isinstance(document, dict):
            raise ValueError(f"{self.path} holds no JSON object")
        return document

    def update(self, added, replaced):
        """Add numbers to the counters in ``added``, put the values in ``replaced``; returns the whole."""
        with open(self._lock, "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = self.read()
            for key, number in added.items():
                document[key] = document.get(key, 0) + number
            document.update(replaced)
            with open(self.path + ".new", "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self.path + ".new", self.path)
        return document


def open_state(kind, folder):
    """``kind`` is one of "json", "sqlite", "sqlite-wal"."""
    if kind == "json":
        return JsonState(folder)
    from common.core.sqlite_state import SqliteState  # only those who need it pay for the import

    return SqliteState(folder, wal=kind == "sqlite-wal")
