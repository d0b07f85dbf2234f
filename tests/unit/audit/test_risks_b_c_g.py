# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risks B, C and G: what the startup configs alone tell."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.audit.audit import Settings


def config(agents: dict[str, dict[str, object]], *, top: str = "") -> str:
    """Groups of agents in flow style; ports are given one each where they are not said."""
    lines = ["agent_groups:", "  all:"]
    for number, (name, entry) in enumerate(agents.items()):
        whole = {"script_path": f"{name}.py", "port": 5000 + number, "health_check_port": 6000 + number, **entry}
        lines += [f"    {name}:", *(f"      {key}: {value}" for key, value in whole.items() if value is not None)]
    return "\n".join(lines) + "\n" + top


def told(found):
    return [(one.rule, one.host, one.agent) for one in found]


def test_a_sound_fleet_has_no_finding(project):
    project.config("mainpc", config({"A": {}, "B": {"dependencies": ["A"]}}))
    project.config("pc2", config({"A": {}, "C": {"dependencies": ["A"]}}))
    assert project.audit(tree=False).findings == ()


# B


def test_unknown_dependency_and_what_never_starts(project):
    agents = {"A": {"dependencies": ["Gone"]}, "B": {"dependencies": ["A"]}, "C": {"dependencies": ["B"]}, "D": {}}
    project.config("mainpc", config(agents))
    found = project.findings("B", tree=False)
    assert told(found) == [
        ("B-unknown", "mainpc", "A"),
        ("B-never-starts", "mainpc", "A"),
        ("B-never-starts", "mainpc", "B"),
        ("B-never-starts", "mainpc", "C"),
    ]
    assert found[0].evidence == {"dependency": "Gone"}
    assert {one.severity for one in found} == {"critical"}
    assert [one.evidence["because_of"] for one in found[1:]] == ["mainpc:A"] * 3


def test_a_disabled_agent_is_no_unknown_one(project):
    project.config("mainpc", config({"A": {"enabled": "false"}, "B": {"dependencies": ["A"]}}))
    assert project.rules("B", tree=False) == []


def test_self_dependency(project):
    project.config("mainpc", config({"A": {"dependencies": ["A"]}, "B": {"dependencies": ["A"]}}))
    assert project.rules("B", tree=False) == [("B-self", "A"), ("B-never-starts", "A"), ("B-never-starts", "B")]


def test_a_cycle_is_one_finding_with_its_members(project):
    agents = {
        "A": {"dependencies": ["C"]},
        "B": {"dependencies": ["A"]},
        "C": {"dependencies": ["B", "D"]},
        "D": {},
        "E": {"dependencies": ["B"]},
    }
    project.config("mainpc", config(agents))
    found = project.findings("B", tree=False)
    assert found[0].rule == "B-cycle" and found[0].agent is None
    assert found[0].evidence["members"] == ["mainpc:A", "mainpc:B", "mainpc:C"]
    assert found[0].evidence["circle"] == ["mainpc:A", "mainpc:C", "mainpc:B", "mainpc:A"]
    assert [one.agent for one in found[1:]] == ["A", "B", "C", "E"]
    assert {one.severity for one in found} == {"warning"}


def test_two_cycles_are_two_findings(project):
    agents = {
        "A": {"dependencies": ["B"]},
        "B": {"dependencies": ["A"]},
        "C": {"dependencies": ["D"]},
        "D": {"dependencies": ["C"]},
    }
    project.config("mainpc", config(agents))
    assert [one.evidence["members"] for one in project.findings("B", tree=False) if one.rule == "B-cycle"] == [
        ["mainpc:A", "mainpc:B"],
        ["mainpc:C", "mainpc:D"],
    ]


def test_a_cycle_over_hosts_and_the_cross_host_dependencies(project):
    project.config("mainpc", config({"A": {"dependencies": ["B"]}}))
    project.config("pc2", config({"B": {"dependencies": ["A"]}}))
    found = project.findings("B", tree=False)
    assert told(found)[:3] == [
        ("B-cross-host", "mainpc", "A"),
        ("B-cross-host", "pc2", "B"),
        ("B-cycle", "mainpc", None),
    ]
    assert found[0].evidence["target"] == "pc2:B"
    assert found[0].severity == "info"


