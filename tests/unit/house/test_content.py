# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module, role and playbook has what a user of the ecosystem expects of it."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
MODULES = sorted((CHECKOUT / "plugins/modules").glob("*.py"))
ROLES = sorted(path for path in (CHECKOUT / "roles").glob("*") if path.is_dir())
PLAYBOOKS = sorted((CHECKOUT / "playbooks").glob("*.yml"))
THROUGH_ANSIBLE = ("module",)
STATED = ("check_mode", "diff_mode", "idempotent")
FRAGMENT = "fleetops.continuity.attributes"
IMPERSONAL = re.compile("|".join(map(re.escape, {str(CHECKOUT), f"{Path.home()}/.pyenv"})))
"""Paths that mean something on this machine only."""


def constant(path: Path, name: str) -> Any:
    """A YAML document that a module keeps in a constant of this name."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return yaml.safe_load(ast.literal_eval(node.value))
    return None


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    return [CHECKOUT / name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


def test_action_group_lists_exactly_the_modules() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta/runtime.yml").read_text())
    assert runtime["action_groups"] == {"continuity": [module.stem for module in MODULES]}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_module_documentation(module: Path) -> None:
    documentation = constant(module, "DOCUMENTATION")
    assert documentation["module"] == module.stem
    assert documentation["version_added"]
    assert FRAGMENT in documentation["extends_documentation_fragment"]
    attributes = documentation["attributes"]
    assert [name for name in STATED if "support" not in attributes.get(name, {})] == []
    assert [
        name for name in STATED if attributes[name]["support"] != "full" and "details" not in attributes[name]
    ] == []
    examples = constant(module, "EXAMPLES")
    used = {key for task in examples for key in task if key.startswith("fleetops.continuity.")}
    assert f"fleetops.continuity.{module.stem}" in used
    for name, value in constant(module, "RETURN").items():
        assert {"description", "returned", "type"} <= set(value), name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_module_is_tested_through_ansible(module: Path) -> None:
    name = re.compile(rf"\b{module.stem}\b")
    texts = [path for folder in THROUGH_ANSIBLE for path in (CHECKOUT / "tests" / folder).rglob("*.py")]
    assert any(name.search(path.read_text()) for path in texts), f"no test in {THROUGH_ANSIBLE} names {module.stem}"


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_role(role: Path) -> None:
    assert (role / "README.md").is_file()
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    defaults_file = role / "defaults/main.yml"
    defaults = yaml.safe_load(defaults_file.read_text()) or {} if defaults_file.exists() else {}
    declared = {name: option for spec in specs.values() for name, option in (spec.get("options") or {}).items()}
    for entry_point, spec in specs.items():
        assert spec.get("short_description"), entry_point
    assert [name for name, option in declared.items() if "type" not in option] == []
    without_default = {name for name, option in declared.items() if "default" not in option}
    assert set(defaults) | without_default == set(declared)
    assert {name: option["default"] for name, option in declared.items() if "default" in option} == {
        name: value for name, value in defaults.items() if name not in without_default
    }


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbook_is_documented(playbook: Path) -> None:
    assert re.fullmatch(r"[a-z_]+\.yml", playbook.name)
    for play in yaml.safe_load(playbook.read_text()):
        assert play.get("name")
    name = f"fleetops.continuity.{playbook.stem}"
    pages = [CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]
    assert any(name in page.read_text() for page in pages), f"no page of documentation names {name}"


def test_no_path_of_one_machine() -> None:
    found = []
    for path in tracked_files():
        if path == Path(__file__).resolve() or path.is_symlink():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(CHECKOUT)}: {match.group()}" for match in IMPERSONAL.finditer(text)]
    assert found == []


def test_no_sanity_ignore_and_no_lint_skip() -> None:
    assert [path.name for path in (CHECKOUT / "tests/sanity").glob("ignore*")] == []
    settings = yaml.safe_load((CHECKOUT / ".ansible-lint").read_text())
    assert settings["profile"] == "production"
    assert not {"skip_list", "warn_list"} & set(settings)
    assert not (CHECKOUT / ".ansible-lint-ignore").exists()
    skips = [
        str(path.relative_to(CHECKOUT))
        for path in tracked_files()
        if path.suffix in (".yml", ".yaml") and "# noqa" in path.read_text(errors="replace")
    ]
    assert skips == []
