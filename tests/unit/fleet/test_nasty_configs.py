# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configs that parse without an error and do not mean what they seem to; each happened in a real fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import ports
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet, HostConfig
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet, load_host


def entry(name: str, indent: int, port: int) -> str:
    space = " " * indent
    return f"{space}{name}:\n{space}  script_path: {name}.py\n{space}  port: {port}\n{space}  health_check_port: {port + 1000}\n"


class Config:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "startup_config.yaml"

    def load(self, text: str) -> HostConfig:
        self.path.write_text(text)
        return load_host("mainpc", str(self.path))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path)


def rules(host: HostConfig) -> list[tuple[str, int]]:
    return [(problem.rule, problem.location.line) for problem in host.problems]


HEAD = "agent_groups:\n  core:\n" + entry("A", 4, 7000)


def test_a_group_one_level_too_deep_loses_its_agents(config: Config) -> None:
    host = config.load(HEAD + "    memory:\n" + entry("B", 6, 7001) + entry("C", 6, 7002))
    assert [agent.name for agent in host.agents] == ["A"]
    (problem,) = host.problems
    assert problem.rule == "G-lost-agents" and problem.severity == "critical"
    assert "B (line 8), C (line 12)" in problem.message and "too deep" in problem.message
    assert problem.found == "inside agent_groups.core.memory"


def test_an_agent_inside_of_an_agent_is_lost(config: Config) -> None:
    host = config.load(HEAD + entry("B", 6, 7001))
    assert [agent.name for agent in host.agents] == ["A"]
    (problem,) = host.problems
    assert (problem.rule, problem.agent, problem.location.line) == ("G-lost-agents", "B", 7)


def test_an_agent_one_level_too_shallow_is_lost(config: Config) -> None:
    host = config.load(HEAD + entry("B", 2, 7001) + entry("C", 0, 7002))
    assert [agent.name for agent in host.agents] == ["A"]
    assert rules(host) == [("G-lost-agents", 7), ("G-lost-agents", 11)]


def test_a_duplicate_agent_is_one_problem(config: Config) -> None:
    host = config.load(HEAD + entry("A", 4, 7001))
    assert [agent.port and agent.port.number for agent in host.agents] == [7001]
    (problem,) = host.problems
    assert (problem.rule, problem.agent, problem.found) == ("G-duplicate-key", "A", "lines 3 and 7")


def test_a_duplicate_agent_is_not_said_of_the_one_before_it(config: Config) -> None:
    host = config.load(HEAD + entry("B", 4, 7001) + entry("A", 4, 7002))
    (problem,) = host.problems
    assert (problem.rule, problem.agent, problem.location.line) == ("G-duplicate-key", "A", 11)


def test_a_duplicate_group_also_loses_the_agents_of_the_first(config: Config) -> None:
    host = config.load(HEAD + entry("C", 4, 7002) + "  core:\n" + entry("B", 4, 7001))
    assert [agent.name for agent in host.agents] == ["B"]
    assert rules(host) == [("G-lost-agents", 3), ("G-duplicate-key", 11)]
    assert [problem.members for problem in host.problems] == [("mainpc:A", "mainpc:C"), ()]
    assert [problem.agent for problem in host.problems] == [None, None]


@pytest.mark.parametrize("before", ["", HEAD])
def test_a_merge_conflict_is_named_at_its_marker(config: Config, before: str) -> None:
    both = "<<<<<<< HEAD\n" + entry("B", 4, 7001) + "=======\n" + entry("C", 4, 7001) + ">>>>>>> theirs\n"
    (problem,) = config.load(before + both).problems
    assert (problem.rule, problem.location.line) == ("G-parse", before.count("\n") + 1)
    assert "merge conflict" in problem.message and problem.found == "<<<<<<< HEAD"


