# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit as a command: its output, its exit status, and the same findings everywhere it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.plugin_utils import zipapp
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

CHECKOUT = Path(__file__).resolve().parents[3]
FLEET = CHECKOUT / "tests" / "fixtures" / "fleet"
BOTH = [f"--config={host}={FLEET / host / 'startup_config.yaml'}" for host in ("mainpc", "pc2")]
KEYS = ["risk", "rule", "severity", "host", "agent", "file", "line", "message", "evidence", "fix"]

REAL_FLEET = [
    ("C-collision", "pc2", None, 57),
    ("C-range", "mainpc", "RequestCoordinator", 67),
    ("C-range", "mainpc", "RequestCoordinator", 68),
    ("C-range", "mainpc", "ObservabilityHub", 82),
    ("C-range", "pc2", "ObservabilityHub", 259),
    ("C-range", "pc2", "ObservabilityHub", 260),
    ("B-cycle", "mainpc", None, 408),
    ("B-never-starts", "mainpc", "Responder", 338),
    ("B-never-starts", "mainpc", "TTSService", 383),
    ("B-never-starts", "mainpc", "StreamingInterruptHandler", 408),
    ("B-never-starts", "mainpc", "StreamingTTSAgent", 427),
    ("B-never-starts", "mainpc", "EmpathyAgent", 503),
]
"""Checked by hand; the table in docs/audit.md says why each is one."""


