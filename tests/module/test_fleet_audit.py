# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit, run by Ansible on the real startup configs: as a module, and as the playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

import pytest
from playbook import COLLECTIONS, Playbook, Ran

CHECKOUT = Path(__file__).resolve().parents[2]
FLEET = CHECKOUT / "tests" / "fixtures" / "fleet"
CONFIGS = {host: str(FLEET / host / "startup_config.yaml") for host in ("mainpc", "pc2")}
COMMAND = Path(sys.executable).with_name("ansible-playbook")
ACCEPTED = "accepted:\n- {rule: C-collision, port: 7150, reason: the error bus is off, expires: 2999-01-01}\n"

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")


def audited(folder: Path, options: Mapping[str, Any], *arguments: str) -> tuple[Mapping[str, Any], Ran]:
    ran = Playbook(folder, {"controller": {}}).task("fleet_audit", options, *arguments)
    return ran.results["controller"], ran


@pytest.mark.parametrize("arguments", [(), ("--check", "--diff")], ids=["real", "check"])
def test_a_critical_finding_fails_the_task_and_is_returned(tmp_path, arguments):
    result, _unused = audited(tmp_path, {"configs": CONFIGS}, *arguments)
    assert result["failed"] is True and result["changed"] is False
    assert result["blocking"] == 1 and len(result["findings"]) == 12
    assert result["fleet"] == {"agents": 77, "waves": 7}
    assert "C-collision: port 7150 is claimed by" in result["msg"]
    assert set(result["not_audited"]) == {"A", "D"}
    assert result["report"][-1] == "77 agents in 7 waves: 12 findings (1 critical, 10 warnings, 1 info)"


def test_an_accepted_finding_lets_it_pass(tmp_path):
    baseline = tmp_path / "accepted.yml"
    baseline.write_text(ACCEPTED)
    result, _unused = audited(tmp_path, {"configs": CONFIGS, "baseline": str(baseline)})
    assert result["failed"] is False and result["blocking"] == 0 and len(result["findings"]) == 11
    assert result["baseline"]["accepted"][0]["rule"] == "C-collision"


def test_an_entry_that_accepts_nothing_is_a_warning(tmp_path):
    baseline = tmp_path / "accepted.yml"
    baseline.write_text(ACCEPTED.replace("7150", "7151") + ACCEPTED.splitlines()[1].replace("2999", "2020") + "\n")
    result, ran = audited(tmp_path, {"configs": CONFIGS, "baseline": str(baseline), "fail_on": "never"})
    assert result["failed"] is False
    assert "accepts nothing: no such finding" in ran.output and "accepts nothing: expired" in ran.output


@pytest.mark.parametrize("fail_on, failed", [("critical", True), ("warning", True), ("info", True), ("never", False)])
def test_fail_on(tmp_path, fail_on, failed):
    result, _unused = audited(tmp_path, {"configs": CONFIGS, "fail_on": fail_on})
    assert result["failed"] is failed
    assert result["blocking"] == {"critical": 1, "warning": 11, "info": 12, "never": 0}[fail_on]


def test_settings_reach_the_audit(tmp_path):
    options = {"configs": CONFIGS, "fail_on": "never", "port_range": [5000, 9100], "allowed_ports": [26002, 27002]}
    result, _unused = audited(tmp_path, options)
    assert {one["severity"] for one in result["findings"] if one["rule"] == "C-range"} == {"info"}


def test_a_project_is_audited_too(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "here.py").write_text("class Here: ...\n")
    config = tmp_path / "config.yaml"
    entries = ["Here: {script_path: here.py, port: 5000, health_check_port: 6000}"]
    entries.append("Gone: {script_path: gone.py, port: '${OFFSET}+5001', health_check_port: 6001}")
    config.write_text("agent_groups:\n  g:\n" + "".join(f"    {entry}\n" for entry in entries))
    options = {"configs": {"one": str(config)}, "project": str(project), "values": {"OFFSET": 0}}
    result, _unused = audited(tmp_path, options)
    assert [(one["rule"], one["agent"]) for one in result["findings"]] == [("A-missing", "Gone"), ("D-none", "Here")]
    assert result["not_audited"] == {}


def test_a_fleet_without_agents_fails_whatever_may_pass(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("global_settings: {}\n")
    result, _unused = audited(tmp_path, {"configs": {"one": str(config)}, "fail_on": "never"})
    assert result["failed"] is True and "no agent could be read" in result["msg"]
    assert [one["rule"] for one in result["findings"]] == ["G-no-agents"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"project": "/nonexistent/project"}, "project root is no folder"),
        ({"baseline": "/nonexistent/baseline.yml"}, "baseline cannot be read"),
        ({"port_range": [5000]}, "first and the last port"),
    ],
)
def test_what_cannot_be_audited_is_one_clear_failure(tmp_path, options, message):
    result, _unused = audited(tmp_path, {"configs": CONFIGS, **options})
    assert result["failed"] is True and message in result["msg"]


def run_playbook(
    folder: Path, hosts: Mapping[str, Mapping[str, Any]], *arguments: str
) -> subprocess.CompletedProcess[str]:
    inventory = {"fleet": {"vars": {"ansible_connection": "local"}, "hosts": hosts}}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    return subprocess.run(
        [str(COMMAND), "-i", str(folder / "inventory.json"), *arguments, "fleetops.continuity.audit"],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


HOSTS = {
    "machine-1": {"continuity_host": "mainpc", "continuity_startup_config": CONFIGS["mainpc"]},
    "pc2": {"continuity_startup_config": CONFIGS["pc2"]},
}


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--limit", "pc2")], ids=["real", "check", "limit"])
def test_the_playbook_audits_the_whole_fleet_and_fails_last(tmp_path, arguments):
    ran = run_playbook(tmp_path, HOSTS, *arguments)
    assert ran.returncode != 0
    assert "77 agents in 7 waves: 12 findings" in ran.stdout
    assert "1 finding is neither corrected nor accepted" in ran.stdout + ran.stderr
    assert '"continuity_audit_findings": 12' in ran.stdout.replace("'", '"')
    assert "changed=0" in ran.stdout


def test_the_playbook_passes_with_a_baseline(tmp_path):
    (tmp_path / "accepted.yml").write_text(ACCEPTED)
    ran = run_playbook(tmp_path, HOSTS, "--extra-vars", f"continuity_baseline={tmp_path / 'accepted.yml'}")
    assert ran.returncode == 0, ran.stdout
    assert "Accepted by the baseline: 1" in ran.stdout


def test_the_playbook_says_why_it_could_not_audit(tmp_path):
    ran = run_playbook(tmp_path, HOSTS, "--extra-vars", "continuity_project=/nonexistent/project")
    assert ran.returncode != 0
    assert "The project root is no folder" in ran.stdout
