# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module, run by Ansible on the real startup configs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
FIXTURES = CHECKOUT / "tests" / "fixtures" / "fleet"
CONFIGS = {host: str(FIXTURES / host / "startup_config.yaml") for host in ("mainpc", "pc2")}
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-core is not installed beside this Python")


def fleet_info(folder: Path, arguments: dict[str, Any], *options: str) -> dict[str, Any]:
    """The module's result, in a play that goes on when it fails."""
    task = {"fleetops.continuity.fleet_info": arguments, "register": "fleet", "ignore_errors": True}
    save = {
        "ansible.builtin.copy": {"content": "{{ fleet | to_json }}", "dest": str(folder / "result.json")},
        "check_mode": False,
    }
    play = [{"hosts": "localhost", "gather_facts": False, "tasks": [task, save]}]
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    subprocess.run(
        [
            str(PLAYBOOK),
            "-i",
            "localhost,",
            "-c",
            "local",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            *options,
            "play.yml",
        ],
        cwd=folder,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache" / "collections"), "HOME": str(folder)},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return dict(json.loads((folder / "result.json").read_text()))


@pytest.mark.parametrize("options", [(), ("--check", "--diff")])
def test_the_real_fleet(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = fleet_info(tmp_path, {"configs": CONFIGS}, *options)
    assert result["changed"] is False
    assert [(host["name"], len(host["agents"])) for host in result["hosts"]] == [("mainpc", 54), ("pc2", 23)]
    assert len(result["agents"]) == 77
    assert result["problems"] == [] and result["unknown_dependencies"] == []
    assert len(result["layers"]) == 7
    assert result["cycles"] == [["mainpc:StreamingInterruptHandler", "mainpc:StreamingTTSAgent", "mainpc:TTSService"]]
    registry = next(agent for agent in result["agents"] if agent["id"] == "mainpc:ServiceRegistry")
    assert (registry["layer"], registry["port"], registry["line"]) == (0, 7200, 37)
    assert registry["dependants"] == 53


def test_values_resolve_expressions_and_settings_stay_out(tmp_path: Path) -> None:
    config = tmp_path / "startup_config.yaml"
    config.write_text(
        "agent_groups:\n  g:\n    A:\n      script_path: a.py\n      port: ${PORT_OFFSET}+7000\n      health_check_port: 8000\n"
        "      config: {password: hunter2}\n      env_vars: {TOKEN: hunter2}\nenvironment: {KEY: hunter2}\n"
    )
    result = fleet_info(tmp_path, {"configs": {"pc2": str(config)}, "values": {"PORT_OFFSET": 100}})
    assert result["agents"][0]["port"] == 7100
    assert result["agents"][0]["environment_names"] == ["TOKEN"]
    assert result["hosts"][0]["environment_names"] == ["KEY"]
    assert "hunter2" not in json.dumps(result)


def test_a_broken_config_is_a_problem_and_not_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("agent_groups: [\n")
    result = fleet_info(tmp_path, {"configs": {"mainpc": str(tmp_path / "broken.yaml"), "pc2": CONFIGS["pc2"]}})
    assert result["failed"] is False
    assert len(result["agents"]) == 23
    assert [(hit["rule"], hit["severity"], hit["host"], hit["line"]) for hit in result["problems"]] == [
        ("G-parse", "critical", "mainpc", 1)
    ]


def test_a_missing_option_is_one_clear_failure(tmp_path: Path) -> None:
    result = fleet_info(tmp_path, {})
    assert result["failed"] is True and "configs" in result["msg"]
