# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo project is what it says: 77 agents, 48 on the base class, 29 that bypass it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from demo_agents import DEMO, PROJECT

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Report, Settings, audit
from ansible_collections.fleetops.continuity.plugins.module_utils.audit.baseline import Baseline, read_baseline
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree

CONFIGS = {
    "config/mainpc/startup_config.yaml": "8f975f3b4bdbd695d965464b46e18ec01031239f37ca18bf2f84cd1a345303c7",
    "config/pc2/startup_config.yaml": "f22e2ff2464623ce985700af52c0c329ef91b2c8bfea17ef1faddf62a979f9ee",
}
PARENTS = """
import importlib.util, json, sys
from common.core.base_agent import BaseAgent
standing = {}
for number, path in enumerate(sys.argv[1:]):
    spec = importlib.util.spec_from_file_location(f"script_{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    standing[path] = any(issubclass(one, BaseAgent) for one in own)
print(json.dumps(standing))
"""


def audited(fleet: Fleet, baseline: Baseline) -> Report:
    return audit(fleet, SourceTree(str(PROJECT)), settings=Settings(), baseline=baseline, today=date.today())


def test_configs_are_the_real_ones_byte_for_byte() -> None:
    for path, digest in CONFIGS.items():
        assert hashlib.sha256((PROJECT / path).read_bytes()).hexdigest() == digest, path


def test_every_declared_script_is_there_and_two_hosts_share_one(fleet: Fleet) -> None:
    assert [len(host.agents) for host in fleet.hosts] == [54, 23]
    scripts = [agent.script_path for agent in fleet]
    assert all((PROJECT / script).is_file() for script in scripts)
    assert len(scripts) == 77
    assert len(set(scripts)) == 76
    shared = {str(agent.id) for agent in fleet if scripts.count(agent.script_path) == 2}
    assert shared == {"MainPC:ObservabilityHub", "PC2:ObservabilityHub"}


@pytest.mark.usefixtures("python_with_zmq")
def test_the_audit_names_exactly_the_29_that_bypass_the_base_class(fleet: Fleet) -> None:
    """Judged against what Python itself says of the loaded classes."""
    scripts = sorted({str(PROJECT / agent.script_path) for agent in fleet})
    loaded = subprocess.run(
        [sys.executable, "-B", "-c", PARENTS, *scripts],
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    derived = json.loads(loaded.stdout)
    bypassing = {str(agent.id) for agent in fleet if not derived[str(PROJECT / agent.script_path)]}
    found = {
        f"{finding.host}:{finding.agent}"
        for finding in audited(fleet, Baseline()).findings
        if finding.rule in ("D-none", "D-stub", "D-unparsed")
    }
    assert len(bypassing) == 29
    assert found == bypassing


def test_every_finding_is_accepted_and_every_acceptance_is_needed(fleet: Fleet) -> None:
    report = audited(fleet, read_baseline(str(DEMO / "accepted_findings.yml")))
    assert report.findings == ()
    assert report.baseline.unused == ()
    assert report.baseline.expired == ()


def rules() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    variables = yaml.safe_load((DEMO / "group_vars" / "fleet.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = variables["continuity_agent_rules"]
    return found


def test_the_rules_name_exactly_the_agents_that_speak_zeromq(fleet: Fleet) -> None:
    sources = {str(agent.id): (PROJECT / agent.script_path).read_text(encoding="utf-8") for agent in fleet}
    service, health, everybody = rules()
    assert sorted(service["match"]) == sorted(name for name, text in sources.items() if "zmq_service" in text)
    assert sorted(health["match"]) == sorted(
        name for name, text in sources.items() if 'health_protocol = "zmq"' in text or 'health_protocol="zmq"' in text
    )
    assert everybody["match"] == ["*"]
