# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin, run by ansible-inventory on a project checkout as AWX would have it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
FIXTURES = CHECKOUT / "tests" / "fixtures" / "fleet"
INVENTORY = Path(sys.executable).with_name("ansible-inventory")

pytestmark = pytest.mark.skipif(not INVENTORY.exists(), reason="ansible-core is not installed beside this Python")

SOURCE = """\
plugin: fleetops.continuity.fleet
configs:
  mainpc: config/mainpc/startup_config.yaml
  pc2: config/pc2/startup_config.yaml
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURES, tmp_path / "config")
    (tmp_path / "fleet.yml").write_text(SOURCE)
    return tmp_path


def run(
    project: Path, *options: str, source: str = "fleet.yml", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(INVENTORY), "-i", source, "--list", *options],
        cwd=project,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".cache" / "collections"),
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
            "HOME": str(project),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def plain(value: Any) -> Any:
    """Without the marks that ansible-inventory puts on text that is not to be templated."""
    if isinstance(value, dict):
        return (
            plain(value["__ansible_unsafe"])
            if set(value) == {"__ansible_unsafe"}
            else {k: plain(v) for k, v in value.items()}
        )
    return [plain(item) for item in value] if isinstance(value, list) else value


def listed(project: Path, *options: str, **environment: str) -> dict[str, Any]:
    ran = run(project, *options, **environment)
    assert ran.returncode == 0, ran.stderr
    return dict(plain(json.loads(ran.stdout)))


def test_hosts_groups_and_variables(project: Path) -> None:
    inventory = listed(project)
    variables = inventory["_meta"]["hostvars"]
    assert inventory["fleet"]["hosts"] == ["mainpc", "pc2"]
    assert inventory["agent_group_core_services"]["hosts"] == ["mainpc"]
    assert inventory["agent_group_pc2_services"]["hosts"] == ["pc2"]
    assert [len(variables[host]["fleet_agents"]) for host in ("mainpc", "pc2")] == [54, 23]
    assert variables["pc2"]["continuity_host"] == "pc2"
    assert variables["pc2"]["continuity_startup_config"] == str(project / "config/pc2/startup_config.yaml")
    assert "continuity_values" not in variables["pc2"]


def test_paths_do_not_hang_on_the_working_directory(project: Path) -> None:
    (project / "elsewhere").mkdir()
    ran = run(project / "elsewhere", source=str(project / "fleet.yml"))
    assert ran.returncode == 0, ran.stderr


def test_constructed_groups_host_variables_and_values(project: Path) -> None:
    (project / "fleet.yml").write_text(
        SOURCE
        + "values: {PORT_OFFSET: 0}\nhosts: {pc2: {ansible_host: 192.0.2.20, continuity_host: renamed}}\nstrict: true\n"
        "compose: {continuity_root: \"'/srv/' ~ continuity_host\"}\ngroups: {large: fleet_agents | length > 40}\n"
        "keyed_groups: [{prefix: is, key: continuity_host}]\n"
    )
    inventory = listed(project)
    variables = inventory["_meta"]["hostvars"]
    assert variables["pc2"]["ansible_host"] == "192.0.2.20"
    assert variables["pc2"]["continuity_root"] == "/srv/renamed"
    assert variables["mainpc"]["continuity_values"] == {"PORT_OFFSET": "0"}
    assert inventory["large"]["hosts"] == ["mainpc"]
    assert inventory["is_renamed"]["hosts"] == ["pc2"]


def test_every_critical_problem_is_named_at_once(project: Path) -> None:
    (project / "config/mainpc/startup_config.yaml").write_text("agent_groups: [\n")
    pc2 = project / "config/pc2/startup_config.yaml"
    pc2.write_text(pc2.read_text().replace("port: 7100", "port: seven").replace("port: 7101", "port: 80"))
    ran = run(project)
    assert ran.returncode != 0
    text = " ".join(ran.stderr.split())
    assert "3 critical problems" in text
    assert f"{project}/config/mainpc/startup_config.yaml:1: G-parse" in text
    assert f"{pc2}:20: G-schema: TieredResponder: port must be" in text
    assert f"{pc2}:29: G-schema: AsyncProcessor: port must be" in text


def test_variables_for_a_host_without_a_config_are_refused(project: Path) -> None:
    (project / "fleet.yml").write_text(SOURCE + "hosts: {pc3: {a: b}}\n")
    ran = run(project)
    assert ran.returncode != 0 and "pc3" in ran.stderr


def test_another_file_is_not_taken(project: Path) -> None:
    (project / "fleet.yml").rename(project / "hosts.yml")
    ran = run(project, source="hosts.yml")
    assert ran.returncode != 0


def test_text_of_a_config_is_never_a_template(project: Path) -> None:
    (project / "config/pc2/startup_config.yaml").write_text(
        "\"{{ lookup('pipe', 'id') }}\":\n  - {name: A, script_path: a.py, port: 7000, health_check_port: 8000}\n"
    )
    ran = run(project)
    assert ran.returncode == 0, ran.stderr
    assert "uid=" not in ran.stdout


def test_the_cache_answers_until_it_is_flushed(project: Path) -> None:
    cache = {
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(project / "cache"),
    }
    first = listed(project, **cache)
    assert list((project / "cache").iterdir())
    (project / "config/pc2/startup_config.yaml").unlink()
    assert listed(project, **cache) == first
    assert run(project, "--flush-cache", **cache).returncode != 0
