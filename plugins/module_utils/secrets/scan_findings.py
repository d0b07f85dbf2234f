# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scan reports of a tree: findings without any value, and what they count as."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, Iterable, Mapping, NamedTuple

from .scan_hits import Hit
from .scanned_files import ScannedFile

CLASSES: Mapping[str, str] = {
    "live": "in use as it stands",
    "default": "in use where nobody gives another one",
    "sample": "a placeholder, or part of an explanation",
    "test": "in tests and their fixtures",
    "encrypted": "stored encrypted",
}
BLOCKING = ("live", "default")
"""The classes that make a scan fail."""


class Finding(NamedTuple):
    """``file`` is relative to the root, ``line`` counts from 1. ``id`` is made of file, rule and name, so
    it stays when lines move, and says nothing about the value."""

    file: str
    line: int
    kind: str
    class_: str
    rule: str
    id: str

    @property
    def blocking(self) -> bool:
        return self.class_ in BLOCKING

    def document(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "line": self.line,
            "kind": self.kind,
            "class": self.class_,
            "rule": self.rule,
            "id": self.id,
        }


def findings(file: ScannedFile, hits: Iterable[Hit]) -> list[Finding]:
    """The findings of one file, in the order of its lines."""
    seen: Counter[tuple[str, str]] = Counter()
    result = []
    for hit in hits:
        seen[hit.rule, hit.name] += 1
        identity = "\0".join((file.path, hit.rule, hit.name, str(seen[hit.rule, hit.name])))
        number = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        path = file.path.encode("utf-8", "backslashreplace").decode("utf-8")
        result.append(Finding(path, hit.line, hit.kind, class_of(file, hit), hit.rule, number))
    return result


def class_of(file: ScannedFile, hit: Hit) -> str:
    """A token of a provider is one wherever it stands, but for folders of tests; of all else the place decides."""
    if hit.state != "plain":
        return hit.state
    if file.test_folder or (file.test_file and not hit.by_form):
        return "test"
    if (file.document or file.sample or hit.prose) and not hit.by_form:
        return "sample"
    return "default" if hit.fallback else "live"
