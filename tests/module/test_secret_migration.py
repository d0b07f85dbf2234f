# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module secret_migration through Ansible: plan, move, undo, and that no value gets out."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Any

import pytest
from playbook import Playbook

pyrage = pytest.importorskip("pyrage")
COMMAND = Path(sys.executable).with_name("ansible-playbook")
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="ansible-core is not installed beside this Python")


def identity(path: Path) -> str:
    made = pyrage.x25519.Identity.generate()
    path.write_text(str(made))
    path.chmod(0o400)
    return str(made.to_public())


def test_planned_moved_and_undone(tmp_path: Path) -> None:
    canary = f"Kx9{secrets.token_hex(10)}"
    config = tmp_path / "tree" / "hub.yml"
    config.parent.mkdir()
    config.write_text(f"# hub\ndatabase: {{password: '{canary}'}}  # rotate\n")
    original = config.read_bytes()
    options: dict[str, Any] = {
        "root": str(tmp_path / "tree"),
        "source": {
            "kind": "age",
            "file": str(tmp_path / "secrets.age"),
            "identity_files": [str(tmp_path / "agents.txt")],
        },
        "writer": {"recipients": [identity(tmp_path / "agents.txt")]},
        "prefix": "fleet",
        "backup": {"folder": str(tmp_path / "backup"), "recipients": [identity(tmp_path / "operator.txt")]},
    }
    play = Playbook(tmp_path / "play", {"one": {}})

    ran = play.task("secret_migration", options, "-vvvv", "--check", "--diff")
    planned = ran.results["one"]
    assert planned["changed"] is True and planned["run"] is None and config.read_bytes() == original
    assert '+hub.yml:2: database.password: "${DATABASE_PASSWORD}"' in ran.output
    assert canary not in ran.output and canary not in str(planned)
    assert not (tmp_path / "backup").exists()

    ran = play.task("secret_migration", options, "-vvvv", "--diff")
    moved = ran.results["one"]
    assert moved["changed"] is True and moved["state"] == "done"
    assert [(one["name"], one["path"]) for one in moved["moves"]] == [("DATABASE_PASSWORD", "fleet/DATABASE_PASSWORD")]
    assert config.read_text() == '# hub\ndatabase: {password: "${DATABASE_PASSWORD}"}  # rotate\n'
    assert canary not in ran.output and canary not in str(moved)

    assert play.task("secret_migration", options).results["one"]["changed"] is False

    options["backup"]["identity_files"] = [str(tmp_path / "operator.txt")]
    undo = {**options, "state": "undone", "run": moved["run"]}
    ran = play.task("secret_migration", undo, "-vvvv", "--diff")
    assert ran.results["one"]["restored"] == ["hub.yml"] and ran.results["one"]["kept"] == {}
    assert config.read_bytes() == original and canary not in ran.output
    assert play.task("secret_migration", undo).results["one"]["changed"] is False

    play.task("secret_migration", options)
    config.write_text(config.read_text() + "more: 1\n")
    run = play.task("secret_migration", {**undo, "run": "gone"}).results["one"]
    assert run["failed"] is True and run["error_code"] == "failed" and run["step"] == "undo"
