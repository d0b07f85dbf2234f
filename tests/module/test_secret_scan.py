# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module secret_scan through Ansible: what it returns, when it fails, and that no value gets out."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest
from playbook import Playbook

COMMAND = Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")


@pytest.fixture
def canary() -> str:
    return f"Kx9{secrets.token_hex(10)}"


@pytest.fixture
def tree(tmp_path: Path, canary: str) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "agent.py").write_text(f'import os\nTOKEN = os.environ.get("HUB_TOKEN", "{canary}")\n')
    (root / "compose.yml").write_text(f"environment:\n  - POSTGRES_PASSWORD={canary}\n")
    return root


@pytest.mark.parametrize("arguments", [("-vvvv",), ("-vvvv", "--check", "--diff")], ids=["real", "check"])
def test_findings_fail_the_task_and_no_value_is_seen(tmp_path, tree, canary, arguments):
    ran = Playbook(tmp_path / "play", {"one": {}}).task("secret_scan", {"root": str(tree)}, *arguments)
    result = ran.results["one"]
    assert result["failed"] is True and result["changed"] is False
    assert [(one["file"], one["line"], one["class"]) for one in result["findings"]] == [
        ("agent.py", 2, "default"),
        ("compose.yml", 2, "live"),
    ]
    assert result["summary"]["live"] == 1 and result["files"] == 2 and result["unread"] == []
    assert canary not in ran.output and canary not in str(result)


def test_an_accepted_finding_lets_it_pass(tmp_path, tree):
    baseline = tmp_path / "accepted.yml"
    entry = "{file: '*', owner: fleet team, reason: moving to Vault, expires: 2999-01-01}"
    gone = "{id: 0000000000000000, owner: nobody, reason: gone, expires: 2999-01-01}"
    baseline.write_text(f"accepted:\n- {entry}\n- {gone}\n")
    ran = Playbook(tmp_path / "play", {"one": {}}).task("secret_scan", {"root": str(tree), "baseline": str(baseline)})
    assert ran.results["one"]["failed"] is False and len(ran.results["one"]["baseline"]["accepted"]) == 2
    assert "accepted.yml:3 accepts nothing" in ran.output


def test_findings_may_only_be_reported(tmp_path, tree):
    options = {"root": str(tree), "processes": True, "fail_on_findings": False}
    result = Playbook(tmp_path / "play", {"one": {}}).task("secret_scan", options).results["one"]
    assert result["failed"] is False and len(result["findings"]) == 2 and result["closed_environments"] >= 0


def test_nothing_to_scan_is_one_clear_failure(tmp_path):
    result = Playbook(tmp_path / "play", {"one": {}}).task("secret_scan", {}).results["one"]
    assert result["failed"] is True and "nothing to scan" in result["msg"]
