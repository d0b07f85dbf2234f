# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an audit finds, in a stable order, and its renderings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterable, Mapping, Optional

RISKS: Mapping[str, str] = {
    "G": "config drift",
    "A": "scripts that cannot be started",
    "C": "port space",
    "D": "agents that bypass the base class",
    "H": "leaked credentials",
    "B": "dependency graph",
}
"""The risks of the first form, in the order in which they are to be dealt with."""

SEVERITIES = ("critical", "warning", "info")

RULES: Mapping[str, str] = {
    "G-parse": "Correct the file: nothing that stands in it can be trusted",
    "G-no-agents": "Give the startup config that declares this host's agents",
    "G-duplicate-key": "Keep one of the two keys: YAML drops the first without a word",
    "G-lost-agents": "Move these agents to where they are read",
    "G-malformed-entry": "Move the entry out of the agents, or make it one",
    "G-schema": "Write what is expected",
    "A-missing": "Restore the file, or remove the agent from the startup config",
    "A-outside-root": "Name a file below the project root",
    "A-syntax": "Correct the file: the interpreter refuses it",
    "A-import": "Restore what is imported, or correct the import",
    "C-collision": "Give each of them a port of its own",
    "C-privileged": "Use a port from 1024 on: lower ones need root",
    "C-range": "Use a port of the range, or allow this one",
    "C-expression": "Give the value (--value NAME=VALUE), or write the number",
    "D-none": "Derive the agent from the base class, or accept that it stands alone",
    "D-stub": "Remove the stub, so that a failing import fails loudly",
    "D-indirect": "Nothing, if the class in between is meant to be there",
    "D-unparsed": "Correct the file, so that it can be judged",
    "H-live": "Change it, and let the agent read it from where secrets are kept",
    "H-default": "Remove the default, so that a missing credential is an error",
    "B-unknown": "Correct the name, or declare the agent",
    "B-self": "Remove the agent from its own dependencies",
    "B-duplicate": "Keep one of the two",
    "B-type": "Write a list of agent names",
    "B-cross-host": "Make sure that the other host is started first",
    "B-cycle": "Remove one dependency of the circle",
    "B-never-starts": "Correct what it waits for",
}
"""Every rule, in the order in which its findings are shown, with what to do if nothing better is known."""

_ORDER = {rule: number for number, rule in enumerate(RULES)}


@dataclass(frozen=True)
class Finding:
    """One audit result. ``file`` is relative to the project root for sources and as given for configs;
    ``line`` counts from 1. ``agent`` is None where the finding concerns a host or several agents; the
    ``evidence`` then has ``members``."""

    rule: str
    severity: str
    host: str
    agent: Optional[str]
    file: str
    line: int
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    fix: str = ""

    @property
    def risk(self) -> str:
        return self.rule[0]

    def document(self) -> dict[str, Any]:
        return {
            "risk": self.risk,
            "rule": self.rule,
            "severity": self.severity,
            "host": self.host,
            "agent": self.agent,
            "file": self.file,
            "line": self.line,
            "message": self.message,
            "evidence": dict(self.evidence),
            "fix": self.fix or RULES[self.rule],
        }


def ordered(findings: Iterable[Finding], hosts: Iterable[str]) -> tuple[Finding, ...]:
    """By risk, rule, host (in the order given), file, line and agent; each finding once."""
    place = {host: number for number, host in enumerate(hosts)}
    unique: dict[tuple[object, ...], Finding] = {}
    for finding in findings:
        key = (finding.rule, finding.host, finding.agent or "", finding.file, finding.line, finding.message)
        unique.setdefault(key, finding)
    return tuple(
        sorted(
            unique.values(),
            key=lambda one: (
                _ORDER[one.rule],
                place.get(one.host, len(place)),
                one.file,
                one.line,
                one.agent or "",
                one.message,
            ),
        )
    )


def counts(findings: Iterable[Finding]) -> dict[str, dict[str, int]]:
    """Risk to the number of findings per severity; risks without findings are left out."""
    found: dict[str, dict[str, int]] = {}
    for finding in findings:
        per_severity = found.setdefault(finding.risk, dict.fromkeys(SEVERITIES, 0))
        per_severity[finding.severity] += 1
    return {risk: found[risk] for risk in RISKS if risk in found}


def text_lines(findings: Iterable[Finding]) -> list[str]:
    """For people: grouped by risk, ``file:line`` first, the way out beneath each group of a rule."""
    lines: list[str] = []
    risk = rule = ""
    for finding in findings:
        if finding.risk != risk:
            risk = finding.risk
            lines += ["", f"Risk {risk}: {RISKS[risk]}"]
        if finding.rule != rule:
            rule = finding.rule
            lines.append(f"  {rule}: {RULES[rule]}")
        who = f"{finding.host}:{finding.agent}" if finding.agent else finding.host
        lines.append(f"    {finding.severity:8}  {finding.file}:{finding.line}  {who}: {finding.message}")
        if finding.fix and finding.fix != RULES[finding.rule]:
            lines.append(f"    {'':8}  {finding.fix}")
    return lines[1:]
