# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes against real sockets, files and programs."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import contextmanager
from typing import Callable, Iterator

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import Probe, SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.health.probes import NetworkProber
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner


@pytest.fixture
def prober() -> NetworkProber:
    return NetworkProber(LocalRunner(), SystemClock())


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accepts until the end of the block; each connection is given to ``talk`` in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _unused = listening.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def saying(answer: bytes, *, pause: float = 0.0) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        for piece in [answer] if not pause else [answer[at : at + 1] for at in range(len(answer))]:
            connection.sendall(piece)
            time.sleep(pause)

    return talk


def silent(connection: socket.socket) -> None:
    time.sleep(20)


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def ask(prober, kind, target, **settings):
    return prober.probe([Probe("Agent", kind, target, **settings)], deadline=5)["Agent"]


def test_http_answer_is_read(prober):
    body = b'{"status": "degraded", "ready": true, "errors": 3}'
    with server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))) as target:
        health = ask(prober, "http", target)
    assert (health.status, health.alive, health.ready, health.word, health.errors) == (
        "degraded",
        True,
        True,
        "degraded",
        3,
    )
    assert 0 < health.seconds < 1


def test_http_without_length_ends_with_the_connection(prober):
    with server(saying(b"HTTP/1.0 200 OK\r\n\r\nhealthy\n")) as target:
        assert ask(prober, "http", target).word == "healthy"


def test_redirect_is_not_followed(prober):
    asked = []

    def elsewhere(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))

    with server(elsewhere) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://{other}/health\r\nContent-Length: 0\r\n\r\n".encode()
        with server(saying(answer)) as target:
            health = ask(prober, "http", target)
    assert (health.status, health.alive, health.ready) == ("unknown", True, False)
    assert not asked


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\xff" * 40_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 400_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 400_000,
        b"HTTP/1.1 OK\r\n\r\n",
        b"",
    ],
)
def test_nonsense_is_unhealthy_and_bounded(prober, answer):
    with server(saying(answer)) as target:
        begun = time.monotonic()
        health = ask(prober, "http", target, timeout=1.5)
        assert time.monotonic() - begun < 2.5
    assert (health.status, health.alive, health.ready) == ("unhealthy", False, False)
    assert health.message


def test_slow_drip_ends_with_the_timeout(prober):
    with server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"a" * 200, pause=0.05)) as target:
        begun = time.monotonic()
        health = ask(prober, "http", target, timeout=0.6)
        assert time.monotonic() - begun < 1.2
    assert health.message == "no answer within 0.6 s"


def test_refused_is_unhealthy_and_not_alive(prober):
    for kind in ("http", "zmq", "tcp"):
        health = ask(prober, kind, f"127.0.0.1:{unused_port()}")
        assert (health.status, health.alive) == ("unhealthy", False)
        assert "111" in health.message or "refused" in health.message.lower()