def test_a_bare_expression_in_a_flow_mapping_is_explained(config: Config) -> None:
    (problem,) = config.load("pc2_services:\n  - {\n    name: A,\n    port: ${PORT_OFFSET}+7140,\n  }\n").problems
    assert (problem.rule, problem.location.line) == ("G-parse", 4)
    assert "has to be quoted" in problem.message


def test_what_only_looks_like_a_conflict_is_text(config: Config) -> None:
    host = config.load("note: |\n  <<<<<<< HEAD\n  =======\n" + HEAD)
    assert [agent.name for agent in host.agents] == ["A"] and not host.problems


def test_a_duplicate_key_in_an_entry_is_said_of_its_agent(config: Config) -> None:
    host = config.load(
        "pc2_services:\n  - {name: A, script_path: a.py, port: 7000, health_check_port: 8000}\n"
        "  - {\n    name: B,\n    script_path: b.py,\n    port: 7001,\n    port: 7002,\n    health_check_port: 8001,\n  }\n"
    )
    (problem,) = host.problems
    assert (problem.rule, problem.agent, problem.location.line) == ("G-duplicate-key", "B", 7)


def test_docker_groups_indented_into_agent_groups(config: Config) -> None:
    host = config.load(
        HEAD + "  infra_core:\n    description: Core infrastructure\n    agents: [A]\n"
        "  docker_groups:\n    coordination:\n      description: x\n      agents: [A]\n"
    )
    assert [agent.name for agent in host.agents] == ["A"]
    assert [(problem.rule, problem.severity, problem.location.line) for problem in host.problems] == [
        ("G-malformed-entry", "warning", 8),
        ("G-malformed-entry", "warning", 9),
        ("G-malformed-entry", "warning", 11),
    ]


def test_docker_groups_at_the_top_are_no_agents_and_no_problem(config: Config) -> None:
    host = config.load(HEAD + "docker_groups:\n  g:\n    description: x\n    agents: [A]\n")
    assert [agent.name for agent in host.agents] == ["A"]
    assert host.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# agent_groups:\n#   g:\n#     A:\n#       script_path: a.py\n",
        "agent_groups:\n  g:\n  # A:\n  #   script_path: a.py\n",
        "agent_groups: {}\n",
        "pc2_services: []\n",
        "global_settings:\n  environment: {A: b}\n",
        "[]\n",
        "text\n",
    ],
)
def test_no_agent_at_all_is_a_failure(config: Config, text: str) -> None:
    host = config.load(text)
    assert host.agents == ()
    assert ("G-no-agents", "critical") in [(problem.rule, problem.severity) for problem in host.problems]


def test_scripts_and_no_agent_is_a_failure_that_names_them(config: Config) -> None:
    host = config.load("fleet:\n  machines:\n    mainpc:\n" + entry("A", 6, 7000) + entry("B", 6, 7001))
    (problem,) = host.problems
    assert problem.rule == "G-no-agents" and problem.location.line == 4
    assert "names 2 scripts: A (line 4), B (line 8)" in problem.message


def test_commented_agents_are_no_agents(config: Config) -> None:
    host = config.load(HEAD + "    # REPLACED BY A\n    # B:\n    #   script_path: b.py\n    #   port: 7000\n")
    assert [agent.name for agent in host.agents] == ["A"] and host.problems == ()


def test_the_same_agent_in_two_groups_is_named_with_both_places(config: Config) -> None:
    host = config.load(HEAD + "  gpu:\n" + entry("A", 4, 7000) + "pc2_services:\n- {name: B, script_path: b.py, port: 7100, "
                       "health_check_port: 8100}\n- {name: B, script_path: b.py, port: 7100, health_check_port: 8101}\n")  # fmt: skip
    assert [(agent.name, agent.group) for agent in host.agents] == [("A", "gpu"), ("B", "pc2_services")]
    assert [(problem.rule, problem.agent, problem.found) for problem in host.problems] == [
        ("B-duplicate", "A", "lines 3 and 8"),
        ("B-duplicate", "B", "lines 13 and 14"),
    ]
    assert ports.collisions(host) == ()


