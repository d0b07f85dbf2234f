# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rule speaks for an agent, and what becomes of it."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Agent, AgentId, Location, PortClaim
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.agent_rules import (
    AgentRules,
    RuleError,
    bind_address,
    probe_of,
    unit_of,
)

PLACE = Location("startup_config.yaml", 7)


def agent(name="Api", port=7102, health=8102, bind_host=None):
    def claim(key, number):
        return PortClaim(key, number, number if number is not None else "${OFFSET}+1", PLACE)

    return Agent(
        AgentId("PC2", name),
        PLACE,
        "a.py",
        PLACE,
        port=claim("port", port) if port != "none" else None,
        health_check_port=claim("health_check_port", health),
        bind_host=bind_host,
    )


def rule(*rules, of=None):
    return AgentRules.parse(list(rules)).of(of or agent())


def test_without_rules_an_agent_binds_by_itself_and_is_probed_on_its_port():
    found = rule()
    assert unit_of(agent(), found, "127.0.0.1").sockets == ()
    assert probe_of(agent(), found, "127.0.0.1").target == "127.0.0.1:7102"
    assert probe_of(agent(), found, "127.0.0.1").kind == "tcp"


def test_the_first_rule_that_has_a_key_wins_key_by_key():
    found = rule(
        {"match": ["MainPC:*"], "user": "wrong"},
        {"match": ["PC2:A*"], "probe": {"kind": "zmq", "port": "health_check_port"}},
        {"match": "*", "socket": True, "stop_seconds": 20, "probe": {"kind": "http"}},
        {"match": ["*"], "socket": False, "user": "agents"},
    )
    unit, probe = unit_of(agent(), found, "0.0.0.0"), probe_of(agent(), found, "0.0.0.0")
    assert (unit.sockets, unit.stop_seconds, unit.user) == (("0.0.0.0:7102",), 20.0, "agents")
    assert (probe.kind, probe.target) == ("zmq", "127.0.0.1:8102")


def test_several_sockets_and_overlap():
    unit = unit_of(
        agent(), rule({"match": "*", "socket": ["port", "health_check_port+1"], "overlap": True}), "127.0.0.1"
    )
    assert (unit.sockets, unit.overlap) == (("127.0.0.1:7102", "127.0.0.1:8103"), True)
    assert unit_of(agent(), rule({"match": "*", "socket": True}), "127.0.0.1").overlap is False
    assert unit_of(agent(), rule({"match": "*", "overlap": True}), "127.0.0.1").overlap is False


@pytest.mark.parametrize(
    ("port", "number"),
    [("port", 7102), ("health_check_port", 8102), ("port+1", 7103), ("health_check_port+1", 8103), (9000, 9000)],
)
def test_ports_of_probes(port, number):
    found = rule({"match": ["*"], "probe": {"kind": "http", "port": port, "path": "/ready", "timeout": 1.5}})
    probe = probe_of(agent(), found, "10.0.0.2")
    assert (probe.target, probe.path, probe.timeout) == (f"10.0.0.2:{number}", "/ready", 1.5)


def test_probes_without_a_port():
    aged = rule({"match": ["*"], "probe": {"kind": "file_age", "path": "beat", "max_age": 9}})
    asked = rule({"match": ["*"], "probe": {"kind": "command", "argv": ["/bin/true", 1]}})
    assert probe_of(agent(), aged, "").target == "state/Api/beat"
    assert probe_of(agent(), asked, "").argv == ("/bin/true", "1")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("x", "a mapping with the key match"),
        ({"socket": True}, "a mapping with the key match"),
        ({"match": ["*"], "sockets": True}, "unknown key 'sockets'; known are match, socket"),
        ({"match": ["*"], "socket": "yes"}, "socket is 'yes', expected bool"),
        ({"match": ["*"], "stop_seconds": True}, "stop_seconds is True, expected int or float"),
        ({"match": ["*"], "probe": {"kind": "icmp"}}, "kind is one of http, zmq, tcp"),
        ({"match": ["*"], "probe": {"kind": "http", "url": "/"}}, "unknown key 'url'"),
        ({"match": ["*"], "probe": {}}, "kind is one of"),
        ({"match": [None]}, "expected globs"),
        ({"match": ["*"], "user": "fleet\nExecStartPre=/bin/sh"}, "expected the name of a user"),
        ({"match": ["*"], "stop_seconds": float("nan")}, "expected seconds, at most a day"),
        ({"match": ["*"], "stop_seconds": -1}, "expected seconds, at most a day"),
        ({"match": ["*"], "credentials": {"../../etc/x": "/run/x"}}, "plain file names"),
        ({"match": ["*"], "credentials": {"token": "/run/x\nUser=root"}}, "plain file names"),
        ({"match": ["*"], "probe": {"kind": "tcp", "timeout": float("inf")}}, "expected seconds above 0"),
        ({"match": ["*"], "probe": {"kind": "http", "path": "/x\r\nHost: y"}}, "a path in one line"),
        ({"match": ["*"], "probe": {"kind": "command", "argv": ["a\0b"]}}, "a list of words"),
        ({"match": ["*"], "probe": {"kind": "command", "argv": [["a"]]}}, "a list of words"),
    ],
)
def test_a_wrong_rule_is_named(given, sentence):
    with pytest.raises(RuleError, match=sentence) as caught:
        AgentRules.parse([{"match": ["*"]}, given])
    assert "rule 2" in str(caught.value)


@pytest.mark.parametrize("given", [None, 7, {"match": ["*"]}, "x"])
def test_rules_that_are_no_list_are_named(given):
    with pytest.raises(RuleError, match="expected a list of rules"):
        AgentRules.parse(given)


@pytest.mark.parametrize(
    ("port", "of", "sentence"),
    [
        ("port", agent(port="none"), "the agent has no usable port"),
        ("port", agent(port=None), "the agent has no usable port"),
        ("health_check_port+1", agent(health=None), "the agent has no usable health_check_port"),
        ("port-1", agent(), "neither a number nor"),
        ("port+65000", agent(), "is no port"),
        (0, agent(), "is no port"),
        (-1, agent(), "is no port"),
        ("99999", agent(), "is no port"),
        ("config.zmq_port", agent(), "neither a number nor"),
    ],
)
def test_a_port_that_an_agent_does_not_have_is_named(port, of, sentence):
    with pytest.raises(RuleError, match=sentence):
        probe_of(of, rule({"match": ["*"], "probe": {"kind": "tcp", "port": port}}), "127.0.0.1")


def test_probes_that_lack_what_they_need():
    for kind, sentence in (("file_age", "needs path"), ("command", "needs argv")):
        with pytest.raises(RuleError, match=sentence):
            probe_of(agent(), rule({"match": ["*"], "probe": {"kind": kind}}), "127.0.0.1")


@pytest.mark.parametrize(
    ("declared", "address", "bind"),
    [
        (None, None, "127.0.0.1"),
        ("localhost", None, "127.0.0.1"),
        ("0.0.0.0", None, "0.0.0.0"),
        ("0.0.0.0", "10.0.0.2", "10.0.0.2"),
    ],
)
def test_where_an_agent_listens(declared, address, bind):
    assert bind_address(agent(bind_host=declared), address) == bind


def test_rules_in_two_spellings_are_the_same_rules():
    one = AgentRules.parse([{"match": "*", "stop_seconds": 5}])
    assert one == AgentRules.parse([{"match": ["*"], "stop_seconds": 5.0}])
