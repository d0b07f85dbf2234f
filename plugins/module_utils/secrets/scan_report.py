# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scan as people, programs and code hosts read it. Nothing here ever holds a value."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any, Mapping, Optional
from urllib.parse import quote

from .process_scan import ProcessScan
from .scan_baseline import Applied, ScanBaseline
from .scan_findings import BLOCKING, CLASSES, Finding
from .scanning import Scan

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"live": "error", "default": "error", "sample": "note", "test": "note", "encrypted": "none"}


@dataclass(frozen=True)
class ScanReport:
    """A tree, the running processes, or both, after the baseline."""

    tree: Optional[Scan]
    processes: Optional[ProcessScan]
    applied: Applied

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.applied.remaining

    @property
    def blocking(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.blocking)

    @property
    def status(self) -> int:
        """0: nothing to remove, 1: something, 2: nothing, but not everything could be read."""
        if self.blocking or (self.processes and self.processes.findings):
            return 1
        return 2 if self.tree and self.tree.unread else 0

    def document(self) -> dict[str, Any]:
        applied = self.applied
        document: dict[str, Any] = {
            "findings": [one.document() for one in self.findings],
            "summary": self.summary(),
            "baseline": {
                "accepted": [{**one.document(), "accepted": entry.document()} for one, entry in applied.accepted],
                "expired": [entry.document() for entry in applied.expired],
                "unused": [entry.document() for entry in applied.unused],
            },
        }
        if self.tree is not None:
            document["unread"] = [one.document() for one in self.tree.unread]
            document["files"], document["bytes"] = self.tree.files, self.tree.bytes
        if self.processes is not None:
            document["processes"] = [one.document() for one in self.processes.findings]
            document["closed_environments"] = self.processes.closed
        return document

    def summary(self) -> dict[str, int]:
        counted = Counter(one.class_ for one in self.findings)
        return {name: counted[name] for name in CLASSES}

    def text(self) -> list[str]:
        lines = [f"{one.file}:{one.line}: {one.class_} {one.kind} ({one.rule}) {one.id}" for one in self.findings]
        if self.processes is not None:
            lines += [
                f"pid {one.pid} (uid {one.uid}, {one.exe}): {one.place}: {one.kind} ({one.rule}) {one.fingerprint}"
                for one in self.processes.findings
            ]
        notes = [f"not read: {one.file}: {one.reason}" for one in (self.tree.unread if self.tree else ())]
        notes += [f"accepted by the baseline: {len(self.applied.accepted)}"] if self.applied.accepted else []
        notes += [f"expired on {entry.expires.isoformat()}: {entry.where}" for entry in self.applied.expired]
        notes += [f"matches nothing: {entry.where}" for entry in self.applied.unused]
        return [_shown(line) for line in [*lines, *_apart(lines), *notes, *_apart(notes), self._verdict()]]

    def _verdict(self) -> str:
        parts = []
        if self.tree is not None:
            summary = self.summary()
            bad = ", ".join(f"{summary[name]} {name}" for name in BLOCKING if summary[name])
            rest = ", ".join(f"{count} {name}" for name, count in summary.items() if count and name not in BLOCKING)
            said = f"{len(self.blocking)} to remove: {bad}" if bad else "nothing to remove"
            also = f" (also {rest})" if rest else ""
            parts.append(f"{said}{also}; {self.tree.files} files, {self.tree.bytes / 1e6:.1f} MB")
        if self.processes is not None:
            shown, closed = self.processes, self.processes.closed
            hidden = f", {closed} keep their environment to themselves" if closed else ""
            parts.append(f"{len(shown.findings)} in {shown.processes} processes{hidden}")
        return "; ".join(parts)

    def sarif(self) -> dict[str, Any]:
        """SARIF 2.1.0. Accepted findings are there, as suppressed."""
        accepted = {one.id: entry for one, entry in self.applied.accepted}
        every = sorted([*self.findings, *(one for one, _entry in self.applied.accepted)])
        rules = sorted({one.rule for one in every})
        driver = {
            "name": "continuity scan",
            "rules": [{"id": rule, "shortDescription": {"text": f"A credential: {rule}"}} for rule in rules],
        }
        results = []
        for one in every:
            entry = accepted.get(one.id)
            result: dict[str, Any] = {
                "ruleId": one.rule,
                "level": _LEVELS[one.class_],
                "message": {"text": f"{one.kind}, {one.class_}: {CLASSES[one.class_]}"},
                "locations": [_location(one)],
                "partialFingerprints": {"credential/v1": one.id},
            }
            if entry is not None:
                result["suppressions"] = [{"kind": "external", "justification": f"{entry.owner}: {entry.reason}"}]
            results.append(result)
        unread: list[Mapping[str, Any]] = [
            {"level": "warning", "message": {"text": f"{one.file}: {one.reason}"}}
            for one in (self.tree.unread if self.tree else ())
        ]
        invocation = {"executionSuccessful": not unread, "toolExecutionNotifications": unread}
        run = {
            "tool": {"driver": driver},
            "results": results,
            "invocations": [invocation],
            "columnKind": "unicodeCodePoints",
        }
        return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _apart(lines: list[str]) -> list[str]:
    return [""] if lines else []


def _shown(line: str) -> str:
    """One line, whatever a file is called."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in line)


def _location(finding: Finding) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(finding.file), "uriBaseId": "%SRCROOT%"},
            "region": {"startLine": finding.line},
        }
    }


def report(tree: Optional[Scan], processes: Optional[ProcessScan], baseline: ScanBaseline, today: date) -> ScanReport:
    return ScanReport(tree, processes, baseline.apply(tree.findings if tree else (), today))