def test_the_own_host_comes_first(project):
    project.config("mainpc", config({"A": {"dependencies": ["Hub"]}, "Hub": {}}))
    project.config("pc2", config({"Hub": {}}))
    assert project.rules("B", tree=False) == []


def test_a_dependency_listed_twice(project):
    project.config("mainpc", config({"A": {}, "B": {"dependencies": ["A", "A"]}}))
    (found,) = project.findings("B", tree=False)
    assert (found.rule, found.agent, found.severity) == ("B-duplicate", "B", "warning")


def test_an_agent_declared_twice(project):
    text = config({"A": {}}) + "  more:\n    A: {script_path: A.py, port: 5005, health_check_port: 6005}\n"
    project.config("mainpc", text)
    (found,) = project.findings("B", tree=False)
    assert (found.rule, found.agent) == ("B-duplicate", "A")
    assert project.rules("C", tree=False) == []


@pytest.mark.parametrize("value", ["Hub", "{Hub: true}", "[[Hub]]", "[{name: Hub}]", "[3]", "[null]", "['']"])
def test_dependencies_that_are_no_list_of_names(project, value):
    project.config("mainpc", config({"Hub": {}, "A": {"dependencies": value}}))
    assert project.rules("B", tree=False) == [("B-type", "A")]


@pytest.mark.parametrize("value", ["[]", "null", "~", "", None])
def test_no_dependencies(project, value):
    project.config("mainpc", config({"A": {"dependencies": value}}))
    assert project.rules("B", tree=False) == []


def test_a_broken_config_does_not_hide_the_other_hosts_findings(project):
    project.config("mainpc", config({"A": {"dependencies": ["Elsewhere"]}, "B": {"port": 5000}}))
    project.config("pc2", "agent_groups:\n  all: {\n    A: [\n")
    report = project.audit(tree=False)
    rules = [(one.rule, one.host) for one in report.findings]
    assert ("G-parse", "pc2") in rules and ("C-collision", "mainpc") in rules and ("B-unknown", "mainpc") in rules
    assert report.unreadable is None
    unknown = next(one for one in report.findings if one.rule == "B-unknown")
    assert "it may be one of pc2" in unknown.message and unknown.severity == "warning"


# C


def test_a_collision_is_one_finding_with_its_members(project):
    project.config("mainpc", config({"A": {"port": 7000}, "B": {"port": 7000}, "C": {"health_check_port": 7000}}))
    (found,) = project.findings("C", tree=False)
    assert (found.rule, found.host, found.agent, found.severity) == ("C-collision", "mainpc", None, "critical")
    assert found.evidence["port"] == 7000
    assert found.evidence["members"] == ["mainpc:A", "mainpc:B", "mainpc:C"]
    assert [claim["key"] for claim in found.evidence["claims"]] == ["port", "port", "health_check_port"]


def test_the_same_port_on_two_hosts_is_none(project):
    project.config("mainpc", config({"A": {"port": 7000}})).config("pc2", config({"B": {"port": 7000}}))
    assert project.findings("C", tree=False) == []


def test_an_agent_against_itself(project):
    project.config("mainpc", config({"A": {"port": 7000, "health_check_port": 7000}}))
    (found,) = project.findings("C", tree=False)
    assert (found.agent, found.evidence["members"]) == ("A", ["mainpc:A"])


def test_second_level_ports_collide(project):
    agents = {"A": {"config": "{zmq_port: 7777}"}, "B": {"config": "{pub_address: 'tcp://*:7777'}"}}
    project.config("mainpc", config(agents))
    (found,) = project.findings("C", tree=False)
    assert found.evidence["members"] == ["mainpc:A", "mainpc:B"]


def test_the_hosts_own_port_collides(project):
    project.config("pc2", config({"Vision": {"port": 7150}}, top="error_bus_port: 7150\n"))
    (found,) = project.findings("C", tree=False)
    assert found.evidence["members"] == ["pc2:Vision", "pc2:error_bus_port"]


