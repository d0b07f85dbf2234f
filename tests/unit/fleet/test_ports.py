# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port space: collisions against an obvious count, on random hosts."""

from __future__ import annotations

from collections import defaultdict
from typing import Optional

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import (
    Agent,
    AgentId,
    HostConfig,
    Location,
    PortClaim,
)
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.ports import (
    Claim,
    PortRange,
    claims,
    collisions,
    declared_ranges,
    implied,
)

HERE = Location("fleet.yaml", 1)
PORT = st.none() | st.integers(7000, 7006)


def claim(key: str, number: Optional[int], base: Optional[tuple[str, int]] = None) -> Optional[PortClaim]:
    return None if number is None and base is None else PortClaim(key, number, number or "", HERE, True, base)


def agent(name: str, port: Optional[int], health: Optional[int] = None, *others: PortClaim) -> Agent:
    return Agent(
        AgentId("pc2", name),
        HERE,
        f"{name}.py",
        HERE,
        port=claim("port", port),
        health_check_port=claim("health_check_port", health),
        other_ports=others,
    )


def host(*agents: Agent, ports: tuple[PortClaim, ...] = ()) -> HostConfig:
    return HostConfig("pc2", "fleet.yaml", agents, ports=ports)


@given(st.lists(st.tuples(PORT, PORT), max_size=6))
def test_random_hosts(numbers: list[tuple[Optional[int], Optional[int]]]) -> None:
    expected: dict[int, list[str]] = defaultdict(list)
    for index, (port, health) in enumerate(numbers):
        for number in (port, health):
            if number is not None:
                expected[number].append(f"pc2:A{index}")
    config = host(*(agent(f"A{index}", port, health) for index, (port, health) in enumerate(numbers)))
    found = {hit.port: [member.member("pc2") for member in hit.members] for hit in collisions(config)}
    assert found == {number: members for number, members in expected.items() if len(members) > 1}
    assert list(found) == sorted(found)


def test_an_agent_collides_with_itself_only_by_its_two_own_keys() -> None:
    (collision,) = collisions(host(agent("A", 7000, 7000)))
    assert collision.port == 7000 and [hit.port.key for hit in collision.members] == ["port", "health_check_port"]
    metrics = claim("config.metrics_port", 7000)
    assert metrics is not None
    assert collisions(host(agent("A", 7000, 8000, metrics))) == ()
    assert [hit.port for hit in collisions(host(agent("A", 7001, 8000, metrics), agent("B", 7000)))] == [7000]


def test_what_does_not_listen_or_run_claims_nothing() -> None:
    redis = PortClaim("config.redis.port", 6379, 6379, HERE, listens=False)
    disabled = Agent(AgentId("pc2", "C"), HERE, "c.py", HERE, port=claim("port", 7000), enabled=False)
    config = host(agent("A", 7000, None, redis), agent("B", 7001, None, redis), disabled)
    assert [(hit.agent and hit.agent.name, hit.port.number) for hit in claims(config)] == [("A", 7000), ("B", 7001)]
    assert collisions(config) == ()


def test_numbers_and_bases_are_different_places() -> None:
    moving = [Agent(AgentId("pc2", name), HERE, "", HERE, port=claim("port", None, ("OFFSET", 7000))) for name in "AB"]
    (collision,) = collisions(host(*moving, agent("C", 7000)))
    assert (collision.port, collision.base) == (None, ("OFFSET", 7000))
    assert [hit.member("pc2") for hit in collision.members] == ["pc2:A", "pc2:B"]


def test_the_host_itself_claims() -> None:
    bus = PortClaim("error_bus_port", 7150, 7150, HERE)
    (collision,) = collisions(host(agent("A", 7150), ports=(bus,)))
    assert [hit.member("pc2") for hit in collision.members] == ["pc2:A", "pc2:error_bus_port"]


def test_implied_ports() -> None:
    assert [(hit.key, hit.number) for hit in implied(agent("A", 7000, 8000))] == [("health_check_port+1", 8001)]
    assert [hit.number for hit in implied(agent("A", 7000))] == [7001, 7002]
    assert implied(agent("A", None)) == ()
    one, other = agent("A", 7000, 8000), agent("B", 8001, 8100)
    beside = [Claim(found, port) for found in (one, other) for port in implied(found)]
    assert collisions(host(one, other)) == ()
    assert [hit.port for hit in collisions(host(one, other), beside=beside)] == [8001]


def test_declared_ranges_stand_anywhere() -> None:
    settings = {
        "pc2_network": {"agent_ports": {"start": 7100, "end": 7199}, "host": "0.0.0.0"},
        "ports": {"start": 1, "end": 2},
        "others": {"start": 1, "end": 2},
        "broken_ports": {"start": "a", "end": 2},
    }
    config = HostConfig("pc2", "f", settings=settings)
    assert set(declared_ranges(config)) == {PortRange("pc2_network.agent_ports", 7100, 7199), PortRange("ports", 1, 2)}
