# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepted findings: a file that says which findings are known, why, and until when.

.. code-block:: yaml

   accepted:
     - rule: C-range            # or risk: C; at least one of the two
       host: mainpc             # optional, as all that follow; * and ? match anything
       agent: RequestCoordinator
       port: 26002              # the finding's evidence.port
       reason: the translators' firewall rule names this port
       expires: 2027-06-30      # the last day on which it counts

An entry without a reason or an expiry is refused. One that has expired accepts nothing, and one that
matches nothing is named, so that the file cannot outlive what it was written for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any, Mapping, Optional, Sequence

from ..errors import ContinuityError
from ..fleet.yaml_document import Node, parse
from .findings import RISKS, RULES, Finding

MATCHED = ("risk", "rule", "host", "agent", "file", "port", "member")
KEYS = (*MATCHED, "reason", "expires")


class BaselineError(ContinuityError):
    """A baseline that cannot be used."""


@dataclass(frozen=True)
class Acceptance:
    """One entry: patterns by key, and where it stands."""

    patterns: Mapping[str, str]
    reason: str
    expires: date
    where: str

    def matches(self, finding: Finding) -> bool:
        return all(self._match(key, pattern, finding) for key, pattern in self.patterns.items())

    @staticmethod
    def _match(key: str, pattern: str, finding: Finding) -> bool:
        members = finding.evidence.get("members", [])
        values: Mapping[str, Sequence[Any]] = {
            "risk": [finding.risk],
            "rule": [finding.rule],
            "host": [finding.host],
            "agent": [finding.agent or "", *(member.partition(":")[2] for member in members)],
            "file": [finding.file],
            "port": [finding.evidence.get("port", "")],
            "member": members,
        }
        return any(fnmatchcase(str(value), pattern) for value in values[key])

    def document(self) -> dict[str, Any]:
        return {**self.patterns, "reason": self.reason, "expires": self.expires.isoformat(), "where": self.where}


@dataclass(frozen=True)
class Applied:
    """What a baseline made of findings: those left, those accepted (with the entry that did), and the
    entries that are expired or unused."""

    remaining: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Acceptance], ...] = ()
    expired: tuple[Acceptance, ...] = ()
    unused: tuple[Acceptance, ...] = ()

    def document(self) -> dict[str, Any]:
        return {
            "accepted": [{**finding.document(), "accepted": entry.document()} for finding, entry in self.accepted],
            "expired": [entry.document() for entry in self.expired],
            "unused": [entry.document() for entry in self.unused],
        }

    def lines(self) -> list[str]:
        lines = [f"Accepted by the baseline: {len(self.accepted)}"] if self.accepted else []
        lines += [f"  expired on {entry.expires.isoformat()}: {entry.where} ({entry.reason})" for entry in self.expired]
        lines += [f"  matches nothing: {entry.where} ({entry.reason})" for entry in self.unused]
        return lines


@dataclass(frozen=True)
class Baseline:
    entries: tuple[Acceptance, ...] = field(default=())

    def apply(self, findings: Sequence[Finding], today: date) -> Applied:
        """The first live entry that matches a finding accepts it."""
        live = [entry for entry in self.entries if entry.expires >= today]
        remaining: list[Finding] = []
        accepted: list[tuple[Finding, Acceptance]] = []
        used: set[int] = set()
        for finding in findings:
            matching = [entry for entry in live if entry.matches(finding)]
            used.update(id(entry) for entry in matching)
            if matching:
                accepted.append((finding, matching[0]))
            else:
                remaining.append(finding)
        return Applied(
            tuple(remaining),
            tuple(accepted),
            tuple(entry for entry in self.entries if entry.expires < today),
            tuple(entry for entry in live if id(entry) not in used),
        )


def read_baseline(path: str) -> Baseline:
    """Raises BaselineError for whatever is wrong, with the line."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise BaselineError(f"The baseline cannot be read: {error.strerror}", where=path) from error
    document = parse(content, path)
    if document.faults:
        fault = document.faults[0]
        raise BaselineError(fault.message, where=f"{path}:{fault.line}", fix="Correct the baseline")
    root = document.root
    if root is None:
        return Baseline()
    accepted = root.get("accepted") if root.kind == "mapping" else root
    if accepted is None or accepted.kind != "sequence":
        raise BaselineError("A baseline is a list under the key 'accepted'", where=f"{path}:{root.line}")
    return Baseline(tuple(_acceptance(item, path) for item in accepted.items))


def _acceptance(item: Node, path: str) -> Acceptance:
    where = f"{path}:{item.line}"
    if item.kind != "mapping":
        raise BaselineError("An accepted finding is a mapping", where=where, fix=f"Its keys: {', '.join(KEYS)}")
    unknown = [key for key in item.entries if key not in KEYS]
    if unknown:
        raise BaselineError(f"Unknown key {unknown[0]!r}", where=where, fix=f"Known keys: {', '.join(KEYS)}")
    texts = {key: entry.node.text.strip() for key, entry in item.entries.items() if entry.node.kind == "scalar"}
    for key in ("reason", "expires"):
        if not texts.get(key):
            raise BaselineError(f"An accepted finding needs {key!r}", where=where, fix="Say why, and until when")
    patterns = {key: texts[key] for key in MATCHED if texts.get(key)}
    if "rule" not in patterns and "risk" not in patterns:
        raise BaselineError("An accepted finding names its rule or its risk", where=where)
    _check_names(patterns, where)
    return Acceptance(patterns, texts["reason"], _date(texts["expires"], where), where)


def _check_names(patterns: Mapping[str, str], where: str) -> None:
    for key, known in (("rule", list(RULES)), ("risk", list(RISKS))):
        pattern: Optional[str] = patterns.get(key)
        if pattern is not None and not any(fnmatchcase(name, pattern) for name in known):
            raise BaselineError(f"There is no {key} {pattern!r}", where=where, fix=f"Known: {', '.join(known)}")


def _date(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BaselineError(f"expires is no date: {text!r}", where=where, fix="Write YYYY-MM-DD") from error
