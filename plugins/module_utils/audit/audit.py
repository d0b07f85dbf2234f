# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet and its project in, a report out. Nothing is changed, started or imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Iterator, Optional, Sequence

from ..fleet.dependencies import DependencyGraph, resolve
from ..fleet.model import Fleet
from ..fleet.source_file import collector_paused
from ..fleet.source_tree import SourceTree
from . import risk_a_scripts, risk_b_dependencies, risk_c_ports, risk_d_base_agent, risk_g_config
from .baseline import Applied, Baseline
from .findings import RISKS, SEVERITIES, Finding, counts, ordered, text_lines
from .inheritance import BaseClass
from .projects import Projects


@dataclass(frozen=True)
class Settings:
    """``port_range`` includes both ends; ``allowed_ports`` lie outside of it on purpose."""

    base: BaseClass = field(default_factory=BaseClass)
    port_range: tuple[int, int] = (5000, 9000)
    allowed_ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Report:
    """``findings`` are those that nobody accepted. ``not_audited`` maps a risk to why it was left out.
    ``unreadable`` says why the audit is none, though it has findings."""

    findings: tuple[Finding, ...]
    agents: int
    waves: int
    baseline: Applied
    not_audited: dict[str, str]
    unreadable: Optional[str] = None

    def blocking(self, severity: str) -> tuple[Finding, ...]:
        """Findings at least as bad as ``severity`` (``critical warning info``; ``never`` for none)."""
        if severity not in SEVERITIES:
            return ()
        bad = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return tuple(finding for finding in self.findings if finding.severity in bad)

    def document(self) -> dict[str, Any]:
        return {
            "findings": [finding.document() for finding in self.findings],
            "fleet": {"agents": self.agents, "waves": self.waves},
            "summary": counts(self.findings),
            "baseline": self.baseline.document(),
            "not_audited": self.not_audited,
            "could_not_audit": self.unreadable,
        }

    def text(self) -> str:
        left_out = [f"Risk {risk} ({RISKS[risk]}) was not audited: {why}" for risk, why in self.not_audited.items()]
        cannot = [f"Could not audit: {self.unreadable}"] if self.unreadable else []
        agents, waves = _number(self.agents, "agent"), _number(self.waves, "wave")
        last = f"{agents} in {waves}: {self._verdict()}"
        parts = [text_lines(self.findings), self.baseline.lines(), [*left_out, *cannot, last]]
        return "\n\n".join("\n".join(lines) for lines in parts if lines)

    def _verdict(self) -> str:
        if not self.findings:
            return "no findings"
        worst = [(name, sum(one.severity == name for one in self.findings)) for name in SEVERITIES]
        shown = ", ".join(
            _number(count, name) if name == "warning" else f"{count} {name}" for name, count in worst if count
        )
        return f"{_number(len(self.findings), 'finding')} ({shown})"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def audit(
    fleet: Fleet,
    tree: Optional[SourceTree],
    *,
    settings: Settings,
    baseline: Baseline,
    today: date,
    credentials: Sequence[Finding] = (),
) -> Report:
    """Without a tree only what the startup configs themselves tell is audited: G, C and B.
    ``credentials`` are the findings of risk H, made elsewhere."""
    graph = resolve(fleet)
    with collector_paused():
        found = ordered([*_all(fleet, tree, graph, settings), *credentials], [host.host for host in fleet.hosts])
    applied = baseline.apply(found, today)
    no_tree = "it needs the project root (--root)"
    return Report(
        findings=applied.remaining,
        agents=len(fleet),
        waves=len(graph.layers),
        baseline=applied,
        not_audited={} if tree is not None else {"A": no_tree, "D": no_tree},
        unreadable=None if len(fleet) else "no agent could be read from any startup config",
    )


def _all(fleet: Fleet, tree: Optional[SourceTree], graph: DependencyGraph, settings: Settings) -> Iterator[Finding]:
    yield from risk_g_config.find(fleet)
    if tree is not None:
        projects = Projects(tree, fleet, settings.base)
        yield from risk_a_scripts.find(fleet, projects)
        yield from risk_d_base_agent.find(fleet, projects)
    yield from risk_c_ports.find(fleet, settings.port_range, settings.allowed_ports)
    yield from risk_b_dependencies.find(fleet, graph)
