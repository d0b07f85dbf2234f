# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk G: what is wrong in a startup config, as its reader reported it."""

from __future__ import annotations

from typing import Iterator

from ..fleet.model import Fleet, Problem
from .findings import Finding


def find(fleet: Fleet) -> Iterator[Finding]:
    return (_finding(problem) for problem in fleet.problems if problem.rule.startswith("G-"))


def reported(fleet: Fleet, risk: str) -> Iterator[Finding]:
    """Findings of another risk that only the reader can see, such as a list that is none."""
    return (_finding(problem) for problem in fleet.problems if problem.rule.startswith(f"{risk}-"))


def _finding(problem: Problem) -> Finding:
    evidence = {
        "key": problem.key,
        "expected": problem.expected,
        "found": problem.found,
        "members": list(problem.members),
    }
    return Finding(
        problem.rule,
        problem.severity,
        problem.host,
        problem.agent,
        problem.location.file,
        problem.location.line,
        _without_name(problem),
        {key: value for key, value in evidence.items() if value},
        _fix(problem),
    )


def _fix(problem: Problem) -> str:
    if problem.rule == "G-schema" and problem.expected:
        return f"Write {problem.expected}"
    if problem.rule == "G-parse" and problem.expected.endswith(" file"):
        return f"Give the path of {problem.expected}"
    if problem.rule == "G-parse" and problem.expected.startswith("one of the two versions"):
        return f"Keep {problem.expected}"
    return ""


def _without_name(problem: Problem) -> str:
    """The sentence alone: a finding names its agent beside it."""
    name = f"{problem.agent}: "
    return problem.message[len(name) :] if problem.agent and problem.message.startswith(name) else problem.message
