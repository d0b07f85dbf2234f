# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risk H: credentials written down in startup configs and in what agents are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line import main

CANARY = "falconKq81Zx"
CONFIG = """\
agent_groups:
  core:
    One: {script_path: agents/one.py, port: 7001, health_check_port: 8001}
    Two:
      script_path: agents/two.py
      port: 7002
      health_check_port: 8002
      env_vars:
        HUB_TOKEN: %s
        API_KEY: ${API_KEY}
"""


@pytest.fixture
def fleet(tmp_path: Path) -> list[str]:
    files = {
        "common/shared.py": f'PASSWORD = "{CANARY}"\n',
        "agents/one.py": f'import os\nimport common.shared\nT = os.environ.get("T_TOKEN", "{CANARY}")\n',
        "agents/two.py": "import common.shared\n",
        "agents/unused.py": f'PASSWORD = "{CANARY}"\n',
        "common/__init__.py": "",
        "config/startup_config.yaml": CONFIG % CANARY,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return ["audit", f"--config=mainpc={tmp_path}/config/startup_config.yaml", "--format=json", f"--root={tmp_path}"]


def audited(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    main(arguments)
    out, _error = capsys.readouterr()
    assert CANARY not in out
    return [one for one in json.loads(out)["findings"] if one["risk"] == "H"]


def test_configs_and_what_agents_are_made_of(fleet, capsys):
    found = audited(fleet, capsys)
    assert [(Path(one["file"]).name, one["line"], one["rule"], one["agent"]) for one in found] == [
        ("startup_config.yaml", 9, "H-live", None),
        ("shared.py", 1, "H-live", None),
        ("one.py", 3, "H-default", "One"),
    ]
    assert found[1]["evidence"]["members"] == ["mainpc:One", "mainpc:Two"]
    assert {one["severity"] for one in found} == {"warning"}
    assert found[0]["message"] == "a token is written down, in use as it stands"


def test_without_a_tree_the_configs_alone(fleet, capsys):
    assert [one["line"] for one in audited(fleet[:-1], capsys)] == [9]


def test_a_finding_can_be_accepted(fleet, capsys, tmp_path):
    accepted = tmp_path / "accepted.yml"
    accepted.write_text("accepted:\n- {rule: H-live, member: mainpc:Two, reason: moves, expires: 2999-01-01}\n")
    found = audited([*fleet, f"--baseline={accepted}"], capsys)
    assert [Path(one["file"]).name for one in found] == ["startup_config.yaml", "one.py"]


def test_a_config_that_is_broken_is_scanned_all_the_same(fleet, capsys, tmp_path):
    (tmp_path / "config/startup_config.yaml").write_text(f"agent_groups: [\nhub_token: {CANARY}\n")
    assert [one["line"] for one in audited(fleet, capsys)] == [2]


@pytest.mark.parametrize(
    "text",
    [f"agent_groups: [\nhub_token: {CANARY}\n", f"a: &b\nhub_token: !odd {CANARY}\n", f"hub_token: !!int {CANARY}\n"],
)
def test_what_is_said_of_a_broken_config_shows_no_credential(fleet, capsys, tmp_path, text):
    (tmp_path / "config/startup_config.yaml").write_text(text)
    assert len(audited(fleet, capsys)) == ("!odd" not in text)
