# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases out of a small project: the same bytes each time, the right agents changed, scripts that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.source_tree import SourceTree
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.agent_rules import AgentRules
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.project_files import scan
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.release_build import (
    BUILD_FORMAT,
    HostInput,
    build,
    default_id,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.releases import Releases
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.start_script import (
    VariableError,
    environment_of,
)

FILES = {
    "agents/alone.py": "import json, os, sys\nprint(json.dumps([dict(os.environ), os.getcwd(), sys.argv]))\n",
    "agents/shares.py": "from common import base\n",
    "agents/plugins/loads.py": "import importlib, sys\nimportlib.import_module(sys.argv[1])\n",
    "agents/notes.txt": "beside the scripts\n",
    "common/__init__.py": "",
    "common/base.py": "from . import deep\n",
    "common/deep.py": "VALUE = 1\n",
    "models/small.bin": "weights",
    "unused.py": "nobody = 1\n",
}
CONFIG = """
global_settings:
  environment: {LOG_LEVEL: INFO}
agent_groups:
  all:
    Alone: {script_path: agents/alone.py, port: 7101, health_check_port: 8101, config: {model: models}}
    Shares: {script_path: agents/shares.py, port: 7102, health_check_port: 8102, dependencies: [Alone]}
    Loads: {script_path: agents/plugins/loads.py, port: 7103, health_check_port: 8103, required: false}
"""
GOLDEN = "48b4e53792095deadbc4b578de96047751c84cd8a6cfdc2bda7782a1ec8d6ac0"


class Workshop:
    """A project folder and one host's config, from which releases are built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "project/config/startup_config.yaml"
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)
        for path, content in FILES.items():
            self.write(path, content)

    def write(self, path, content):
        file = self.folder / "project" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def build(self, release_id=None, *, python=sys.executable, rules=(), values=None, address=None):
        fleet = load_fleet([("MainPC", str(self.config))], values=values or {})
        graph = resolve(fleet)
        host = HostInput(
            fleet.hosts[0], self.config.read_bytes(), python, address, AgentRules.parse(list(rules)), values or {}
        )
        project = scan(str(self.folder / "project"))
        tree = SourceTree(str(self.folder / "project"))
        return build(host, release_id or default_id(project, [host]), project, tree, graph.edges, graph.layer_of)

    def fingerprints(self, **options):
        return {name: agent.fingerprint for name, agent in self.build(**options).release.agents.items()}


@pytest.fixture
def workshop(tmp_path):
    return Workshop(tmp_path)


def test_the_same_input_is_the_same_release_wherever_it_lies(workshop, tmp_path):
    other = Workshop(tmp_path / "elsewhere")
    one, two = workshop.build(), other.build()
    assert one.archive() == two.archive()
    assert one.release == two.release
    assert one.release.id.startswith("r-") and len(one.release.id) == 14


def test_a_change_of_what_is_built_needs_a_new_build_format(workshop):
    """The id is made from the input: where the same input gives another release, ids would be used twice.
    When this fails on purpose, raise BUILD_FORMAT and write the new digest here."""
    built = workshop.build("golden", python="/usr/bin/python3", rules=[{"match": ["*"], "socket": True}])
    assert (BUILD_FORMAT, built.release.digest) == (1, GOLDEN)


def test_what_a_release_says_of_its_agents(workshop):
    agents = workshop.build().release.agents
    assert {name: agent.layer for name, agent in agents.items()} == {"Alone": 0, "Shares": 1, "Loads": 0}
    assert agents["Shares"].dependencies == ("MainPC:Alone",)
    assert [agents[name].required for name in ("Alone", "Loads")] == [True, False]
    assert agents["Alone"].unit.directory == "state/Alone"


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("agents/alone.py", {"Alone", "Loads"}),
        ("common/deep.py", {"Shares", "Loads"}),
        ("unused.py", {"Loads"}),
        ("agents/notes.txt", {"Alone", "Shares", "Loads"}),
        ("models/small.bin", {"Alone", "Loads"}),
        ("models/new/large.bin", {"Alone", "Loads"}),
        ("agents/unused.py", {"Loads"}),
    ],
)
def test_exactly_the_agents_that_are_made_of_a_file_change_with_it(workshop, path, changed):
    before = workshop.fingerprints()
    workshop.write(path, "changed = 2\n")
    after = workshop.fingerprints()
    assert {name for name in after if after[name] != before[name]} == changed


def test_entry_environment_rule_and_interpreter_change_an_agent(workshop):
    before = workshop.fingerprints()

    def changed(**options):
        after = workshop.fingerprints(**options)
        return {name for name in after if after[name] != before[name]}

    assert changed() == set()
    assert changed(rules=[{"match": ["*:Alone"], "socket": True}]) == {"Alone"}
    assert changed(rules=[{"match": ["*:Shares"], "probe": {"kind": "http"}}]) == {"Shares"}
    assert changed(python="/usr/bin/python3") == set(before)
    assert changed(address="127.0.0.9") == set(before)
    assert changed(release_id="another") == set()
    text = workshop.config.read_text()
    workshop.config.write_text(text.replace("model: models", "model: models, size: 2"))
    assert {"Alone"} <= changed() <= {"Alone", "Loads"}  # Loads: its config is part of the whole project
    workshop.config.write_text(text.replace("LOG_LEVEL: INFO", "LOG_LEVEL: DEBUG"))
    assert changed() == set(before)


def test_files_that_an_agents_environment_names_count_for_it(workshop):
    text = workshop.config.read_text()
    workshop.config.write_text(text.replace("dependencies: [Alone]", "env_vars: {MODELS: '${PWD}/models'}"))
    before = workshop.fingerprints()
    workshop.write("models/small.bin", "other weights")
    after = workshop.fingerprints()
    assert before["Shares"] != after["Shares"]


def test_the_id_depends_on_everything_that_a_release_is_made_of(workshop):
    ids = {workshop.build().release.id}
    ids.add(workshop.build(python="/usr/bin/python3").release.id)
    ids.add(workshop.build(rules=[{"match": ["x"], "socket": True}]).release.id)
    ids.add(workshop.build(values={"A": "1"}).release.id)
    ids.add(workshop.build(address="127.0.0.9").release.id)
    workshop.write("unused.py", "somebody = 1\n")
    ids.add(workshop.build().release.id)
    workshop.config.write_text(CONFIG + "# a comment\n")
    ids.add(workshop.build().release.id)
    assert len(ids) == 7


def installed(workshop, built):
    """The release under a root, with the link through which a supervisor starts its agents."""
    root = workshop.folder / "root with space"
    archive = workshop.folder / "archive"
    archive.write_bytes(built.archive())
    releases = Releases(str(root))
    releases.stage(str(archive), built.release.digest)
    assert releases.verify(built.release.id) == []
    for name in built.release.agents:
        (root / "state" / name).mkdir(parents=True, exist_ok=True)
        releases.point(name, "blue", built.release.id)
    return root


def run_agent(root, name="Alone", *arguments):
    script = root / "agents" / name / "blue" / "units" / name
    ran = subprocess.run(
        [str(script), *arguments], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    return json.loads(ran.stdout)


def test_an_agent_finds_its_environment(workshop):
    built = workshop.build(address="127.0.0.9")
    root = installed(workshop, built)
    release = root / "releases" / built.release.id
    environment, folder, argv = run_agent(root, "Alone", "1")
    expected = {
        "AGENT_NAME": "Alone",
        "AGENT_HOST": "MainPC",
        "AGENT_BIND": "127.0.0.9",
        "AGENT_PORT": "7101",
        "AGENT_HEALTH_PORT": "8101",
        "AGENT_STATE_DIR": str(root / "state/Alone"),
        "AGENT_LOG_FILE": str(root / "logs/Alone.log"),
        "AGENT_CONFIG": str(release / "config/startup_config.yaml"),
        "AGENT_RELEASE": built.release.id,
        "LOG_LEVEL": "INFO",
        "PYTHONPATH": str(release / "code"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert {name: environment[name] for name in expected} == expected
    assert folder == str(root / "state/Alone")
    assert argv == [str(release / "code/agents/alone.py")]


def test_a_root_can_be_moved(workshop):
    root = installed(workshop, workshop.build())
    moved = root.rename(root.parent / "moved")
    assert run_agent(moved)[1] == str(moved / "state/Alone")


def test_the_script_itself_names_its_release(workshop):
    """A link that moves between the start of the script and its first line changes nothing."""
    root = installed(workshop, workshop.build("one"))
    installed(workshop, workshop.build("two"))
    copied = root / "agents/Alone/blue/units/Alone"
    content = (root / "releases/one/units/Alone").read_text()
    assert "release=$root/releases/one" in content
    assert run_agent(root)[0]["AGENT_RELEASE"] == "two"
    ran = subprocess.run(["sh", "-c", content, str(copied)], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout)[0]["AGENT_RELEASE"] == "one"
    assert json.loads(ran.stdout)[2] == [str(root / "releases/one/code/agents/alone.py")]


def test_process_0_only_holds_the_socket(workshop):
    root = installed(workshop, workshop.build())
    holder = subprocess.Popen([str(root / "agents/Alone/blue/units/Alone"), "0"])
    time.sleep(0.3)
    command = Path(f"/proc/{holder.pid}/cmdline").read_bytes().split(b"\0")
    holder.terminate()
    assert holder.wait(timeout=5) == -15
    assert command[0] == b"sleep"


def test_expressions_are_resolved_or_kept_as_data(workshop):
    environment = {
        "PYTHONPATH": "${PYTHONPATH}:${PWD}/..:${PWD}/common::lib:/opt/x:lib",
        "HUB": "${NOWHERE}",
        "URL": "${BASE:-http://a:1}/x",
        "GIVEN": "${GIVEN_VALUE}",
        "HERE": "${PWD}/models",
        "SHELL_TEXT": "$(touch /tmp/never) `id` $HOME 'q' \"d\" \\ \n;&|",
        "release": "mine",
        "IFS": "x",
        "AGENT_NAME": "Impostor",
    }
    agents = {
        "agent_groups": {
            "g": {
                "Alone": {
                    "script_path": "agents/alone.py",
                    "port": 7101,
                    "health_check_port": 8101,
                    "env_vars": environment,
                }
            }
        }
    }
    workshop.config.write_text(json.dumps(agents))
    built = workshop.build(values={"GIVEN_VALUE": "${PWD} $x"})
    root = installed(workshop, built)
    code = str(root / "releases" / built.release.id / "code")
    found = run_agent(root)[0]
    assert found["PYTHONPATH"] == f"{code}:{code}/common:{code}/lib:/opt/x"
    assert found["HUB"] == "${NOWHERE}"
    assert found["URL"] == "http://a:1/x"
    assert found["GIVEN"] == "${PWD} $x"
    assert found["HERE"] == f"{code}/models"
    assert found["SHELL_TEXT"] == environment["SHELL_TEXT"]
    assert (found["release"], found["IFS"]) == ("mine", "x")
    assert found["AGENT_NAME"] == "Alone"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["C"], include_characters="\n\t"), max_size=40))
def test_any_value_reaches_the_agent_unchanged(workshop, value):
    agent = {"script_path": "agents/alone.py", "port": 7101, "health_check_port": 8101, "env_vars": {"VALUE": value}}
    workshop.config.write_text(json.dumps({"agent_groups": {"g": {"Alone": agent}}}, ensure_ascii=False))
    if "${" in value:
        return
    root = installed(workshop, workshop.build())
    assert run_agent(root)[0]["VALUE"] == value


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("agent_groups: {", "not valid YAML"),
        ("agent_groups: {}", "no agent"),
        (
            "agent_groups: {g: {A: {script_path: nowhere.py, port: 7101, health_check_port: 8101}}}",
            r"\.yaml:1: MainPC:A: script_path 'nowhere.py' does not exist. ",
        ),
        (
            "agent_groups: {g: {A: {script_path: ../../up.py, port: 7101, health_check_port: 8101}}}",
            "out of the project",
        ),
        (
            "agent_groups: {g: {A: {script_path: .venv/a.py, port: 7101, health_check_port: 8101}}}",
            "left out of releases",
        ),
    ],
)
def test_configs_from_which_no_release_can_be_made(workshop, config, sentence):
    workshop.write(".venv/a.py", "")
    workshop.config.write_text(config)
    with pytest.raises(ContinuityError, match=sentence):
        workshop.build()


@pytest.mark.parametrize("name", ["a-b", "1A", "", "A=B", "A B"])
def test_a_variable_that_no_process_can_have_is_named(workshop, name):
    config = load_fleet([("MainPC", str(workshop.config))]).hosts[0]
    with pytest.raises(VariableError, match="cannot be an environment variable"):
        environment_of(replace(config.agents[0], environment={name: "x"}), config, {}, "127.0.0.1")
