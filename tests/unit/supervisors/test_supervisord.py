# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""supervisord, driven for real."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest

from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors import supervisord_daemon
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.supervisord import SupervisordSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fixtures" / "supervised"))
from load import Load


def ask(address: str) -> dict[str, object]:
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
        body: dict[str, object] = json.load(answer)
        return body


def wait_for(what: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_take_over_loses_no_request(host, supervisor):
    address = host.agent("SpeechAgent")
    host.point("SpeechAgent", "blue", "r1")
    assert supervisor.install([host.units["SpeechAgent"]]) == ["SpeechAgent"]
    assert supervisor.install([host.units["SpeechAgent"]]) == []
    assert supervisor.status(["SpeechAgent"])["SpeechAgent"].state == "stopped"
    assert supervisor.start(["SpeechAgent"], timeout=20)["SpeechAgent"].ok

    with Load(address) as load:
        for number in range(2, 6):
            release = f"r{number}"
            host.next_release("SpeechAgent", release)
            before = supervisor.status(["SpeechAgent"])["SpeechAgent"]
            outcome = supervisor.take_over(
                ["SpeechAgent"], lambda agent, slot, to=release: host.point(agent, slot, to), timeout=30
            )["SpeechAgent"]
            assert outcome.ok, outcome
            assert outcome.away_seconds == 0.0
            after = supervisor.status(["SpeechAgent"])["SpeechAgent"]
            assert after.pid != before.pid
            assert after.restarts == 0
    print(f"lost {load.failed} of {load.total}")
    assert load.failed == 0, load.errors
    assert load.total > 100
    assert set(load.releases) == {"r1", "r2", "r3", "r4", "r5"}


def test_agent_without_socket_is_away_and_says_so(host, supervisor):
    address = host.agent("PlainAgent", with_socket=False)
    host.point("PlainAgent", "blue", "r1")
    host.next_release("PlainAgent", "r2")
    supervisor.install(list(host.units.values()))
    assert supervisor.start(["PlainAgent"], timeout=20)["PlainAgent"].ok
    outcome = supervisor.take_over(["PlainAgent"], lambda agent, slot: host.point(agent, slot, "r2"), timeout=20)[
        "PlainAgent"
    ]
    assert outcome.ok
    assert 0.0 < outcome.away_seconds < 5.0
    assert ask(address)["release"] == "r2"


def test_take_over_starts_what_does_not_run(host, supervisor):
    address = host.agent("NewAgent")
    supervisor.install(list(host.units.values()))
    outcome = supervisor.take_over(["NewAgent"], lambda agent, slot: host.point(agent, slot, "r1"), timeout=20)
    assert outcome["NewAgent"].ok
    assert ask(address)["release"] == "r1"


def test_all_agents_drain_at_the_same_time_when_the_daemon_ends(host, supervisor):
    for number in range(6):
        name = f"Slow{number}"
        host.agent(name)
        host.release(name, "r1", ["/bin/sh", "-c", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"])
        host.point(name, "blue", "r1")
    supervisor.install(list(host.units.values()))
    assert all(outcome.ok for outcome in supervisor.start(list(host.units), timeout=20).values())
    begun = time.monotonic()
    assert supervisor.stop_daemon()
    assert time.monotonic() - begun < 5.0
    assert not supervisor.stop_daemon()


def test_killed_worker_is_one_restart_and_a_requested_restart_is_none(host, supervisor):
    host.agent("Agent")
    host.agent("Agent_1")
    for name in host.units:
        host.point(name, "blue", "r1")
    supervisor.install(list(host.units.values()))
    supervisor.start(list(host.units), timeout=20)
    supervisor.restart(list(host.units), timeout=20)
    killed = supervisor.status(["Agent_1"])["Agent_1"].pid
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: supervisor.status(["Agent_1"])["Agent_1"].pid not in (killed, None))
    counted = supervisor.status(["Agent", "Agent_1"])
    assert (counted["Agent"].restarts, counted["Agent_1"].restarts) == (0, 1)
    fresh = SupervisordSupervisor(str(host.path), SystemClock(), python=sys.executable)
    assert fresh.status(["Agent_1"])["Agent_1"].restarts == 1


def test_bad_release_is_an_outcome_and_the_others_go_on(host, supervisor):
    good = host.agent("Good")
    host.agent("Bad")
    for name in host.units:
        host.point(name, "blue", "r1")
        host.next_release(name, "r2")
    host.release("Bad", "r2", ["/bin/sh", "-c", "exit 3"])
    supervisor.install(list(host.units.values()))
    supervisor.start(list(host.units), timeout=20)
    outcomes = supervisor.take_over(list(host.units), lambda agent, slot: host.point(agent, slot, "r2"), timeout=30)
    assert outcomes["Good"].ok
    assert not outcomes["Bad"].ok
    assert "did not stay up" in outcomes["Bad"].message
    wait_for(lambda: supervisor.status(["Bad"])["Bad"].state == "failed")
    assert ask(good)["release"] == "r2"
    back = supervisor.take_over(["Bad"], lambda agent, slot: host.point(agent, slot, "r1"), timeout=30)
    assert back["Bad"].ok, back


def test_requests_wait_while_a_bad_release_is_taken_back(host, supervisor):
    address = host.agent("Agent")
    host.point("Agent", "blue", "r1")
    host.release("Agent", "r2", ["/bin/sh", "-c", "exit 3"])
    supervisor.install(list(host.units.values()))
    supervisor.start(["Agent"], timeout=20)
    with Load(address) as load:
        time.sleep(0.3)
        assert not supervisor.take_over(["Agent"], lambda agent, slot: host.point(agent, slot, "r2"), timeout=30)[
            "Agent"
        ].ok
        time.sleep(1.0)
        back = supervisor.take_over(["Agent"], lambda agent, slot: host.point(agent, slot, "r1"), timeout=30)["Agent"]
        assert (back.ok, back.away_seconds) == (True, 0.0), back
        time.sleep(0.3)
    assert load.failed == 0, load.errors
    assert set(load.releases) == {"r1"}


def test_daemon_killed_in_a_batch_is_an_outcome_of_every_agent(host, supervisor):
    names = [f"Agent{number}" for number in range(6)]
    for name in names:
        host.agent(name)
        host.point(name, "blue", "r1")
    supervisor.install(list(host.units.values()))
    daemon = int(Path(supervisor.files.pid).read_text())
    killer = threading.Timer(0.4, os.kill, (daemon, signal.SIGKILL))
    killer.start()
    outcomes = supervisor.start(names, timeout=30, parallel=2)
    killer.join()
    assert list(outcomes) == names
    failed = [outcome.message for outcome in outcomes.values() if not outcome.ok]
    assert failed
    assert all("supervisord does not answer" in message for message in failed)
    with pytest.raises(ContinuityError, match="does not answer"):
        supervisor.start(names, timeout=30)
    assert supervisor.start_daemon(LocalRunner())
    assert all(outcome.ok for outcome in supervisor.restart(names, timeout=30).values())


def test_failing_switch_leaves_the_old_release_running(host, supervisor):
    address = host.agent("Agent")
    host.point("Agent", "blue", "r1")
    supervisor.install(list(host.units.values()))
    supervisor.start(["Agent"], timeout=20)

    def switch(agent: str, slot: str) -> None:
        raise ContinuityError("no such release", where="r9")

    outcome = supervisor.take_over(["Agent"], switch, timeout=20)["Agent"]
    assert not outcome.ok
    assert "no such release" in outcome.message
    assert ask(address)["release"] == "r1"


def test_agent_that_does_not_stop_is_killed_after_its_time(host, supervisor):
    host.agent("Stubborn", with_socket=False, stop_seconds=1)
    host.release("Stubborn", "r1", ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"])
    host.point("Stubborn", "blue", "r1")
    supervisor.install(list(host.units.values()))
    assert supervisor.start(["Stubborn"], timeout=20)["Stubborn"].ok
    outcome = supervisor.stop(["Stubborn"], timeout=20)["Stubborn"]
    assert outcome.ok
    assert 0.9 < outcome.seconds < 5
    assert supervisor.status(["Stubborn"])["Stubborn"].state == "stopped"


def test_batch_timeout_names_what_was_not_finished_and_what_was_not_begun(host, supervisor):
    for name in ("First", "Second"):
        host.agent(name, with_socket=False, stop_seconds=3)
        host.release(name, "r1", ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"])
        host.point(name, "blue", "r1")
    supervisor.install(list(host.units.values()))
    supervisor.start(["First", "Second"], timeout=20)
    begun = time.monotonic()
    outcomes = supervisor.stop(["First", "Second"], timeout=1, parallel=1)
    assert time.monotonic() - begun < 3
    assert outcomes["First"].message == "was not finished within 1 s"
    assert outcomes["Second"].message == "was not begun within 1 s"


def test_changed_unit_takes_effect_at_the_next_take_over_and_removed_agents_end(host, supervisor):
    host.agent("Agent")
    other = host.agent("Other")
    for name in host.units:
        host.point(name, "blue", "r1")
    supervisor.install(list(host.units.values()))
    supervisor.start(list(host.units), timeout=20)
    before = supervisor.status(list(host.units))
    moved = replace(host.units["Agent"], sockets=(f"127.0.0.2:{other.rpartition(':')[2]}",))
    assert supervisor.install([moved, host.units["Other"]]) == ["Agent"]
    assert {name: status.pid for name, status in supervisor.status(list(host.units)).items()} == {
        name: status.pid for name, status in before.items()
    }
    outcome = supervisor.take_over(["Agent"], lambda agent, slot: None, timeout=20)["Agent"]
    assert outcome.ok
    assert outcome.away_seconds > 0
    assert ask(moved.sockets[0])["release"] == "r1"
    assert supervisor.install([moved]) == ["Other"]
    gone = supervisor.status(["Other"])["Other"]
    assert (gone.state, gone.pid) == ("absent", None)


def test_unknown_agent_is_a_failed_outcome(host, supervisor):
    assert "install its unit" in supervisor.start(["Nobody"], timeout=5)["Nobody"].message
    assert supervisor.status(["Nobody"])["Nobody"].state == "absent"


def test_daemon_is_started_once_and_checks_the_boot_first(host, supervisor):
    assert supervisor.start_daemon(LocalRunner()) is False
    checked = host.path / "boot-checked"
    wait_for(checked.exists)
    assert checked.read_text() == f"boot-check --root {host.path}"
    assert os.stat(supervisor.files.socket).st_mode & 0o777 == 0o700


def test_killed_daemon_is_replaced_with_all_its_agents(host, supervisor):
    address = host.agent("Agent")
    host.point("Agent", "blue", "r1")
    supervisor.install(list(host.units.values()))
    supervisor.start(["Agent"], timeout=20)
    orphan = ask(address)["pid"]
    daemon = int(Path(supervisor.files.pid).read_text())
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not supervisord_daemon.answers(supervisor.files))
    assert ask(address)["pid"] == orphan
    stopped = supervisor.status(["Agent"])["Agent"]
    assert stopped.state == "stopped"
    assert "does not answer" in stopped.message
    assert supervisor.start_daemon(LocalRunner()) is True
    wait_for(lambda: supervisor.status(["Agent"])["Agent"].state == "running")
    assert ask(address)["pid"] == supervisor.status(["Agent"])["Agent"].pid != orphan


def test_daemon_inherits_nothing_from_its_starter(host, supervisor):
    daemon = int(Path(supervisor.files.pid).read_text())
    assert os.getsid(daemon) == daemon
    for number in (0, 1, 2):
        assert os.readlink(f"/proc/{daemon}/fd/{number}") == "/dev/null"
    environment = Path(f"/proc/{daemon}/environ").read_bytes()
    assert b"PYTEST_CURRENT_TEST" not in environment


def test_long_root_gets_a_short_socket(tmp_path):
    root = tmp_path / ("long" * 20) / "root"
    root.mkdir(parents=True)
    (root / "continuity.pyz").write_text("")
    supervisor = SupervisordSupervisor(str(root), SystemClock(), python=sys.executable)
    assert supervisor.files.socket.startswith("/tmp/continuity-")
    assert "can be bound to 98" in supervisor.files.reason
    try:
        assert supervisor.start_daemon(LocalRunner())
        assert os.stat(os.path.dirname(supervisor.files.socket)).st_mode & 0o777 == 0o700
    finally:
        supervisor.stop_daemon()
        os.rmdir(os.path.dirname(supervisor.files.socket))


def test_companion_survives_kill_and_is_gone_when_done(host, supervisor):
    done = host.path / "done"
    script = (
        "import os, time\n"
        f"open({str(host.path / 'pids')!r}, 'a').write(f'{{os.getpid()}} ')\n"
        f"while not os.path.exists({str(done)!r}): time.sleep(0.05)\n"
    )
    supervisor.start_companion("deadman", [sys.executable, str(_script(host.path, script))])
    pids = host.path / "pids"
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 1)
    os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)
    wait_for(lambda: len(pids.read_text().split()) == 2)
    done.touch()
    last = int(pids.read_text().split()[1])
    wait_for(lambda: not os.path.exists(f"/proc/{last}"))
    time.sleep(1.5)
    assert len(pids.read_text().split()) == 2
    supervisor.stop_companion("deadman")
    supervisor.stop_companion("deadman")
    assert not os.path.exists(supervisor.files.program("continuity-deadman"))


def _script(folder: Path, text: str) -> Path:
    path = folder / "companion.py"
    path.write_text(text)
    return path


def test_status_while_a_batch_runs_is_answered(host, supervisor):
    for number in range(6):
        host.agent(f"Agent{number}")
        host.point(f"Agent{number}", "blue", "r1")
    supervisor.install(list(host.units.values()))
    batch = threading.Thread(target=lambda: supervisor.start(list(host.units), timeout=30, parallel=6))
    batch.start()
    other = SupervisordSupervisor(str(host.path), SystemClock(), python=sys.executable)
    slowest = 0.0
    while batch.is_alive():
        begun = time.monotonic()
        other.status(list(host.units))
        slowest = max(slowest, time.monotonic() - begun)
        time.sleep(0.05)
    assert slowest < 2.0
    assert {status.state for status in other.status(list(host.units)).values()} == {"running"}


def test_names_that_supervisord_cannot_carry_are_refused(host, supervisor):
    host.agent("Agent")
    for name in ("a b", "a:b", "../a", "a@1", "a]", ""):
        with pytest.raises(ContinuityError):
            supervisor.render([replace(host.units["Agent"], agent=name)])