def test_bad_targets_are_answers_not_errors(prober):
    for target in ("", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:99999"):
        assert ask(prober, "tcp", target).alive is False
    assert ask(prober, "carrier-pigeon", "127.0.0.1:1").status == "unknown"
    assert ask(prober, "http", "127.0.0.1:1", path="/a\r\nX: y").alive is False


def test_tcp(prober):
    with server(silent) as target:
        health = ask(prober, "tcp", target)
    assert (health.status, health.ready, health.word) == ("healthy", True, "connected")


@contextmanager
def rep_socket(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    zmq = pytest.importorskip("zmq")
    context = zmq.Context()
    rep = context.socket(zmq.REP)
    rep.setsockopt(zmq.LINGER, 0)
    port = rep.bind_to_random_port("tcp://127.0.0.1")
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if rep.poll(50):
                rep.send(answer(rep.recv()))
        rep.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        ended.set()
        thread.join(10)
        context.term()


def test_zmq_json_action(prober):
    asked = []

    def answer(request: bytes) -> bytes:
        asked.append(request)
        return b'{"status": "ok", "initialized": true, "error_count": 2}'

    with rep_socket(answer) as target:
        first = ask(prober, "zmq", target)
        second = ask(prober, "zmq", target, request='{"action": "ping"}')
    assert (first.status, first.ready, first.errors) == ("healthy", True, 2)
    assert second.status == "healthy"
    assert asked == [b'{"action": "health_check"}', b'{"action": "ping"}']


def test_zmq_long_frames_both_ways(prober):
    with rep_socket(lambda request: b'{"status": "ok", "pad": "%s"}' % (b"x" * len(request))) as target:
        assert ask(prober, "zmq", target, request="y" * 70_000).status == "healthy"


def test_zmq_answer_over_the_limit_is_refused(prober):
    with rep_socket(lambda request: b"x" * 2_000_000) as target:
        health = ask(prober, "zmq", target)
    assert health.alive is False
    assert "longer than" in health.message


def test_busy_rep_does_not_hang_and_answers_again_later(prober):
    busy = threading.Event()

    def answer(request: bytes) -> bytes:
        busy.wait(10)
        return b"ok"

    with rep_socket(answer) as target:
        begun = time.monotonic()
        health = ask(prober, "zmq", target, timeout=0.5)
        assert time.monotonic() - begun < 1.5
        assert (health.status, health.alive, health.message) == ("unhealthy", False, "no answer within 0.5 s")
        busy.set()
        assert ask(prober, "zmq", target).status == "healthy"


def test_zmq_socket_of_another_type_is_named(prober):
    zmq = pytest.importorskip("zmq")
    context = zmq.Context()
    publisher = context.socket(zmq.PUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    try:
        assert ask(prober, "zmq", f"127.0.0.1:{port}").message == "the peer is no REP socket"
    finally:
        publisher.close(0)
        context.term()


def test_zmq_against_http_and_silence(prober):
    with server(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b" " * 100)) as target:
        assert ask(prober, "zmq", target).message == "the peer does not speak ZMTP 3"
    with server(silent) as target:
        assert ask(prober, "zmq", target, timeout=0.4).message == "no answer within 0.4 s"


def test_command(prober):
    def run(code: str):
        return ask(prober, "command", "", argv=(sys.executable, "-c", code))

    assert run("pass").status == "healthy"
    assert run("print('degraded')").status == "degraded"
    failed = run("import sys; sys.exit('disk is full')")
    assert (failed.status, failed.alive, failed.message) == ("unhealthy", True, "exit status 1: disk is full")
    assert ask(prober, "command", "", argv=("/nonexistent/program",)).alive is False
    begun = time.monotonic()
    hanging = ask(prober, "command", "", argv=("sleep", "30"), timeout=0.5)
    assert time.monotonic() - begun < 2
    assert hanging.alive is False


def test_file_age(prober, tmp_path):
    beat = tmp_path / "heartbeat"
    assert ask(prober, "file_age", str(beat)).alive is False
    beat.touch()
    assert ask(prober, "file_age", str(beat), max_age=5).status == "healthy"
    os.utime(beat, (time.time() - 100, time.time() - 100))
    old = ask(prober, "file_age", str(beat), max_age=60)
    assert (old.status, old.ready, old.message) == ("unhealthy", False, "older than 60 s")


def test_77_probes_with_5_hanging_end_by_the_deadline(prober):
    good = saying(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}')
    with server(good) as answering, server(silent) as hanging:
        probes = [
            Probe(f"Agent{number}", "http", hanging if number % 16 == 0 else answering, timeout=30)
            for number in range(77)
        ]
        begun = time.monotonic()
        found = prober.probe(probes, deadline=1.5)
        seconds = time.monotonic() - begun
    print(f"77 probes in {seconds:.2f} s")
    assert seconds < 2.2
    assert sum(health.status == "healthy" for health in found.values()) == 72
    late = [health for health in found.values() if health.status == "unknown"]
    assert len(late) == 5
    assert all("before the deadline" in health.message for health in late)


def test_no_probes_no_answers(prober):
    assert prober.probe([], deadline=1) == {}