def test_somebody_elses_port_does_not_collide(project):
    agents = {"A": {"config": "{redis: {host: localhost, port: 6379}}"}, "B": {"config": "{redis: {port: 6379}}"}}
    project.config("mainpc", config(agents))
    assert project.findings("C", tree=False) == []


def test_a_second_level_key_that_repeats_the_own_port_is_none(project):
    project.config("mainpc", config({"Hub": {"port": 9000, "config": "{prometheus_port: 9000}"}}))
    assert project.findings("C", tree=False) == []


def test_ports_out_of_range(project):
    project.config(
        "mainpc",
        config({"A": {"port": 4999, "health_check_port": 9001}, "B": {"port": 5000, "health_check_port": 9000}}),
    )
    found = project.findings("C", tree=False)
    assert [(one.rule, one.agent, one.evidence["port"], one.evidence["key"]) for one in found] == [
        ("C-range", "A", 4999, "port"),
        ("C-range", "A", 9001, "health_check_port"),
    ]
    assert {one.severity for one in found} == {"warning"}


def test_range_and_allowed_ports_are_settings(project):
    project.config("mainpc", config({"A": {"port": 26002, "health_check_port": 9100}}))
    settings = Settings(port_range=(9000, 9999), allowed_ports=frozenset({26002}))
    assert project.findings("C", tree=False, settings=settings) == []


def test_privileged_ports(project):
    project.config("mainpc", config({"A": {"port": 443}, "B": {"port": 1024}}))
    found = project.findings("C", tree=False)
    assert [(one.rule, one.agent, one.severity) for one in found] == [
        ("C-privileged", "A", "critical"),
        ("C-range", "B", "warning"),
    ]


def test_a_range_that_the_config_declares(project):
    top = "pc2_network:\n  agent_ports: {start: 7100, end: 7199}\n  health_check_ports: {start: 8100, end: 8199}\n"
    agents = {"A": {"port": 7100, "health_check_port": 8199}, "Hub": {"port": 9000, "health_check_port": 9100}}
    project.config("pc2", config(agents, top=top))
    found = project.findings("C", tree=False)
    assert [(one.rule, one.agent, one.evidence["port"], one.severity) for one in found] == [
        ("C-range", "Hub", 9000, "info"),
        ("C-range", "Hub", 9100, "warning"),
    ]


OFFSET = {"port": '"${PORT_OFFSET}+7100"', "health_check_port": '"${PORT_OFFSET}+8100"'}


def test_an_expression_without_a_value(project):
    project.config("mainpc", config({"A": OFFSET}))
    assert [(one.rule, one.agent) for one in project.findings("C", tree=False)] == [("C-expression", "A")]


def test_an_expression_with_a_value(project):
    project.config("mainpc", config({"A": OFFSET}))
    assert project.findings("C", tree=False, values={"PORT_OFFSET": "0"}) == []
    moved = project.findings("C", tree=False, values={"PORT_OFFSET": "5000"})
    assert [one.evidence["port"] for one in moved] == [12100, 13100]


def test_expressions_collide_whatever_the_value_is(project):
    other = {**OFFSET, "health_check_port": '"${PORT_OFFSET}+8200"'}
    project.config("mainpc", config({"A": OFFSET, "B": other}))
    found = [one for one in project.findings("C", tree=False) if one.rule == "C-collision"]
    assert [(one.evidence["port"], one.evidence["members"]) for one in found] == [(7100, ["mainpc:A", "mainpc:B"])]
    assert found[0].evidence["assumes"] == {"PORT_OFFSET": 0}


def test_an_expression_and_a_number_collide_without_an_offset(project):
    project.config("mainpc", config({"A": OFFSET, "B": {"port": 7100}}))
    (found,) = [one for one in project.findings("C", tree=False) if one.rule == "C-collision"]
    assert found.evidence["members"] == ["mainpc:A", "mainpc:B"]


