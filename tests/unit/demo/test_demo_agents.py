# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's agents, as processes: they answer, they hand over, they drain, they remember."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from demo_agents import Running, Start, listen

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet

pytestmark = pytest.mark.usefixtures("python_with_zmq")

BATCHES = 5
ONE_OF_EACH_KIND = [
    "MainPC:ServiceRegistry",  # on the base class
    "MainPC:STTService",  # a service class of its own
    "MainPC:Executor",  # http.server
    "MainPC:ChitchatAgent",  # a local stub of the base class
    "PC2:AdvancedRouter",  # asyncio
    "PC2:TieredResponder",  # a function
    "PC2:ObservabilityHub",
    "MainPC:NLUAgent",  # health over ZeroMQ
]
LOAD = Path(__file__).resolve().parents[2] / "benchmarks" / "load.py"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_agent_starts_answers_and_drains(batch: int, fleet: Fleet, address: str, tmp_path: Path) -> None:
    """77 agents, each asked on both of its ports; the two hubs have the same ports, hence the folders."""
    chosen = list(fleet)[batch::BATCHES]
    for host in fleet.hosts:
        (tmp_path / host.host).mkdir()
    running = [Running(agent, address, tmp_path / agent.host) for agent in chosen]
    try:
        for one in running:
            one.wait_ready()
            if one.service_speaks_zmq:
                document = one.ask(one.port, "status")
            else:
                status, text = one.get()
                assert status == 200, text
                document = json.loads(text)
                assert one.get("/no-such-path")[0] == 404
            assert document["name"] == one.agent.name
            assert document["release"] == "r-test"
            assert document["pid"] == one.process.pid
            metrics_port = one.health_port if one.service_speaks_zmq else one.port
            assert f'agent_up{{agent="{one.agent.name}"}} 1' in one.get("/metrics", metrics_port)[1]
            health = one.health()
            assert (health["ready"], health["errors"], health["pid"]) == (True, 0, one.process.pid)
            assert list(one.state.glob("state.*"))
        for one in running:
            one.process.send_signal(signal.SIGTERM)
        assert [one.stop() for one in running] == [0] * len(running)
        assert all("drained" in one.log.read_text() for one in running)
        assert not any("Traceback" in one.log.read_text() for one in running)
    finally:
        for one in running:
            one.process.kill()
            one.process.wait()


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
@pytest.mark.parametrize("by_systemd", [False, True], ids=["fd 0", "LISTEN_FDS"])
def test_a_request_between_two_lives_waits_and_is_answered(
    name: str, by_systemd: bool, start: Start, fleet: Fleet, address: str
) -> None:
    agent = next(one for one in fleet if str(one.id) == name)
    assert agent.port and agent.health_check_port
    ports = [agent.health_check_port.number, agent.port.number] if by_systemd else [agent.port.number]
    held = [listen(address, port or 0) for port in ports]
    first = start(name, handed=held, by_systemd=by_systemd).wait_ready()
    assert json.loads(first.get()[1])["pid"] == first.process.pid
    assert first.health()["ready"]
    assert first.stop() == 0
    with socket.create_connection((address, first.port), timeout=10.0) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")
        second = start(name, handed=held, by_systemd=by_systemd).wait_ready()
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert f'"pid": {second.process.pid}'.encode() in answer
    assert second.health()["pid"] == second.process.pid
    for sock in held:
        sock.close()


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_without_a_supervisor_it_binds_and_waits_for_the_port(name: str, start: Start) -> None:
    first = start(name).wait_ready()
    second = start(name)
    time.sleep(0.3)
    assert second.process.poll() is None
    assert first.stop() == 0
    second.wait_ready()
    assert json.loads(second.get()[1])["pid"] == second.process.pid


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_draining_answers_open_connections_and_says_that_they_end(name: str, start: Start, address: str) -> None:
    one = start(name).wait_ready()
    request = b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n"
    idle = socket.create_connection((address, one.port), timeout=10.0)
    half = socket.create_connection((address, one.port), timeout=10.0)
    for client in (idle, half):
        client.sendall(request)
        assert b"connection: close" not in client.recv(65536).lower()
    half.sendall(request[:20])
    one.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    with pytest.raises(OSError):
        socket.create_connection((address, one.port), timeout=1.0)
    half.sendall(request[20:])
    idle.sendall(request)
    for client in (half, idle):
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert b"connection: close" in answer.lower()
        client.close()
    begun = time.monotonic()
    assert one.process.wait(15) == 0
    assert time.monotonic() - begun < 1.0


def test_an_idle_connection_does_not_hold_up_the_end(start: Start, address: str) -> None:
    one = start("MainPC:ServiceRegistry").wait_ready()
    with socket.create_connection((address, one.port), timeout=10.0) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: agent\r\n\r\n")
        idle.recv(65536)
        begun = time.monotonic()
        assert one.stop() == 0
        assert 1.4 < time.monotonic() - begun < 3.0


