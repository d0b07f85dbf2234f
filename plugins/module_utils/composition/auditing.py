# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit of a fleet, with the credentials that are written down in its own files (risk H)."""

from __future__ import annotations

import os
from datetime import date
from typing import Iterator, Optional

from ..audit.audit import Report, Settings, audit
from ..audit.baseline import Baseline
from ..audit.findings import Finding
from ..fleet.model import AgentId, Fleet
from ..fleet.source_tree import ScriptError, SourceTree
from ..secrets.scan_findings import CLASSES
from ..secrets.scan_findings import Finding as Written
from ..secrets.scanning import scan_files

_ARTICLES = {"authorization": "an", "api_key": "an"}


def audit_fleet(
    fleet: Fleet, tree: Optional[SourceTree], *, settings: Settings, baseline: Baseline, today: date
) -> Report:
    """As ``audit``. Scanned are the startup configs and, with a tree, every file that an agent's process
    is made of; ``continuity.pyz scan`` looks at the rest of the tree."""
    found = tuple(_in_configs(fleet)) + (tuple(_in_sources(fleet, tree)) if tree is not None else ())
    return audit(fleet, tree, settings=settings, baseline=baseline, today=today, credentials=found)


def _in_configs(fleet: Fleet) -> Iterator[Finding]:
    for host in fleet.hosts:
        folder, name = os.path.split(host.file)
        for written in scan_files(folder or ".", [name])[0]:
            if written.blocking:
                yield _finding(written, host.file, host.host, None, ())


def _in_sources(fleet: Fleet, tree: SourceTree) -> Iterator[Finding]:
    users: dict[str, list[AgentId]] = {}
    for host in fleet.hosts:
        for agent in host.agents:
            try:
                files = tree.import_closure(agent.script_path, {**host.environment, **agent.environment}).files
            except ScriptError:
                continue
            for name in files:
                users.setdefault(name, []).append(agent.id)
    for written in scan_files(tree.root, sorted(users))[0]:
        if written.blocking:
            agents = users[written.file]
            only = agents[0].name if len(agents) == 1 else None
            members = tuple(map(str, agents)) if only is None else ()
            yield _finding(written, written.file, agents[0].host, only, members)


def _finding(written: Written, file: str, host: str, agent: Optional[str], members: tuple[str, ...]) -> Finding:
    evidence = {"kind": written.kind, "found_by": written.rule, "id": written.id, "members": list(members)}
    what = f"{_ARTICLES.get(written.kind, 'a')} {written.kind.replace('_', ' ')}"
    return Finding(
        f"H-{written.class_}",
        "warning",
        host,
        agent,
        file,
        written.line,
        f"{what} is written down, {CLASSES[written.class_]}",
        {key: value for key, value in evidence.items() if value},
    )