def test_what_an_offset_tears_apart(project):
    agents = {
        "A": {**OFFSET, "config": '{redis: {port: "${PORT_OFFSET}+6379"}}'},
        "B": {"port": "${PORT_OFFSET}+7101", "health_check_port": "${PORT_OFFSET}+8101"},
        "C": {"port": "${PORT_OFFSET}+7102", "health_check_port": "${PORT_OFFSET}+8102"},
        "Plain": {"port": 7200, "health_check_port": 8200},
    }
    project.config("mainpc", config(agents))
    found = project.findings("C", tree=False, values={"PORT_OFFSET": "0"})
    assert [(one.rule, one.agent, one.severity) for one in found] == [
        ("C-expression", "A", "warning"),
        ("C-expression", "Plain", "warning"),
    ]
    assert "config.redis.port" in found[0].message and "3 agents" in found[1].message


def test_a_fleet_of_numbers_has_no_torn_port(project):
    project.config("mainpc", config({"A": OFFSET, "B": {}, "C": {}}))
    assert project.findings("C", tree=False, values={"PORT_OFFSET": "0"}) == []


def test_a_port_whose_offset_has_a_default_moves_with_the_others(project):
    defaulted = {"port": '"${PORT_OFFSET:-0}+7103"', "health_check_port": '"${PORT_OFFSET:-0}+8103"'}
    other = {"port": '"${PORT_OFFSET}+7104"', "health_check_port": '"${PORT_OFFSET}+8104"'}
    project.config("mainpc", config({"A": OFFSET, "B": other, "D": defaulted}))
    assert project.findings("C", tree=False, values={"PORT_OFFSET": "0"}) == []


# G

CONFIGS = {
    "G-parse": "agent_groups: {\n",
    "G-no-agents": "global_settings: {}\n",
    "G-duplicate-key": config({"A": {}}) + "global_settings: {}\nglobal_settings: {}\n",
    "G-schema": config({"A": {"port": "true"}}),
    "G-malformed-entry": config({"A": {}}) + "    description: a group\n",
    "G-lost-agents": config({"A": {}})
    + "    deeper:\n      inner:\n        B: {script_path: b.py, port: 5100, health_check_port: 6100}\n",
}


@pytest.mark.parametrize("rule, text", CONFIGS.items(), ids=CONFIGS.keys())
def test_config_rules(project, rule, text):
    project.config("mainpc", text)
    found = project.findings("G", tree=False)
    assert rule in {one.rule for one in found}
    assert all(one.file.endswith("mainpc.yaml") and one.line >= 1 and one.document()["fix"] for one in found)


def test_a_fleet_without_agents_is_no_clean_one(project):
    project.config("mainpc", "global_settings: {}\n").config("pc2", "pc2_services: []\n")
    report = project.audit(tree=False)
    assert report.agents == 0 and report.unreadable
    assert {one.rule for one in report.findings} == {"G-no-agents"}


def test_order_of_risks(project):
    project.write({"B.py": ""})
    project.config("mainpc", config({"A": {"dependencies": ["Gone"], "port": 80}, "B": {"health_check_port": 9500}}))
    risks = [one.risk for one in project.audit().findings]
    assert risks == sorted(risks, key="GACDB".index) and set(risks) == set("GACDB")


def test_risk_order_is_the_requirements_order(project):
    from ansible_collections.fleetops.continuity.plugins.module_utils.audit.findings import RISKS, RULES

    assert "".join(RISKS) == "GACDHB"
    assert list(dict.fromkeys(rule[0] for rule in RULES)) == list(RISKS)


def test_without_a_tree_what_is_left_out_is_said(project):
    project.config("mainpc", config({"A": {}}))
    report = project.audit(tree=False)
    assert set(report.not_audited) == {"A", "D"}
    assert "Risk A (scripts that cannot be started) was not audited" in report.text()


def test_the_same_fleet_gives_the_same_report(project):
    project.write({"B.py": ""})
    project.config("mainpc", config({"A": {"dependencies": ["Gone"], "port": 80}, "B": {"health_check_port": 9500}}))
    assert project.audit().document() == project.audit().document()


def test_a_hosts_own_port_without_a_value(project):
    project.config("pc2", config({"A": {"port": 7150}}, top='error_bus_port: "${PORT_OFFSET}+7150"\n'))
    found = project.findings("C", tree=False)
    assert told(found) == [("C-collision", "pc2", None), ("C-expression", "pc2", None)]
