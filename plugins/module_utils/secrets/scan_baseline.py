# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted findings of a scan: which, whose, why, and until when.

.. code-block:: yaml

   accepted:
     - id: 5f0c9c6d4a1be207     # or file, with rule, kind or class where wanted; * and ? match anything
       owner: fleet team
       reason: the hub takes any token until it moves to Vault
       expires: 2027-03-31      # the last day on which it counts
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional, Sequence

from ..errors import ContinuityError
from ..fleet.yaml_document import Node, parse
from .scan_findings import Finding

MATCHED = ("id", "file", "rule", "kind", "class")
SAID = ("owner", "reason", "expires")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class ScanBaselineError(ContinuityError):
    """A baseline that cannot be used. Nothing of what stands in the file is repeated."""


@dataclass(frozen=True)
class Acceptance:
    """One entry; ``where`` is the file and line at which it stands."""

    patterns: Mapping[str, str]
    owner: str
    reason: str
    expires: date
    where: str

    def matches(self, finding: Finding) -> bool:
        values = finding.document()
        return all(fnmatchcase(str(values[key]), pattern) for key, pattern in self.patterns.items())

    def document(self) -> dict[str, Any]:
        said = {"owner": self.owner, "reason": self.reason, "expires": self.expires.isoformat()}
        return {**self.patterns, **said, "where": self.where}


@dataclass(frozen=True)
class Applied:
    """What is left, what an entry accepts, and the entries that accept nothing."""

    remaining: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    expired: tuple[Acceptance, ...] = ()
    unused: tuple[Acceptance, ...] = ()


@dataclass(frozen=True)
class ScanBaseline:
    entries: tuple[Acceptance, ...] = ()

    def apply(self, findings: Sequence[Finding], today: date) -> Applied:
        """The first live entry that matches a finding accepts it."""
        live = [entry for entry in self.entries if entry.expires >= today]
        pairs = [(one, [entry for entry in live if entry.matches(one)]) for one in findings]
        used = {id(entry) for _finding, matching in pairs for entry in matching}
        return Applied(
            tuple(one for one, matching in pairs if not matching),
            tuple((one, matching[0]) for one, matching in pairs if matching),
            tuple(entry for entry in self.entries if entry.expires < today),
            tuple(entry for entry in live if id(entry) not in used),
        )


def read_scan_baseline(path: str) -> ScanBaseline:
    """Raises ScanBaselineError for whatever is wrong, with the line."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise ScanBaselineError(f"The baseline cannot be read: {error.strerror}", where=path) from None
    document = parse(content, path)
    if document.faults:
        where = f"{path}:{document.faults[0].line}"
        raise ScanBaselineError("The baseline is no valid YAML", where=where, fix="Correct that line")
    root = document.root
    if root is None:
        return ScanBaseline()
    accepted = root.get("accepted") if root.kind == "mapping" else None
    if accepted is None or accepted.kind != "sequence":
        raise ScanBaselineError("A baseline is a list under the key 'accepted'", where=f"{path}:{root.line}")
    return ScanBaseline(tuple(_acceptance(item, f"{path}:{item.line}") for item in accepted.items))


def _acceptance(item: Node, where: str) -> Acceptance:
    known = ", ".join((*MATCHED, *SAID))
    if item.kind != "mapping" or any(key not in MATCHED and key not in SAID for key in item.entries):
        raise ScanBaselineError("An accepted finding is a mapping of known keys", where=where, fix=f"Known: {known}")
    texts = {key: entry.node.text.strip() for key, entry in item.entries.items() if entry.node.kind == "scalar"}
    for key in SAID:
        if not texts.get(key):
            raise ScanBaselineError(
                f"An accepted finding needs {key!r}", where=where, fix="Say whose, why, and until when"
            )
    patterns = {key: texts[key] for key in MATCHED if texts.get(key)}
    if not {"id", "file"} & set(patterns):
        raise ScanBaselineError("An accepted finding names its id or its file", where=where)
    day = _day(texts["expires"])
    if day is None:
        raise ScanBaselineError("expires is no date", where=where, fix="Write YYYY-MM-DD")
    return Acceptance(patterns, texts["owner"], texts["reason"], day, where)


def _day(text: str) -> Optional[date]:
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None