def test_it_says_when_it_is_ready(start: Start, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15.0)
        one = start("MainPC:ServiceRegistry", NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert manager.recv(100) == b"READY=1"
        assert one.get()[0] == 200


@pytest.mark.parametrize("name", ["MainPC:ServiceRegistry", "MainPC:SystemDigitalTwin", "MainPC:SessionMemoryAgent"])
def test_it_remembers_over_a_restart(name: str, start: Start) -> None:
    first = start(name).wait_ready()
    for _unused in range(5):
        first.get()
    first.stop()
    second = start(name).wait_ready()
    assert json.loads(second.get()[1])["requests_total"] == 6


@pytest.mark.parametrize("name", ["MainPC:ServiceRegistry", "MainPC:SystemDigitalTwin"])
def test_a_spoilt_state_degrades_it_and_a_restored_one_heals_it(name: str, start: Start) -> None:
    one = start(name).wait_ready()
    (path,) = one.state.glob("state.[js]*[ne]")
    good = path.read_bytes()
    path.write_bytes(b"\0" * len(good))
    wait_for(one, "degraded")
    assert one.health()["errors"] >= 1
    path.write_bytes(good)
    wait_for(one, "ok")


def wait_for(one: Running, status: str) -> None:
    deadline = time.monotonic() + 15.0
    while one.health()["status"] != status:
        assert time.monotonic() < deadline, one.log.read_text()
        time.sleep(0.2)


def test_two_instances_lose_no_count(start: Start, fleet: Fleet, address: str) -> None:
    """Blue and green overlap on one socket; both add to one state."""
    name = "MainPC:SystemDigitalTwin"
    agent = next(one for one in fleet if str(one.id) == name)
    assert agent.port and agent.health_check_port
    held = [listen(address, port.number or 0) for port in (agent.port, agent.health_check_port)]
    both = [start(name, handed=held, by_systemd=True).wait_ready() for _unused in range(2)]
    for _unused in range(40):
        assert both[0].get()[0] == 200
    assert [one.stop() for one in both] == [0, 0]
    database = sqlite3.connect(both[0].state / "state.sqlite")
    facts = dict(database.execute("SELECT key, value FROM facts"))
    database.close()
    assert facts["requests"] == 40
    for sock in held:
        sock.close()


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"])
def test_what_is_not_http_is_refused_and_harms_nobody(sent: bytes, start: Start, address: str) -> None:
    one = start("MainPC:ServiceRegistry").wait_ready()
    with socket.create_connection((address, one.port), timeout=5.0) as client:
        client.sendall(sent)
        assert client.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
    assert one.get()[0] == 200


def test_the_hub_knows_who_registered(start: Start) -> None:
    hub = start("MainPC:ObservabilityHub").wait_ready()
    start("MainPC:NLUAgent").wait_ready()
    start("MainPC:STTService").wait_ready()  # bypasses the base class, so nobody registers it
    deadline = time.monotonic() + 20.0
    while not json.loads(hub.get("/agents")[1]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert set(json.loads(hub.get("/agents")[1])) == {"NLUAgent"}


def test_load_counts_what_fails(start: Start, address: str, tmp_path: Path) -> None:
    one = start("MainPC:ServiceRegistry").wait_ready()
    result = tmp_path / "result.json"
    command = [sys.executable, str(LOAD), "--pace", "0.02", "--seconds", "60", "--result", str(result)]
    with subprocess.Popen([*command, "--target", f"Registry={address}:{one.port}"], stdout=subprocess.DEVNULL) as load:
        time.sleep(1.5)
        one.stop()
        time.sleep(0.5)
        load.send_signal(signal.SIGINT)
        assert load.wait(15) == 1
    counted = json.loads(result.read_text())
    assert counted["requests"] > counted["failed"] > 0
    assert counted["new"]["requests"] + counted["keep-alive"]["requests"] == counted["requests"]


def test_load_loses_nothing_when_the_socket_is_handed_over(start: Start, address: str, tmp_path: Path) -> None:
    held = [listen(address, 7200)]
    one = start("MainPC:ServiceRegistry", handed=held).wait_ready()
    result = tmp_path / "result.json"
    command = [sys.executable, str(LOAD), "--pace", "0.01", "--seconds", "60", "--result", str(result)]
    with subprocess.Popen([*command, "--target", f"Registry={address}:7200"], stdout=subprocess.DEVNULL) as load:
        for _unused in range(3):
            time.sleep(0.4)
            assert one.stop() == 0
            one = start("MainPC:ServiceRegistry", handed=held).wait_ready()
        load.send_signal(signal.SIGINT)
        assert load.wait(15) == 0
    counted = json.loads(result.read_text())
    assert counted["failed"] == 0
    assert counted["requests"] > 100
    held[0].close()
