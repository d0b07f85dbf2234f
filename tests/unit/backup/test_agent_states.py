# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of the agents' states: complete, and without anybody's secrets."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from small_fleet import AGENTS, SmallFleet

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.agent_states import (
    architecture,
    document,
    host_states,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.credentials import REDACTED, shown
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


def test_every_agent_is_there_with_config_state_and_place(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    fleet = SmallFleet(folder)
    try:
        for host in AGENTS:
            fleet.make_root(host)
        fleet.stage("r-1")
        for host in AGENTS:
            (Path(fleet.root(host)) / "current").symlink_to("releases/r-1")
        hosts = {host: host_states(fleet.root(host), host, LocalRunner(), SystemClock()) for host in AGENTS}
    finally:
        fleet.stop()
        shutil.rmtree(folder, ignore_errors=True)
    whole = document(hosts, SystemClock())
    assert whole["agents"] == 5 and set(whole["hosts"]) == set(AGENTS)
    for host, agents in AGENTS.items():
        described = whole["hosts"][host]
        assert {"system", "release", "settings", "agents", "root", "taken"} <= set(described)
        for name, (port, dependencies) in agents.items():
            assert described["agents"][name]["config"]["port"] == port
            assert described["agents"][name]["dependencies"] == dependencies
    assert whole["architecture"]["dependencies"]["pc2:Edge"] == ["mainpc:Base"]
    assert whole["architecture"]["start_order"][0] == ["mainpc:Base", "pc2:Sink"]
    json.dumps(whole)


def test_a_folder_without_agents_has_a_state_too(tmp_path: Path) -> None:
    described = host_states(str(tmp_path), "pc2", LocalRunner(), SystemClock())
    assert described["agents"] == {} and described["system"]["processors"] > 0
    assert architecture({"pc2": described}) == {"dependencies": {}, "start_order": []}


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        ({"env_vars": {"HOME": "/x", "API_KEY": "s3cret"}}, {"env_vars": {"HOME": REDACTED, "API_KEY": REDACTED}}),
        ({"environment": ["A=s3cret"]}, {"environment": [REDACTED]}),
        ({"config": {"db_password": "s3cret", "port": 1}}, {"config": {"db_password": REDACTED, "port": 1}}),
        ({"config": {"tokens": ["s3cret", "s3cret"]}}, {"config": {"tokens": REDACTED}}),
        ({"password": {"value": "s3cret"}}, {"password": REDACTED}),
        ({"url": "redis://me:s3cret@db:6379/0"}, {"url": f"redis://{REDACTED}@db:6379/0"}),
        ({"script_path": "agents/x.py", "required": True}, {"script_path": "agents/x.py", "required": True}),
    ],
)
def test_no_secret_is_shown(setting: dict, seen: dict) -> None:
    assert shown(setting) == seen