def run(capsys, *arguments):
    status = main(["audit", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_real_configs(capsys):
    status, out, _unused = run(capsys, *BOTH, "--format=json")
    document = json.loads(out)
    assert status == 1
    assert document["fleet"] == {"agents": 77, "waves": 7}
    assert [(one["rule"], one["host"], one["agent"], one["line"]) for one in document["findings"]] == REAL_FLEET
    assert all(list(one) == KEYS for one in document["findings"])
    assert document["findings"][0]["evidence"]["members"] == ["pc2:VisionProcessingAgent", "pc2:error_bus_port"]
    assert document["findings"][6]["evidence"]["members"] == [
        "mainpc:StreamingInterruptHandler",
        "mainpc:StreamingTTSAgent",
        "mainpc:TTSService",
    ]


def test_text_groups_by_risk(capsys):
    status, out, _unused = run(capsys, *BOTH)
    lines = out.splitlines()
    assert status == 1
    assert lines[0] == "Risk C: port space" and "Risk B: dependency graph" in lines
    assert any(f"{FLEET / 'pc2' / 'startup_config.yaml'}:57" in line for line in lines)
    assert lines[-1] == "77 agents in 7 waves: 12 findings (1 critical, 10 warnings, 1 info)"


def test_the_whole_fleet_takes_less_than_a_second(capsys):
    """Processor time, so that a busy machine changes nothing: 77 agents with their project."""
    project = CHECKOUT / "inventories" / "demo" / "project"
    started = time.process_time()
    status, out, _unused = run(capsys, *BOTH, f"--root={project}", "--format=json")
    assert time.process_time() - started < 1.0
    assert status == 1 and json.loads(out)["fleet"]["agents"] == 77


def test_the_sample_project(capsys):
    """48 agents stand on the base class, 12 of them through a parent in another file; 29 bypass it."""
    _unused, out, _unused = run(
        capsys, *BOTH, f"--root={CHECKOUT / 'inventories' / 'demo' / 'project'}", "--format=json"
    )
    found = Counter(one["rule"] for one in json.loads(out)["findings"] if one["risk"] in "AD")
    assert found == {"D-none": 26, "D-stub": 3, "D-indirect": 12}


def clean(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("agent_groups:\n  g:\n    A: {script_path: a.py, port: 5000, health_check_port: 6000}\n")
    return f"--config=one={path}"


def test_clean_is_0(capsys, tmp_path):
    status, out, _unused = run(capsys, clean(tmp_path))
    assert status == 0 and out.splitlines()[-1] == "1 agent in 1 wave: no findings"


def test_accepted_findings_leave_it_clean(capsys, tmp_path):
    baseline = tmp_path / "baseline.yml"
    baseline.write_text(
        "".join(["accepted:\n", *(f"- {{risk: {risk}, reason: known, expires: 2999-01-01}}\n" for risk in "CB")])
    )
    status, out, _unused = run(capsys, *BOTH, f"--baseline={baseline}", "--format=json")
    document = json.loads(out)
    assert status == 0 and document["findings"] == [] and len(document["baseline"]["accepted"]) == len(REAL_FLEET)


CANNOT = {
    "root is missing": ["--root=/nonexistent/root"],
    "config is no pair": ["--config=file.yaml"],
    "value is no pair": ["--value=X"],
    "baseline is missing": ["--baseline=/nonexistent/baseline.yml"],
    "range is none": ["--port-range=9000-5000"],
    "host twice": ["--config=one=/dev/null"],
}


@pytest.mark.parametrize("arguments", CANNOT.values(), ids=CANNOT.keys())
def test_what_cannot_be_audited_is_2(capsys, tmp_path, arguments):
    status, out, err = run(capsys, clean(tmp_path), *arguments)
    assert status == 2 and out == "" and err.startswith("continuity audit: ")


def test_a_fleet_without_agents_is_2_and_shows_its_findings(capsys, tmp_path):
    empty = tmp_path / "empty.yaml"
    empty.write_text("global_settings: {}\n")
    status, out, _unused = run(capsys, f"--config=one={empty}", "--format=json")
    document = json.loads(out)
    assert status == 2
    assert [one["rule"] for one in document["findings"]] == ["G-no-agents"]
    assert document["could_not_audit"]


def test_a_missing_config_beside_a_good_one_is_a_finding(capsys, tmp_path):
    status, out, _unused = run(capsys, clean(tmp_path), "--config=two=/nonexistent/two.yaml", "--format=json")
    document = json.loads(out)
    assert status == 1 and document["fleet"]["agents"] == 1
    assert ("G-parse", "two") in [(one["rule"], one["host"]) for one in document["findings"]]


def test_options_reach_the_audit(capsys):
    arguments = [*BOTH, "--port-range=5000-9100", "--allow-port=26002", "--allow-port=27002", "--format=json"]
    _unused, out, _unused = run(capsys, *arguments)
    found = [one for one in json.loads(out)["findings"] if one["rule"] == "C-range"]
    assert [(one["host"], one["evidence"]["port"]) for one in found] == [("pc2", 9000), ("pc2", 9100)]
    assert {one["severity"] for one in found} == {"info"}


@pytest.mark.parametrize("isolated", [[], ["-I", "-S"]], ids=["this Python", "without site-packages"])
def test_the_zipapp_says_the_same(capsys, tmp_path, isolated):
    _unused, expected, _unused = run(capsys, *BOTH, "--format=json")
    packed = tmp_path / "continuity.pyz"
    packed.write_bytes(zipapp.build())
    ran = subprocess.run(
        [sys.executable, *isolated, str(packed), "audit", *BOTH, "--format=json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, expected), ran.stderr


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_that_the_terminal_cannot_show(tmp_path, form):
    config = tmp_path / "config.yaml"
    entry = "A: {script_path: 'agents/\u00e9\u4e2d.py', port: 5000, health_check_port: 6000}"
    config.write_text(f"agent_groups:\n  g:\n    {entry}\n", encoding="utf-8")
    packed = tmp_path / "continuity.pyz"
    packed.write_bytes(zipapp.build())
    ran = subprocess.run(
        [sys.executable, str(packed), "audit", f"--config=one={config}", f"--root={tmp_path}", f"--format={form}"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1 and "A-missing" in ran.stdout and "\\u4e2d" in ran.stdout, ran.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--config=startup.yaml"], "--config 'startup.yaml' is no HOST=FILE. For example --config mainpc=config.yaml"),
        (["--config=mainpc="], "--config 'mainpc=' is no HOST=FILE"),
        ([*BOTH, "--value=PORT_OFFSET"], "is no NAME=VALUE. For example --value PORT_OFFSET=0"),
    ],
)
def test_a_malformed_option_shows_its_form(capsys, arguments, said):
    status, _unused, err = run(capsys, *arguments)
    assert status == 2 and said in err


def test_a_path_that_cannot_be_read_is_no_fault_of_the_yaml(capsys, tmp_path):
    _status, out, _unused = run(capsys, f"--config=mainpc={tmp_path}", "--format=json")
    (finding,) = json.loads(out)["findings"]
    assert (finding["rule"], finding["fix"]) == ("G-parse", "Give the path of a file")


def test_lost_agents_are_all_members(capsys, tmp_path):
    entry = "{script_path: a.py, port: 7001, health_check_port: 8001}"
    config = tmp_path / "config.yaml"
    config.write_text(f"agent_groups:\n  core:\n    A: {entry}\n    deep:\n      B: {entry}\n      C: {entry}\n")
    _status, out, _unused = run(capsys, f"--config=mainpc={config}", "--format=json")
    (finding,) = json.loads(out)["findings"]
    assert (finding["rule"], finding["evidence"]["members"]) == ("G-lost-agents", ["mainpc:B", "mainpc:C"])
