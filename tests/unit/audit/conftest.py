# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small project tree and its startup config, written as a real fleet writes them."""

from __future__ import annotations

import textwrap
from datetime import date
from pathlib import Path
from typing import Callable, Mapping, Optional, Union

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Report, Settings, audit
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import Baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.findings import Finding
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet

BASE_AGENT = """
import threading

class BaseAgent:
    def __init__(self, name=None, port=None, health_check_port=None):
        self.name = name

    def run(self):
        threading.Event().wait()
"""

PATH_MANAGER = """
from pathlib import Path

class PathManager:
    @staticmethod
    def get_project_root():
        return Path(__file__).resolve().parents[2]

def join_path(*parts):
    return PathManager.get_project_root().joinpath(*parts)
"""

COMMON = {
    "common/__init__.py": "",
    "common/core/__init__.py": "",
    "common/core/base_agent.py": BASE_AGENT,
    "common/utils/__init__.py": "",
    "common/utils/path_manager.py": PATH_MANAGER,
}

Files = Mapping[str, Union[str, bytes]]


class Project:
    """Files below ``root``, and the configs of hosts beside it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.root.mkdir()
        self.configs: list[tuple[str, str]] = []
        self._folder = folder

    def write(self, files: Files) -> Project:
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        return self

    def config(self, host: str, text: str) -> Project:
        path = self._folder / f"{host}.yaml"
        path.write_text(textwrap.dedent(text))
        self.configs.append((host, str(path)))
        return self

    def agents(self, scripts: Mapping[str, str], host: str = "mainpc") -> Project:
        """A config in which each agent has its script and ports of its own."""
        lines = ["agent_groups:", "  all:"]
        for number, (name, script) in enumerate(scripts.items()):
            lines += [
                f"    {name}:",
                f"      script_path: {script}",
                f"      port: {5000 + number}",
                f"      health_check_port: {6000 + number}",
            ]
        return self.config(host, "\n".join(lines) + "\n")

    def audit(
        self,
        *,
        values: Optional[Mapping[str, str]] = None,
        settings: Optional[Settings] = None,
        baseline: Optional[Baseline] = None,
        tree: bool = True,
        today: date = date(2026, 11, 20),
    ) -> Report:
        return audit(
            load_fleet(self.configs, values=values or {}),
            SourceTree(str(self.root)) if tree else None,
            settings=settings or Settings(),
            baseline=baseline or Baseline(),
            today=today,
        )

    def findings(self, risk: str, **options: object) -> list[Finding]:
        return [found for found in self.audit(**options).findings if found.risk == risk]  # type: ignore[arg-type]

    def rules(self, risk: str, **options: object) -> list[tuple[str, Optional[str]]]:
        return [(found.rule, found.agent) for found in self.findings(risk, **options)]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def one(project: Project) -> Callable[..., Project]:
    """A project with the common modules and one agent, ``Sample``, whose script is given."""

    def build(
        script: Union[str, bytes], extra: Optional[Files] = None, path: str = "main_pc_code/agents/sample.py"
    ) -> Project:
        return project.write({**COMMON, path: script, **(extra or {})}).agents({"Sample": path})

    return build
