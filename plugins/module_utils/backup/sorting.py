# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which folder of a backup a file belongs to, and under which name (pure)."""

from __future__ import annotations

import fnmatch
import hashlib
from typing import Optional

DATABASE, LOGS, LEGAL, TECHNICAL = FOLDERS = ("database", "logs", "legal", "technical")
LEGAL_NAMES = ("*.pdf", "*.doc", "*.docx", "*.odt", "*.rtf", "*contract*", "*licen[cs]e*")
TECHNICAL_NAMES = ("*.md", "*.rst", "*.adoc", "*.txt", "*.yaml", "*.yml")
DATABASES = ("sqlite", "postgresql", "redis")
"""Kinds of entries that are copies made by the database itself: the file on the host, if there is one, has other bytes."""
SIDECAR = ".checksum"
LONGEST = 240
"""Bytes of a name that leave room for the ending of a sidecar (a file system takes 255)."""


def folder_of(name: str, kind: str, *, document: bool) -> Optional[str]:
    """The folder for a file with this last name; None for one that stays in the repository alone.

    ``kind`` is that of an entry in a snapshot (``sqlite``, ``postgresql``, ``redis``, ``json`` or empty). ``document`` says that it
    comes from the documents: those are legal or technical whatever they are, while JSON elsewhere is state.
    """
    if name.endswith(SIDECAR):
        return None
    if kind in DATABASES:
        return DATABASE
    if _any(name, LEGAL_NAMES) and (document or kind != "json"):
        return LEGAL
    if document:
        return TECHNICAL
    if kind == "json":
        return DATABASE
    return TECHNICAL if _any(name, TECHNICAL_NAMES) else None


def place(folder: str, source: str) -> str:
    """The path inside the backup: the folder, then the whole path of the source, so that no two meet."""
    return "/".join([folder, *map(component, source.strip("/").split("/"))])


def component(name: str) -> str:
    """A name that leaves room for the ending of its sidecar."""
    if len(name.encode()) <= LONGEST:
        return name
    kept = name.encode()[: LONGEST - 9].decode(errors="ignore")
    return f"{kept}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)