def test_the_same_name_on_both_machines_is_legal(tmp_path: Path) -> None:
    for host in ("mainpc", "pc2"):
        (tmp_path / f"{host}.yaml").write_text(HEAD)
    fleet = load_fleet([(host, str(tmp_path / f"{host}.yaml")) for host in ("mainpc", "pc2")])
    assert fleet.problems == () and len(fleet.agents) == 2


def test_a_mixed_offset_moves_only_part_of_the_fleet(tmp_path: Path) -> None:
    text = (
        "agent_groups:\n  g:\n    A:\n      script_path: a.py\n      port: ${PORT_OFFSET}+7200\n      health_check_port: ${PORT_OFFSET}+8200\n"
        "      config: {redis: {port: '${PORT_OFFSET}+6379'}}\n"
        "    B: {script_path: b.py, port: 7300, health_check_port: 8300}\n"
        "error_bus_port: ${PORT_OFFSET}+7150\n"
    )
    (tmp_path / "c.yaml").write_text(text)
    (host,) = load_fleet([("pc2", str(tmp_path / "c.yaml"))], values={"PORT_OFFSET": "100"}).hosts
    assert [hit.port for hit in ports.collisions(host)] == [7300, 8300]
    assert [(claim.number, claim.listens) for claim in host.agents[0].other_ports] == [(6479, False)]
    assert [claim.number for claim in host.ports] == [7250]


def test_an_unknown_dependency_is_no_cycle(config: Config) -> None:
    host = config.load(
        "agent_groups:\n  g:\n    A: {script_path: a.py, port: 7000, health_check_port: 8000, dependencies: [Gone]}\n"
        "    B: {script_path: b.py, port: 7001, health_check_port: 8001, dependencies: [A]}\n"
    )
    graph = resolve(Fleet((host,)))
    assert graph.cycles == () and len(graph.layers) == 2
    assert [(hit.agent.name, hit.dependency.name, hit.dependency.location.line) for hit in graph.unknown] == [
        ("A", "Gone", 3)
    ]


def test_a_health_port_that_nobody_passes_on_collides_where_the_config_shows_nothing(config: Config) -> None:
    host = config.load(
        "agent_groups:\n  g:\n    A: {script_path: a.py, port: 7000}\n"
        "    B: {script_path: b.py, port: 7001, health_check_port: 8001}\n"
    )
    assert ports.collisions(host) == ()
    implied = [ports.Claim(agent, claim) for agent in host.agents for claim in ports.implied(agent)]
    assert [(claim.port.key, claim.port.number) for claim in implied] == [
        ("port+1", 7001),
        ("port+1+1", 7002),
        ("health_check_port+1", 8002),
    ]
    (collision,) = ports.collisions(host, beside=implied)
    assert collision.port == 7001 and {hit.member("mainpc") for hit in collision.members} == {"mainpc:A", "mainpc:B"}


def test_an_agents_own_script_settings_are_no_lost_agents(config: Config) -> None:
    host = config.load(HEAD + "      config: {worker: {script_path: worker.py, port: 1}}\n")
    assert host.problems == ()


def test_two_agents_may_share_a_script_and_an_alias(config: Config) -> None:
    host = config.load(
        "agent_groups:\n  g:\n    A: &a {script_path: a.py, port: 7000, health_check_port: 8000}\n    B: {<<: *a, port: 7001}\n    C: *a\n"
    )
    assert [agent.name for agent in host.agents] == ["A", "B", "C"] and host.problems == ()
    assert {hit.port for hit in ports.collisions(host)} == {7000, 8000}


def test_an_entry_that_is_only_a_name_is_said_of_that_name(config: Config) -> None:
    host = config.load(
        "pc2_services:\n  - {name: A, script_path: a.py, port: 7000, health_check_port: 8000}\n  - name: B\n"
    )
    (problem,) = host.problems
    assert (problem.rule, problem.agent, problem.location.line) == ("G-malformed-entry", "B", 3)
