# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every shape that startup configs of real fleets take, and what is said of each that is wrong."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet import ports
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Agent, HostConfig, Problem
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet, load_host

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "fleet"
MAINPC = str(FIXTURES / "mainpc" / "startup_config.yaml")
PC2 = str(FIXTURES / "pc2" / "startup_config.yaml")

Load = Callable[..., HostConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(text, values={...}, **{"other.yaml": text})`` reads one host's config."""

    def read(text: str, values: Optional[dict[str, str]] = None, host: str = "mainpc", **files: str) -> HostConfig:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        (tmp_path / "startup_config.yaml").write_text(text)
        return load_host(host, str(tmp_path / "startup_config.yaml"), values=values or {})

    return read


def names(host: HostConfig) -> list[str]:
    return [agent.name for agent in host.agents]


def said(host: HostConfig) -> list[tuple[str, str, int, Optional[str]]]:
    return [(hit.severity, hit.rule, hit.location.line, hit.agent) for hit in host.problems]


def only_problem(host: HostConfig) -> Problem:
    assert len(host.problems) == 1, host.problems
    return host.problems[0]


def agent(host: HostConfig, name: str) -> Agent:
    return next(found for found in host.agents if found.name == name)


# The two real files -------------------------------------------------------------------------------


def test_the_real_fleet_loads_completely_and_without_a_problem() -> None:
    fleet = load_fleet([("mainpc", MAINPC), ("pc2", PC2)])
    assert [len(host.agents) for host in fleet.hosts] == [54, 23]
    assert len(fleet) == len(fleet.agents) == 77
    assert fleet.problems == ()
    assert sum(found.name == "ObservabilityHub" for found in fleet) == 2


def test_the_real_fleet_keeps_its_places() -> None:
    fleet = load_fleet([("mainpc", MAINPC), ("pc2", PC2)])
    for found in fleet:
        lines = Path(found.location.file).read_text().splitlines()
        assert found.name in lines[found.location.line - 1] + lines[found.location.line]
        assert found.script_path in lines[found.script_location.line - 1]
        for claim in (found.port, found.health_check_port, *found.other_ports):
            assert claim is not None and str(claim.raw) in lines[claim.location.line - 1]
        for dependency in found.dependencies:
            assert dependency.name in lines[dependency.location.line - 1]


def test_the_real_fleet_has_one_cycle_one_collision_and_no_unknown_name() -> None:
    fleet = load_fleet([("mainpc", MAINPC), ("pc2", PC2)])
    graph = resolve(fleet)
    assert graph.unknown == graph.self_dependencies == graph.duplicates == graph.cross_host == ()
    assert [[found.name for found in cycle] for cycle in graph.cycles] == [
        ["StreamingInterruptHandler", "StreamingTTSAgent", "TTSService"]
    ]
    mainpc, pc2 = fleet.hosts
    assert ports.collisions(mainpc) == ()
    (collision,) = ports.collisions(pc2)
    assert collision.port == 7150
    assert [hit.member("pc2") for hit in collision.members] == ["pc2:VisionProcessingAgent", "pc2:error_bus_port"]


def test_settings_of_both_files() -> None:
    mainpc, pc2 = load_fleet([("mainpc", MAINPC), ("pc2", PC2)]).hosts
    assert mainpc.resource_limits == {"cpu_percent": 80, "memory_mb": 2048, "max_threads": 4}
    assert pc2.health_checks["start_period_seconds"] == 300
    assert mainpc.environment["DEBUG_MODE"] == "false"
    assert pc2.environment["PYTHONPATH"] == "${PYTHONPATH}:${PWD}/.."
    assert ports.declared_ranges(pc2) == (
        ports.PortRange("pc2_network.agent_ports", 7100, 7199),
        ports.PortRange("pc2_network.health_check_ports", 8100, 8199),
    )
    assert [(claim.key, claim.number) for claim in pc2.ports] == [("error_bus_port", 7150)]


def test_details_of_an_agent() -> None:
    mainpc, pc2 = load_fleet([("mainpc", MAINPC), ("pc2", PC2)]).hosts
    twin = agent(mainpc, "SystemDigitalTwin")
    assert twin.group == "core_services" and twin.required is True and twin.bind_host is None
    assert twin.config["redis"] == {"host": "localhost", "port": 6379, "db": 0}
    assert [(claim.key, claim.number, claim.listens) for claim in twin.other_ports] == [
        ("config.redis.port", 6379, False)
    ]
    hub = agent(pc2, "ObservabilityHub")
    assert hub.bind_host == "0.0.0.0"
    assert [(claim.key, claim.listens) for claim in hub.other_ports] == [("config.prometheus_port", True)]


# Layouts ------------------------------------------------------------------------------------------

TWO = "{script_path: a.py, port: 7000, health_check_port: 8000}"


def test_lists_mappings_and_groups_in_one_file(load: Load) -> None:
    host = load(
        "agent_groups:\n"
        "  core:\n    A: {script_path: a.py, port: 7000, health_check_port: 8000}\n"
        "  listed:\n    - {name: B, script_path: b.py, port: 7001, health_check_port: 8001}\n"
        "pc2_services:\n  - {name: C, script_path: c.py, port: 7002, health_check_port: 8002}\n"
        "core_services:\n  - {name: D, script_path: d.py, port: 7003, health_check_port: 8003}\n"
        "phase2_services:\n  - name: E\n    script_path: e.py\n    port: 7004\n    health_check_port: 8004\n"
        "mvs_services:\n  F: {script_path: f.py, port: 7005, health_check_port: 8005}\n"
    )
    assert [(found.name, found.group) for found in host.agents] == [
        ("A", "core"),
        ("B", "listed"),
        ("C", "pc2_services"),
        ("D", "core_services"),
        ("E", "phase2_services"),
        ("F", "mvs_services"),
    ]
    assert host.problems == ()
    assert host.settings == {}


def test_eleven_lists(load: Load) -> None:
    lists = "".join(
        f"list_{number}:\n  - {{name: A{number}, script_path: a.py, port: {7000 + number}, health_check_port: {8000 + number}}}\n"
        for number in range(11)
    )
    host = load(lists)
    assert len(host.agents) == 11 and host.problems == ()


def test_old_keys_are_read_and_named(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n    A:\n      script: a.py\n      port: 7000\n      health_port: 8000\n      critical: true\n"
    )
    found = agent(host, "A")
    assert (found.script_path, found.required) == ("a.py", True)
    assert found.health_check_port is not None and found.health_check_port.number == 8000
    assert said(host) == [("warning", "G-schema", line, "A") for line in (4, 6, 7)]


def test_enabled_and_autoload(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n"
        "    A: {script_path: a.py, port: 7000, health_check_port: 8000, enabled: false}\n"
        "    B: {script_path: b.py, port: 7000, health_check_port: 8001, autoload: false}\n"
        "    C: {script_path: c.py, port: 7000, health_check_port: 8002, enabled: '${C_ON:-true}'}\n"
    )
    assert [found.enabled for found in host.agents] == [False, False, True]
    assert host.problems == ()
    assert ports.collisions(host) == ()


def test_required_in_its_three_forms(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n"
        "    A: {script_path: a.py, port: 7000, health_check_port: 8000}\n"
        "    B: {script_path: b.py, port: 7001, health_check_port: 8001, required: \"${RTAP:-false} == 'false'\"}\n"
        "    C: {script_path: c.py, port: 7002, health_check_port: 8002, required: '${RTAP}'}\n"
    )
    assert [found.required for found in host.agents] == [None, True, None]
    assert said(host) == [("warning", "G-schema", 4, "B"), ("warning", "G-schema", 5, "C")]


def test_environment_is_text_as_it_was_written(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n    A:\n      script_path: a.py\n      port: 7000\n      health_check_port: 8000\n"
        "      env_vars: {DEBUG: false, VERSION: 3.0, EMPTY: , URL: '${HUB}'}\n"
        "      environment:\n        - MODE=x=y\n        - {name: LEVEL, value: 7}\n"
    )
    assert agent(host, "A").environment == {
        "MODE": "x=y", "LEVEL": "7", "DEBUG": "false", "VERSION": "3.0", "EMPTY": "", "URL": "${HUB}",
    }  # fmt: skip
    assert host.problems == ()


def test_global_and_top_level_settings_are_one(load: Load) -> None:
    host = load(
        "global_settings:\n  environment: {A: 1, B: 1}\n  health_checks: {interval_seconds: 30}\n"
        "environment: {B: 2}\nhealth_checks: {start_period_seconds: 300}\nport_allocation:\n"
        f"agent_groups:\n  g:\n    A: {TWO}\n"
    )
    assert host.environment == {"A": "1", "B": "2"}
    assert host.health_checks == {"interval_seconds": 30, "start_period_seconds": 300}
    assert host.problems == ()


def test_second_level_ports(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n    A:\n      script_path: a.py\n      port: 7000\n      health_check_port: 8000\n      config:\n"
        "        zmq_port: 7010\n        grpc_port: '${PORT_OFFSET}+7011'\n        pub_address: tcp://*:5560\n"
        "        redis_port: 6379\n        nats: {port: 4222}\n        server: {port: 7012}\n"
        "        peer_address: tcp://192.0.2.1:7100\n        tts_port: 5801\n        port_range: x\n"
        "    B: {script_path: b.py, port: 5560, health_check_port: 7010}\n"
        "error_bus_port: 7012\nredis_port: 6379\n",
        values={"PORT_OFFSET": "0"},
    )
    assert [(claim.key, claim.number, claim.listens) for claim in agent(host, "A").other_ports] == [
        ("config.zmq_port", 7010, True),
        ("config.grpc_port", 7011, True),
        ("config.pub_address", 5560, True),
        ("config.redis_port", 6379, False),
        ("config.nats.port", 4222, False),
        ("config.server.port", 7012, True),
        ("config.tts_port", 5801, False),
    ]
    assert [(hit.port, [member.member("mainpc") for member in hit.members]) for hit in ports.collisions(host)] == [
        (5560, ["mainpc:A", "mainpc:B"]),
        (7010, ["mainpc:A", "mainpc:B"]),
        (7012, ["mainpc:A", "mainpc:error_bus_port"]),
    ]
    assert host.problems == ()


# Ports and expressions ----------------------------------------------------------------------------

OFFSET = (
    "agent_groups:\n  g:\n"
    '    A: {script_path: a.py, port: "${PORT_OFFSET}+7200", health_check_port: "${PORT_OFFSET}+8200"}\n'
    "    B:\n      script_path: b.py\n      port: ${PORT_OFFSET}+7200\n      health_check_port: 8201\n"
)


def test_ports_without_a_value_stay_unknown_and_are_named_once_an_agent(load: Load) -> None:
    host = load(OFFSET)
    assert [found.port.number if found.port else 0 for found in host.agents] == [None, None]
    assert said(host) == [("warning", "C-expression", 3, "A"), ("warning", "C-expression", 6, "B")]
    assert "PORT_OFFSET" in host.problems[0].message
    assert host.problems[0].key == "port, health_check_port"


def test_ports_that_are_equal_for_every_value_collide_all_the_same(load: Load) -> None:
    (collision,) = ports.collisions(load(OFFSET))
    assert collision.port is None and collision.base == ("PORT_OFFSET", 7200)
    (collision,) = ports.collisions(load(OFFSET, values={"PORT_OFFSET": "100"}))
    assert collision.port == 7300


def test_ports_with_a_value_are_resolved_and_checked(load: Load) -> None:
    host = load(OFFSET, values={"PORT_OFFSET": "60000"})
    assert [found.port.number if found.port else 0 for found in host.agents] == [67200, 67200]
    assert said(host) == [("critical", "G-schema", 3, "A")] * 2 + [("critical", "G-schema", 6, "B")]


def test_a_port_that_is_no_sum_is_critical(load: Load) -> None:
    host = load('agent_groups:\n  g:\n    A: {script_path: a.py, port: "${P:-7}*9", health_check_port: 8000}\n')
    assert said(host) == [("critical", "C-expression", 3, "A")]


@pytest.mark.parametrize("port", ["80", "70000", "0", "-1", "'7200'", "yes", "7200.0", "[7200]", "{a: 1}", "abc", "~"])
def test_what_is_no_port(load: Load, port: str) -> None:
    host = load(f"agent_groups:\n  g:\n    A: {{script_path: a.py, port: {port}, health_check_port: 8000}}\n")
    problem = only_problem(host)
    assert (problem.rule, problem.severity, problem.key) == ("G-schema", "critical", "port")
    assert "an integer from 1024 to 65535" in problem.expected
    assert names(host) == ["A"]


# What is wrong ------------------------------------------------------------------------------------


def test_wrong_types_are_told_all_at_once(load: Load) -> None:
    host = load(
        "agent_groups:\n  g:\n    A:\n      script_path: 5\n      port: abc\n      health_check_port: true\n"
        "      dependencies: B\n      required: maybe\n      config: [1]\n      whatever: 1\n"
        "    B:\n      script_path: b.py\n      port: 7001\n      dependencies: [A, 5, {x: y}, '']\n"
    )
    assert said(host) == [
        ("critical", "G-schema", 4, "A"),
        ("critical", "G-schema", 5, "A"),
        ("critical", "G-schema", 6, "A"),
        ("critical", "B-type", 7, "A"),
        ("critical", "G-schema", 8, "A"),
        ("warning", "G-schema", 9, "A"),
        ("info", "G-schema", 10, "A"),
        ("warning", "G-schema", 11, "B"),
        ("critical", "B-type", 14, "B"),
        ("critical", "B-type", 14, "B"),
        ("critical", "B-type", 14, "B"),
    ]
    assert [dependency.name for dependency in agent(host, "B").dependencies] == ["A"]
    assert all(problem.expected and problem.found for problem in host.problems)


def test_missing_keys_weigh_what_their_absence_costs(load: Load) -> None:
    host = load("agent_groups:\n  g:\n    A: {script_path: a.py}\n    B: {port: 7001, health_check_port: 8001}\n")
    assert said(host) == [
        ("critical", "G-schema", 3, "A"),
        ("warning", "G-schema", 3, "A"),
        ("critical", "G-schema", 4, "B"),
    ]
    assert agent(host, "B").script_path == ""


def test_global_settings_out_of_range(load: Load) -> None:
    host = load(
        "global_settings:\n  resource_limits: {cpu_percent: 101, memory_mb: 64, max_threads: 0}\n"
        "  health_checks:\n    interval_seconds: 1\n    timeout_seconds: 0\n    retries: -1\n"
        f"agent_groups:\n  g:\n    A: {TWO}\n"
    )
    assert said(host) == [("warning", "G-schema", line, None) for line in (2, 2, 2, 4, 5, 6)]


@pytest.mark.parametrize("name", ["../x", "a b", "a/b", "-x", "x" * 129, "é", "a@b"])
def test_a_name_that_can_be_no_folder_is_refused(load: Load, name: str) -> None:
    host = load(f"agent_groups:\n  g:\n    '{name}': {TWO}\n")
    assert "G-malformed-entry" in {problem.rule for problem in host.problems}
    assert names(host) == []


def test_entries_that_are_no_agents(load: Load) -> None:
    host = load(
        f"agent_groups:\n  g:\n    A: {TWO}\n    B:\n    C: text\n    D: [x]\n    E: {{}}\n"
        "    group_config: {docker_service: x, failure_impact: low}\n  empty:\n  wrong: 5\n"
        "pc2_services:\n  - text\n  -\n  - {script_path: x.py, port: 7009, health_check_port: 8009}\n"
    )
    assert names(host) == ["A"]
    assert said(host) == [
        ("critical", "G-malformed-entry", 4, "B"),
        ("critical", "G-malformed-entry", 5, "C"),
        ("critical", "G-malformed-entry", 6, "D"),
        ("critical", "G-malformed-entry", 7, "E"),
        ("info", "G-malformed-entry", 8, "group_config"),
        ("info", "G-malformed-entry", 9, None),
        ("critical", "G-malformed-entry", 10, None),
        ("critical", "G-malformed-entry", 12, None),
        ("critical", "G-malformed-entry", 13, None),
        ("critical", "G-malformed-entry", 14, None),
    ]


# Files --------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    host = load_host("mainpc", str(tmp_path / "none.yaml"))
    problem = only_problem(host)
    assert (problem.rule, problem.severity) == ("G-parse", "critical")
    assert "No such file" in problem.message


def test_a_directory_and_a_pipe_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert "not a regular file" in only_problem(load_host("mainpc", str(path))).message


def test_fifty_megabytes_are_refused_within_the_second(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    started = time.monotonic()
    problem = only_problem(load_host("mainpc", str(path)))
    assert time.monotonic() - started < 1
    assert "52428800 bytes" in problem.found


def test_a_broken_file_names_no_agent_and_the_other_host_is_read(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("agent_groups:\n  g: [\n")
    fleet = load_fleet([("mainpc", str(tmp_path / "broken.yaml")), ("pc2", PC2)])
    assert [len(host.agents) for host in fleet.hosts] == [0, 23]
    assert [problem.rule for problem in fleet.problems] == ["G-parse"]


def test_a_host_has_one_config() -> None:
    with pytest.raises(ContinuityError, match="one startup config"):
        load_fleet([("pc2", PC2), ("pc2", MAINPC)])


# Includes, profiles, overrides --------------------------------------------------------------------


def test_a_file_with_only_an_include(load: Load) -> None:
    host = load(
        "include: parts/core.yaml\n",
        **{"parts/core.yaml": f"include: [../more.yaml]\nagent_groups:\n  g:\n    A: {TWO}\n",
           "more.yaml": "pc2_services:\n  - {name: B, script_path: b.py, port: 7001, health_check_port: 8001}\n"},
    )  # fmt: skip
    assert names(host) == ["B", "A"]
    assert agent(host, "A").location.file.endswith("parts/core.yaml")
    assert host.problems == ()


def test_an_include_that_is_missing_or_circular_is_named_where_it_stands(load: Load) -> None:
    host = load(
        f"agent_groups:\n  g:\n    A: {TWO}\ninclude:\n  - nowhere.yaml\n  - round.yaml\n  - 5\n",
        **{"round.yaml": "include: startup_config.yaml\n"},
    )
    assert names(host) == ["A"]
    found = [(hit.rule, Path(hit.location.file).name, hit.location.line) for hit in host.problems]
    assert sorted(found) == [
        ("G-parse", "round.yaml", 1),
        ("G-parse", "startup_config.yaml", 5),
        ("G-schema", "startup_config.yaml", 7),
    ]


def test_a_file_whose_only_include_is_missing_has_no_agents(load: Load) -> None:
    host = load("include: nowhere.yaml\n")
    assert sorted(problem.rule for problem in host.problems) == ["G-no-agents", "G-parse"]


def test_includes_end_somewhere(load: Load) -> None:
    files = {f"f{number}.yaml": f"include: f{number + 1}.yaml\n" for number in range(100)}
    host = load("include: f0.yaml\n", **files)
    assert [problem.message for problem in host.problems if "too much is included" in problem.message]


def test_includes_together_are_no_larger_than_one_file_may_be(load: Load) -> None:
    files = {f"f{number}.yaml": "# filling\n" * 150_000 for number in range(10)}
    host = load("include: [" + ", ".join(files) + f"]\nagent_groups:\n  g:\n    A: {TWO}\n", **files)
    assert len([problem for problem in host.problems if "too much is included" in problem.message]) == 1
    assert names(host) == ["A"]


SHARED = (
    "machine_profiles:\n  MainPC: {groups: [core], agents: [B]}\n  pc2: {agents: [B, Nobody]}\n"
    "overrides:\n  A: {port: 7100}\n  Agnt: {port: 1}\n  pc2:\n    B: {port: 7101, script_path: c.py}\n  logging: {level: INFO}\n"
    "agent_groups:\n  core:\n    A: {script_path: a.py, port: 7000, health_check_port: 8000}\n"
    "  rest:\n    B: {script_path: b.py, port: 7001, health_check_port: 8001}\n"
    "    C: {script_path: c.py, port: 7002, health_check_port: 8002}\n"
)


def test_one_file_for_both_machines(load: Load) -> None:
    mainpc, pc2 = load(SHARED, host="mainpc"), load(SHARED, host="pc2")
    assert [(found.name, found.port and found.port.number) for found in mainpc.agents] == [("A", 7100), ("B", 7001)]
    assert [(found.name, found.port and found.port.number) for found in pc2.agents] == [("B", 7101)]
    assert (agent(pc2, "B").script_path, agent(pc2, "B").health_check_port is not None) == ("c.py", True)
    assert said(mainpc) == [("warning", "G-schema", 6, None)]
    assert said(pc2) == [("warning", "G-schema", 3, None), ("warning", "G-schema", 6, None)]


def test_a_profile_that_selects_nobody_is_a_failure(load: Load) -> None:
    host = load(f"machine_profiles: {{mainpc: {{agents: []}}}}\nagent_groups:\n  g:\n    A: {TWO}\n")
    assert host.agents == ()
    assert said(host) == [("critical", "G-no-agents", 1, None)]


def test_anchors_and_merges_are_ordinary(load: Load) -> None:
    host = load(
        "defaults: &defaults\n  required: true\n  dependencies: [B]\n"
        "agent_groups:\n  g:\n    A:\n      <<: *defaults\n      script_path: a.py\n      port: 7000\n      health_check_port: 8000\n"
        "    B: {<<: *defaults, dependencies: [], script_path: b.py, port: 7001, health_check_port: 8001}\n"
    )
    assert [(found.required, len(found.dependencies)) for found in host.agents] == [(True, 1), (True, 0)]
    assert host.problems == ()


def test_problems_come_in_the_order_of_the_file(load: Load) -> None:
    host = load("agent_groups:\n  g:\n    A: {port: 1}\n    A: {script_path: a.py}\n    B:\nresource_limits: 5\n")
    lines: list[Any] = [problem.location.line for problem in host.problems]
    assert lines == sorted(lines)
    assert {problem.host for problem in host.problems} == {"mainpc"}
