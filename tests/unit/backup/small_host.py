# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small host to back up: a database that agents write, JSON documents, texts, contracts."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import backups
from ansible_collections.fleetops.continuity.plugins.module_utils.composition.backups import Made, Wish
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


class SmallHost:
    """``state`` is a host's state, ``papers`` its documents, ``destination`` where backups go to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.papers = folder / "papers"
        self.destination = folder / "03_BACKUPS"
        self.staging = self.destination / "STAGING"
        for name, text in {
            "state/Twin/profile.json": '{"mood": "calm"}',
            "state/Twin/cache.bin": "neither database nor document",
            "state/Twin/README.md": "# Twin\n",
            "papers/contract with ACME.txt": "We agree.\n",
            "papers/manual.pdf": "%PDF-1.4\n",
            "papers/design.md": "# Design\n",
            "papers/schema.json": "{}",
            "logs/Twin.log": "first line\nsecond line\n" * 50,
        }.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.database = self.state / "Twin" / "memory.db"
        self.connection = sqlite3.connect(self.database)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("CREATE TABLE facts (fact TEXT)")
        self.remember("first")
        self.wish = Wish(
            host="pc2",
            repository=str(folder / "repository"),
            destination=str(self.destination),
            source_paths=(str(self.state),),
            document_paths=(str(self.papers),),
            log_paths=(str(folder / "logs"),),
            root=str(folder),
        )

    def remember(self, fact: str) -> None:
        """Write to the database; its journal keeps the change until somebody makes a checkpoint."""
        with self.connection:
            self.connection.execute("INSERT INTO facts VALUES (?)", [fact])

    def make(self, *, check: bool = False, **wanted: Any) -> Made:
        return backups.make_backup(replace(self.wish, **wanted), LocalRunner(), SystemClock(), check=check)

    def inside(self, folder: str, source: Path) -> Path:
        """Where in a published backup the copy of a source lies."""
        return Path(f"{folder}{source}")


def facts(database: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    try:
        return [fact for (fact,) in connection.execute("SELECT fact FROM facts")]
    finally:
        connection.close()


def report_of(made: Made) -> dict[str, Any]:
    assert made.backup is not None
    return dict(json.loads(Path(made.backup.report_file).read_text()))
