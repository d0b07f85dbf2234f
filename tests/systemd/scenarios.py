# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd must do, run on a host whose PID 1 it is: scenarios.py NAME (as root, with continuity.pyz
on PYTHONPATH). Prints one JSON object of figures; any assertion that fails ends it with a traceback."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from load import Load

from ansible_collections.fleetops.continuity.plugins.module_utils.composition import scheduled
from ansible_collections.fleetops.continuity.plugins.module_utils.effects import SystemClock, Unit
from ansible_collections.fleetops.continuity.plugins.module_utils.errors import ContinuityError
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule import installing
from ansible_collections.fleetops.continuity.plugins.module_utils.schedule.sets import Settings, parse_sets
from ansible_collections.fleetops.continuity.plugins.module_utils.supervisors.systemd import SystemdSupervisor
from ansible_collections.fleetops.continuity.plugins.plugin_utils.command_line.local_runner import LocalRunner

HERE = Path(__file__).resolve().parent
FIRST_PORT = 17100


class HostRoot:
    """A root with releases; every unit is removed again at the end."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="continuity-", dir="/srv"))
        self.path.chmod(0o755)
        (self.path / "continuity.pyz").write_text("import sys; sys.exit(0)\n")
        self.units: dict[str, Unit] = {}
        self.supervisor = SystemdSupervisor(str(self.path), LocalRunner(), SystemClock(), python=sys.executable)

    def __enter__(self) -> HostRoot:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.supervisor.install([])
        for name in ("continuity-agents.target", "continuity-boot-check.service"):
            subprocess.run(["systemctl", "disable", "--quiet", name], check=True)
            os.unlink(f"/etc/systemd/system/{name}")
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        shutil.rmtree(self.path)

    def agent(self, name: str, *, with_socket: bool = True, **settings: Any) -> str:
        address = f"127.0.0.1:{FIRST_PORT + len(self.units)}"
        self.units[name] = Unit(
            name,
            directory=str(self.path / "state" / name),
            log_file=str(self.path / "logs" / f"{name}.log"),
            sockets=(address,) if with_socket else (),
            **settings,
        )
        for release in ("r1", "r2", "r3", "r4", "r5"):
            command = [sys.executable, str(self.path / "http_agent.py"), release, address]
            self.script(name, release, f"exec {shlex.join(command)}")
        shutil.copy(HERE / "http_agent.py", self.path)
        return address

    def script(self, name: str, release: str, line: str) -> None:
        path = self.path / "releases" / release / "units" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def point(self, name: str, slot: str, release: str) -> None:
        link = self.path / "agents" / name / slot
        link.parent.mkdir(parents=True, exist_ok=True)
        aside = link.with_name(f".{slot}")
        aside.symlink_to(f"../../releases/{release}")
        os.rename(aside, link)

    def pointed(self, name: str, slot: str) -> str:
        return os.path.basename(os.readlink(self.path / "agents" / name / slot))

    def to(self, release: str) -> Callable[[str, str], None]:
        return lambda agent, slot: self.point(agent, slot, release)

    def install(self) -> list[str]:
        return self.supervisor.install(list(self.units.values()))


def ask(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
        return body


def serves(address: str, release: str) -> bool:
    try:
        return bool(ask(address)["release"] == release)
    except OSError:
        return False


def wait_for(what: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def show(unit: str, name: str) -> str:
    return said("systemctl", "show", "--value", f"--property={name}", unit)


def blue_green_loses_no_request() -> dict[str, Any]:
    with HostRoot() as host:
        address = host.agent("SpeechAgent", overlap=True)
        assert host.install() == ["SpeechAgent"]
        assert host.install() == []
        assert host.supervisor.status(["SpeechAgent"])["SpeechAgent"].state == "stopped"
        first = host.supervisor.take_over(["SpeechAgent"], host.to("r1"), timeout=30)["SpeechAgent"]
        assert first.ok, first
        slots = []
        with Load(address) as load:
            for release in ("r2", "r3", "r4", "r5"):
                outcome = host.supervisor.take_over(["SpeechAgent"], host.to(release), timeout=30)["SpeechAgent"]
                assert outcome.ok, outcome
                assert outcome.away_seconds == 0.0
                status = host.supervisor.status(["SpeechAgent"])["SpeechAgent"]
                slots.append(status.slot)
                assert (status.state, status.restarts, status.message) == ("running", 0, "")
                assert host.pointed("SpeechAgent", "blue") == host.pointed("SpeechAgent", "green") == release
                assert ask(address)["release"] == release
            assert host.supervisor.restart(["SpeechAgent"], timeout=30)["SpeechAgent"].ok
        assert slots == ["green", "blue", "green", "blue"]
        assert load.failed == 0, load.errors
        assert load.total > 100
        assert set(load.releases) == {"r1", "r2", "r3", "r4", "r5"}
        return {"lost": load.failed, "total": load.total}


def one_instance_at_a_time_loses_no_request() -> dict[str, Any]:
    """An agent that could not bear a second instance beside it: each takes a lock, or ends."""
    with HostRoot() as host:
        address = host.agent("SpeechAgent")
        for release in ("r1", "r2", "r3", "r4", "r5"):
            command = shlex.join([sys.executable, str(host.path / "http_agent.py"), release, address])
            host.script("SpeechAgent", release, f"exec 9>lock; flock -n 9 || exit 9; exec {command}")
        host.install()
        assert host.supervisor.take_over(["SpeechAgent"], host.to("r1"), timeout=30)["SpeechAgent"].ok
        with Load(address) as load:
            for release in ("r2", "r3", "r4", "r5"):
                outcome = host.supervisor.take_over(["SpeechAgent"], host.to(release), timeout=30)["SpeechAgent"]
                assert (outcome.ok, outcome.away_seconds) == (True, 0.0), outcome
                status = host.supervisor.status(["SpeechAgent"])["SpeechAgent"]
                assert (status.state, status.slot, status.restarts) == ("running", "blue", 0)
                assert host.pointed("SpeechAgent", "blue") == host.pointed("SpeechAgent", "green") == release
                assert ask(address)["release"] == release
            assert host.supervisor.restart(["SpeechAgent"], timeout=30)["SpeechAgent"].ok
        assert load.failed == 0, load.errors
        assert load.total > 100
        assert set(load.releases) == {"r1", "r2", "r3", "r4", "r5"}
        return {"lost": load.failed, "total": load.total}


def bad_release_leaves_the_old_one_serving() -> dict[str, Any]:
    with HostRoot() as host:
        bad, good = host.agent("Bad", overlap=True), host.agent("Good", overlap=True)
        host.script("Bad", "r2", "exit 3")
        host.install()
        host.supervisor.take_over(["Bad", "Good"], host.to("r1"), timeout=30)
        with Load(bad) as load:
            outcomes = host.supervisor.take_over(["Bad", "Good"], host.to("r2"), timeout=30)
            assert outcomes["Good"].ok, outcomes
            assert not outcomes["Bad"].ok
            assert "blue goes on serving" in outcomes["Bad"].message, outcomes
            back = host.supervisor.take_over(["Bad"], host.to("r1"), timeout=30)["Bad"]
            assert back.ok, back
        assert load.failed == 0, load.errors
        assert ask(bad)["release"] == "r1"
        assert ask(good)["release"] == "r2"
        return {"lost": load.failed, "total": load.total, "message": outcomes["Bad"].message}


def bad_release_in_place_is_taken_back_while_requests_wait() -> dict[str, Any]:
    with HostRoot() as host:
        address = host.agent("Agent")
        host.script("Agent", "r2", "exit 3")
        host.install()
        host.supervisor.take_over(["Agent"], host.to("r1"), timeout=30)
        with Load(address) as load:
            time.sleep(0.5)
            bad = host.supervisor.take_over(["Agent"], host.to("r2"), timeout=30)["Agent"]
            assert not bad.ok
            assert "exit status 3" in bad.message, bad
            time.sleep(2.5)
            assert host.supervisor.status(["Agent"])["Agent"].state in ("failed", "starting")
            back = host.supervisor.take_over(["Agent"], host.to("r1"), timeout=30)["Agent"]
            assert (back.ok, back.away_seconds) == (True, 0.0), back
            time.sleep(0.5)
        assert load.failed == 0, load.errors
        assert set(load.releases) == {"r1"}
        return {"lost": load.failed, "total": load.total}


def agent_without_socket_is_away_and_says_so() -> dict[str, Any]:
    with HostRoot() as host:
        address = host.agent("Plain", with_socket=False)
        host.install()
        assert host.supervisor.take_over(["Plain"], host.to("r1"), timeout=30)["Plain"].ok
        outcome = host.supervisor.take_over(["Plain"], host.to("r2"), timeout=30)["Plain"]
        assert outcome.ok, outcome
        assert 0.0 < outcome.away_seconds < 5.0
        wait_for(lambda: serves(address, "r2"))
        assert show("agent-Plain.socket", "LoadState") == "not-found"
        host.script("Plain", "r3", "sleep 0.3; exit 4")
        failed = host.supervisor.take_over(["Plain"], host.to("r3"), timeout=30)["Plain"]
        assert not failed.ok
        assert "exit status 4" in failed.message, failed

        def refuse(agent: str, slot: str) -> None:
            raise ContinuityError("no such release")

        host.supervisor.take_over(["Plain"], host.to("r2"), timeout=30)
        kept = host.supervisor.take_over(["Plain"], refuse, timeout=30)["Plain"]
        assert (kept.ok, kept.message) == (False, "not switched: no such release")
        wait_for(lambda: serves(address, "r2"))
        return {"away_seconds": outcome.away_seconds}


def killed_agent_is_counted_and_traffic_waits() -> dict[str, Any]:
    with HostRoot() as host:
        address = host.agent("Agent")
        host.install()
        host.supervisor.take_over(["Agent"], host.to("r1"), timeout=30)
        for number in range(1, 8):
            pid = host.supervisor.status(["Agent"])["Agent"].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert ask(address)["pid"] != pid
            wait_for(lambda: host.supervisor.status(["Agent"])["Agent"].state == "running")
            assert host.supervisor.status(["Agent"])["Agent"].restarts == number
        return {"restarts": number}


def stopped_agents_stay_stopped_and_removed_ones_are_gone() -> dict[str, Any]:
    with HostRoot() as host:
        host.agent("First")
        host.agent("Second")
        host.install()
        host.supervisor.take_over(["First", "Second"], host.to("r1"), timeout=30)
        stopped = host.supervisor.stop(["First"], timeout=30)["First"]
        assert stopped.ok, stopped
        assert host.supervisor.status(["First"])["First"].state == "stopped"
        try:
            ask(host.units["First"].sockets[0])
            raise AssertionError("the socket of a stopped agent is open")
        except OSError:
            pass
        assert host.supervisor.start(["First"], timeout=30)["First"].ok
        assert host.supervisor.install([host.units["First"]]) == ["Second"]
        assert host.supervisor.status(["Second"])["Second"].state == "absent"
        assert not list(Path("/etc/systemd/system").glob("agent-Second*"))
        assert host.supervisor.install([host.units["First"]]) == []
        unknown = host.supervisor.start(["Second", "Third"], timeout=10)
        assert not any(outcome.ok for outcome in unknown.values())
        return {}


def changed_socket_is_opened_at_the_next_take_over() -> dict[str, Any]:
    with HostRoot() as host:
        address = host.agent("Agent")
        host.install()
        host.supervisor.take_over(["Agent"], host.to("r1"), timeout=30)
        time.sleep(1.2)
        moved = f"127.0.0.2:{address.rpartition(':')[2]}"
        host.units["Agent"] = replace(host.units["Agent"], sockets=(moved,))
        assert host.install() == ["Agent"]
        assert ask(address)["release"] == "r1"
        outcome = host.supervisor.take_over(["Agent"], host.to("r2"), timeout=30)["Agent"]
        assert outcome.ok, outcome
        assert outcome.away_seconds > 0
        assert ask(moved)["release"] == "r2"
        again = host.supervisor.take_over(["Agent"], host.to("r3"), timeout=30)["Agent"]
        assert (again.ok, again.away_seconds) == (True, 0.0)
        return {"away_seconds": outcome.away_seconds}


def odd_names_users_and_credentials() -> dict[str, Any]:
    with HostRoot() as host:
        secret = host.path / "secret"
        secret.write_text("s3cret")
        secret.chmod(0o400)
        name = "Odd agent@1%-ä$x;#"
        address = host.agent(name, user="nobody", credentials={"token": str(secret)})
        line = f'cat "$CREDENTIALS_DIRECTORY/token" > got; id -un >> got; exec {sys.executable} '
        host.script(name, "r1", line + shlex.join([str(host.path / "http_agent.py"), "r1", address]))
        assert host.install() == [name]
        assert host.install() == []
        outcome = host.supervisor.take_over([name], host.to("r1"), timeout=30)[name]
        assert outcome.ok, outcome
        assert (host.path / "state" / name / "got").read_text() == "s3cretnobody\n"
        again = host.supervisor.take_over([name], host.to("r2"), timeout=30)[name]
        assert again.ok, (again, Path(host.units[name].log_file).read_text())
        assert ask(address)["release"] == "r2"
        assert os.stat(host.units[name].log_file).st_uid == os.stat(host.units[name].directory).st_uid != 0
        return {}


def foreign_units_are_refused() -> dict[str, Any]:
    foreign = Path("/etc/systemd/system/agent-Agent@.service")
    with HostRoot() as host:
        host.agent("Agent")
        foreign.write_text("[Service]\nExecStart=/bin/true\n")
        message = ""
        try:
            host.install()
        except ContinuityError as error:
            message = str(error)
        assert message, "a foreign unit was overwritten"
        assert foreign.read_text() == "[Service]\nExecStart=/bin/true\n"
        foreign.unlink()
        host.install()
    return {"message": message}


def companion_survives_kill_and_is_gone_when_done() -> dict[str, Any]:
    with HostRoot() as host:
        pids, done = host.path / "pids", host.path / "done"
        program = host.path / "companion.py"
        program.write_text(
            "import os, time\n"
            f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}} ')\n"
            f"while not os.path.exists({str(done)!r}): time.sleep(0.05)\n"
        )
        host.supervisor.start_companion("deadman", [sys.executable, str(program)])
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 1)
        os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)
        wait_for(lambda: len(pids.read_text().split()) == 2)
        host.supervisor.start_companion("deadman", [sys.executable, str(program)])
        wait_for(lambda: len(pids.read_text().split()) == 3)
        done.touch()
        wait_for(lambda: show("continuity-deadman.service", "LoadState") == "not-found")
        assert len(pids.read_text().split()) == 3
        done.unlink()
        host.supervisor.start_companion("deadman", [sys.executable, str(program)])
        host.supervisor.stop_companion("deadman")
        host.supervisor.stop_companion("deadman")
        assert show("continuity-deadman.service", "LoadState") == "not-found"
        return {}


def boot_check_comes_first_and_does_not_deadlock() -> dict[str, Any]:
    """A boot check that itself asks for an agent gets an answer at once: the agent waits for its end."""
    with HostRoot() as host:
        host.agent("Agent")
        host.point("Agent", "blue", "r1")
        host.point("Agent", "green", "r1")
        host.install()
        goes_on = host.path / "go-on"
        (host.path / "continuity.pyz").write_text(
            f"import os, time\nwhile not os.path.exists({str(goes_on)!r}): time.sleep(0.05)\n"
        )
        # A boot queues both in one transaction; here the boot check must be queued before the agents are.
        subprocess.run(["systemctl", "start", "--no-block", "continuity-boot-check.service"], check=True)
        wait_for(lambda: show("continuity-boot-check.service", "ActiveState") == "activating")
        subprocess.run(["systemctl", "start", "--no-block", "continuity-agents.target"], check=True)
        outcome = host.supervisor.take_over(["Agent"], host.to("r2"), timeout=20)["Agent"]
        assert (outcome.ok, outcome.message) == (True, "starts as soon as the boot check has ended"), outcome
        assert host.supervisor.status(["Agent"])["Agent"].pid is None
        goes_on.touch()
        wait_for(lambda: host.supervisor.status(["Agent"])["Agent"].state == "running")
        assert ask(host.units["Agent"].sockets[0])["release"] == "r2"
        subprocess.run(["systemctl", "stop", "continuity-agents.target", "continuity-boot-check.service"], check=True)
        return {"seconds": outcome.seconds}


def batch_of_77() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    with HostRoot() as host:
        names = [f"Small{number:02}" for number in range(77)]
        for name in names:
            host.agent(name, with_socket=False)
            host.script(name, "r1", "exec sleep infinity")

        def timed(what: str, work: Callable[[], Any]) -> Any:
            begun = time.monotonic()
            result = work()
            figures[what] = round(time.monotonic() - begun, 2)
            return result

        timed("install", host.install)
        timed("install again", host.install)
        outcomes = timed("take_over (start)", lambda: host.supervisor.take_over(names, host.to("r1"), timeout=60))
        assert all(outcome.ok for outcome in outcomes.values()), outcomes
        status = timed("status", lambda: host.supervisor.status(names))
        assert {known.state for known in status.values()} == {"running"}
        for parallel in (8, 77):
            outcomes = timed(
                f"restart, {parallel} at once",
                lambda parallel=parallel: host.supervisor.restart(names, timeout=120, parallel=parallel),
            )
            assert all(outcome.ok for outcome in outcomes.values()), outcomes
        outcomes = timed("stop", lambda: host.supervisor.stop(names, timeout=60, parallel=77))
        assert all(outcome.ok for outcome in outcomes.values()), outcomes
    return figures


SETS = {
    "test-hourly": {"at": "hourly", "retention": {"keep_last": 2}},
    "test-weekly": {"at": "Sun 03:00", "make": "backup", "keep_backups": 1},
    "test-training": {"at": "manual"},
}


def to_be_backed_up(root: Path, sets: dict[str, Any]) -> installing.Wish:
    """A host root with something to back up, and the wish that it follows these sets."""
    shutil.copy(HERE / "continuity.pyz", root)
    (root / "logs").mkdir(exist_ok=True)
    (root / "state/Agent").mkdir(parents=True)
    (root / "state/Agent/memory.json").write_text("{}")
    settings = Settings(str(root / "repository"), str(root / "03_BACKUPS"))
    return installing.Wish(str(root), sys.executable, parse_sets(sets, "sets"), settings, spread=0)


def follow(wish: installing.Wish, scheduler: str) -> list[str]:
    changes = installing.plan(wish, scheduler, LocalRunner())
    installing.apply(wish, scheduler, changes, LocalRunner())
    return [change.what for change in changes]


def ran(wish: installing.Wish, name: str) -> bool:
    return (scheduled.last(wish.root, name) or {}).get("status") == "SUCCESS"


def timers_run_sets_catch_up_and_are_removed() -> dict[str, Any]:
    """A timer that was off while its set was due runs it as soon as it is on again, as after a boot."""
    stamps = Path("/var/lib/systemd/timers")
    with HostRoot() as host:
        wish = to_be_backed_up(host.path, SETS)
        assert follow(wish, installing.SYSTEMD)
        assert follow(wish, installing.SYSTEMD) == []
        hourly, weekly = (f"continuity-backup-{name}" for name in ("test-hourly", "test-weekly"))
        for unit in (hourly, weekly):
            assert show(f"{unit}.timer", "ActiveState") == "active"
            assert show(f"{unit}.timer", "UnitFileState") == "enabled"
            assert show(f"{unit}.timer", "Persistent") == "yes"
            assert show(f"{unit}.timer", "NextElapseUSecRealtime")
        assert show("continuity-backup-test-training.timer", "LoadState") == "not-found"
        subprocess.run(["systemctl", "start", f"{hourly}.service"], check=True)
        assert ran(wish, "test-hourly")
        assert not ran(wish, "test-weekly")
        subprocess.run(["systemctl", "stop", f"{weekly}.timer"], check=True)
        missed = time.time() - 8 * 86400
        os.utime(stamps / f"stamp-{weekly}.timer", (missed, missed))
        started = time.monotonic()
        subprocess.run(["systemctl", "start", f"{weekly}.timer"], check=True)
        wait_for(lambda: ran(wish, "test-weekly"), 60)
        seconds = time.monotonic() - started
        assert follow(replace(wish, sets={"test-hourly": wish.sets["test-hourly"]}), installing.SYSTEMD)
        assert show(f"{weekly}.timer", "LoadState") == "not-found"
        assert show(f"{hourly}.timer", "ActiveState") == "active"
        assert follow(replace(wish, sets={}), installing.SYSTEMD)
        assert not list(Path("/etc/systemd/system").rglob("continuity-backup-test-*"))
        for name in wish.sets:
            (stamps / f"stamp-continuity-backup-{name}.timer").unlink(missing_ok=True)
        return {"caught_up_within": round(seconds, 1)}


def cron_runs_what_is_due_and_keeps_the_lines_of_others() -> dict[str, Any]:
    theirs = "MAILTO=nobody\n# theirs\n5 4 1 1 * /bin/true\n"
    subprocess.run(["crontab", "-"], input=theirs, text=True, check=True)
    with tempfile.TemporaryDirectory(prefix="continuity 100% ", dir="/srv") as folder:
        wish = to_be_backed_up(Path(folder), {"test-hourly": {"at": "hourly"}})
        assert "crontab" in follow(wish, installing.CRON)
        assert follow(wish, installing.CRON) == []
        ours = said("crontab", "-l")
        assert ours.startswith(theirs)
        # As it stands, but for the times: nobody waits for a quarter of an hour.
        every_minute = ours.replace("*/15 * * * *", "* * * * *") + "\n"
        assert every_minute != ours + "\n"
        subprocess.run(["crontab", "-"], input=every_minute, text=True, check=True)
        begun = time.monotonic()
        wait_for(lambda: ran(wish, "test-hourly"), 130)
        seconds = time.monotonic() - begun
        assert follow(replace(wish, sets={}), installing.CRON)
        assert said("crontab", "-l") == theirs.strip()
    subprocess.run(["crontab", "-r"], check=True)
    return {"ran_within": round(seconds, 1)}


def timers_of_a_user_run_without_root() -> dict[str, Any]:
    """The user's own systemd, which a host without pam_systemd is told where its folder is."""
    said("useradd", "--create-home", "keeper")
    uid = said("id", "--user", "keeper")
    drop_in = Path("/etc/systemd/system/user@.service.d/without-pam.conf")
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n")
    said("systemctl", "daemon-reload")
    said("loginctl", "enable-linger", "keeper")
    try:
        wait_for(lambda: show(f"user@{uid}.service", "ActiveState") == "active")
        HERE.chmod(0o755)
        as_keeper = ["runuser", "-u", "keeper", "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "HOME=/home/keeper"]
        ended = subprocess.run(
            [*as_keeper, sys.executable, __file__, as_that_user.__name__], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        figures: dict[str, Any] = json.loads(ended.stdout)
        return figures
    finally:
        said("loginctl", "disable-linger", "keeper")
        said("systemctl", "stop", f"user@{uid}.service")
        drop_in.unlink()
        said("systemctl", "daemon-reload")
        said("userdel", "--remove", "keeper")


def as_that_user() -> dict[str, Any]:
    assert installing.choose(LocalRunner()) == installing.USER
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        wish = to_be_backed_up(Path(folder), SETS)
        begun = time.monotonic()
        assert follow(wish, installing.USER)
        seconds = time.monotonic() - begun
        assert follow(wish, installing.USER) == []
        timers = said("systemctl", "--user", "list-timers", "--plain", "--no-legend")
        assert timers.count(".timer ") == 2, timers
        said("systemctl", "--user", "start", "continuity-backup-test-hourly.service")
        assert ran(wish, "test-hourly")
        assert follow(replace(wish, sets={}), installing.USER)
        assert not list((Path.home() / ".config/systemd/user").rglob("continuity-backup-*"))
        return {"installed_within": round(seconds, 1)}


SCENARIOS = (
    blue_green_loses_no_request,
    one_instance_at_a_time_loses_no_request,
    bad_release_leaves_the_old_one_serving,
    bad_release_in_place_is_taken_back_while_requests_wait,
    agent_without_socket_is_away_and_says_so,
    killed_agent_is_counted_and_traffic_waits,
    stopped_agents_stay_stopped_and_removed_ones_are_gone,
    changed_socket_is_opened_at_the_next_take_over,
    odd_names_users_and_credentials,
    foreign_units_are_refused,
    companion_survives_kill_and_is_gone_when_done,
    boot_check_comes_first_and_does_not_deadlock,
    batch_of_77,
    timers_run_sets_catch_up_and_are_removed,
    cron_runs_what_is_due_and_keeps_the_lines_of_others,
    timers_of_a_user_run_without_root,
)


if __name__ == "__main__":
    (wanted,) = (scenario for scenario in (*SCENARIOS, as_that_user) if scenario.__name__ == sys.argv[1])
    print(json.dumps(wanted()))
