# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent remembers over its restarts, in an SQLite database."""

import os
import sqlite3


class SqliteState:
    """One table of facts; ``wal`` turns the write-ahead log on. Read and updated as a JsonState is."""

    def __init__(self, folder, wal=False):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "state.sqlite")
        self._wal = wal

    def _connect(self):
        database = sqlite3.connect(self.path, timeout=5.0)
        if self._wal:
            database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value NOT NULL)")
        return database

    def read(self):
        """ValueError when what stands there is no database."""
        return self.update({}, {})

    def update(self, added, replaced):
        try:
            database = self._connect()
            try:
                with database:
                    for key, number in added.items():
                        database.execute(
                            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + ?",
                            (key, number, number),
                        )
                    for key, value in replaced.items():
                        database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))
                return dict(database.execute("SELECT key, value FROM facts"))
            finally:
                database.close()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: {error}") from error
