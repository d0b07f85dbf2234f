# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between what files hold and what was written down of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping


@dataclass
class Differences:
    """Paths; ``swapped`` are pairs; ``damaged`` maps a checksum file to what is wrong with it."""

    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    swapped: list[tuple[str, str]] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)

    def add(self, other: Differences) -> None:
        """Take in what was found by other means; a path is named once."""
        for name in ("changed", "missing", "added", "swapped"):
            own = getattr(self, name)
            setattr(self, name, sorted({*own, *getattr(other, name)}))
        self.damaged.update(other.damaged)
        both = {path for pair in self.swapped for path in pair}
        self.changed = [path for path in self.changed if path not in both]

    def faults(self) -> list[str]:
        """One sentence each."""
        return [
            *(f"{path}: changed" for path in self.changed),
            *(f"{path}: missing" for path in self.missing),
            *(f"{path}: added" for path in self.added),
            *(f"{first}: swapped with {second}" for first, second in self.swapped),
            *(f"{path}: {wrong}" for path, wrong in self.damaged.items()),
        ]

    def fields(self) -> dict[str, Any]:
        return {
            "changed": self.changed,
            "missing": self.missing,
            "added": self.added,
            "swapped": [list(pair) for pair in self.swapped],
            "damaged": self.damaged,
        }


def compare(expected: Mapping[str, str], found: Mapping[str, str]) -> Differences:
    """Both map paths to digests of one kind (pure)."""
    changed = {path for path in expected if path in found and expected[path] != found[path]}
    holders: dict[str, list[str]] = {}
    for path in sorted(changed):
        holders.setdefault(found[path], []).append(path)
    swapped = []
    left = set(changed)
    for path in sorted(changed):
        for other in holders.get(expected[path], ()):
            if path < other and {path, other} <= left and found[path] == expected[other]:
                swapped.append((path, other))
                left -= {path, other}
                break
    return Differences(
        changed=sorted(left),
        missing=sorted(set(expected) - set(found)),
        added=sorted(set(found) - set(expected)),
        swapped=swapped,
    )
