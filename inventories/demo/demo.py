# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of 77 agents on two local hosts: audited, saved, changed for worse and taken back, changed for good.

    make demo              everything below .demo/, no root; KEEP=1 keeps the fleet running
    demo.py stop           stop a fleet that was kept
    CONTINUITY_DEMO        another folder than .demo/
    CONTINUITY_DEMO_NET    other loopback addresses than 127.77.0.*

Every step looks for itself at what it claims: it asks the agents, counts with the supervisors, reads
the ledgers and compares files. Exit status 0 only when all of it was seen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

from demo_console import Console
from demo_tools import CHECKOUT, DemoFailed, Tools, has_all, make_environment

if TYPE_CHECKING:
    from demo_fleet import Answer, DemoFleet

FOLDER = Path(os.environ.get("CONTINUITY_DEMO") or CHECKOUT / ".demo").resolve()
PROJECT = CHECKOUT / "inventories/demo/project"
BASELINE = CHECKOUT / "inventories/demo/accepted_findings.yml"
AGENTS = 77
DRILLED = "MainPC:DynamicIdentityAgent"
LOG_LINES = 15


class Edit(NamedTuple):
    """A change of the project: in this file, these words by those."""

    file: str
    old: str
    new: str


SLIP = Edit("common/core/vitals.py", "time.time() - self.started, 3)", "time.time() - self.start, 3)")
"""Health fails on every agent, and only a running one can tell."""
IMPROVEMENT = Edit("common/core/handover.py", "IDLE_SECONDS = 1.5", "IDLE_SECONDS = 1.0")


def expect(seen: bool, what: str) -> None:
    if not seen:
        raise DemoFailed(what)


class Demo:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.tools = Tools(FOLDER, console.note)
        from demo_fleet import DemoFleet

        self.fleet: DemoFleet = DemoFleet(FOLDER)
        self.load: subprocess.Popen[bytes] | None = None

    # What every step relies on

    def all_well_on(self, release: str) -> dict[str, Answer]:
        """Every agent's answer, when all of them are well and on this release; waits some seconds for it."""
        deadline = time.monotonic() + 10.0
        while True:
            answers = self.fleet.ask_all()
            wrong = [answer for answer in answers.values() if not answer.well or answer.release != release]
            if not wrong:
                return answers
            if time.monotonic() > deadline:
                first = wrong[0]
                what = f"{first.agent} is {first.status}, on {first.release}"
                raise DemoFailed(f"{len(wrong)} of {len(answers)} agents are not well on {release}, the first: {what}")
            time.sleep(0.5)

    def roll_out(self, release: str, project: Path, *, log: str = "", expected: int = 0) -> str:
        values = json.dumps({"continuity_release": release, "continuity_project": str(project)})
        return self.tools.playbook(log or release, "rollout", "-e", values, expected=(expected,))

    def edited(self, release: str, edit: Edit) -> Path:
        """A copy of the project with one edit."""
        copy = FOLDER / f"project-{release}"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / edit.file
        text = file.read_text(encoding="utf-8")
        expect(text.count(edit.old) == 1, f"{edit.file} does not hold {edit.old!r} once")
        file.write_text(text.replace(edit.old, edit.new), encoding="utf-8")
        return copy

    # The steps; each returns what it saw

    def start_fleet(self) -> str:
        self.roll_out("demo-1", PROJECT)
        self.first = self.all_well_on("demo-1")
        running = self.fleet.running()
        expect(running == len(self.first) == AGENTS, f"the supervisors run {running} agents")
        per_host = [sum(name.startswith(host) for name in self.first) for host in ("MainPC", "PC2")]
        return f"MainPC {per_host[0]} + PC2 {per_host[1]} agents ... {running}/{AGENTS} running, all healthy"

    def audit(self) -> str:
        archive = next(host.root for host in self.fleet.hosts()) + "/continuity.pyz"
        command = [sys.executable, archive, "audit", "--root", str(PROJECT), "--format", "json"]
        for host in ("mainpc", "pc2"):
            name = {"mainpc": "MainPC", "pc2": "PC2"}[host]
            command += ["--config", f"{name}={PROJECT}/config/{host}/startup_config.yaml"]
        found = json.loads(self.tools.run("audit", command, expected=(1,)))
        accepted = json.loads(self.tools.run("audit-baseline", [*command, "--baseline", str(BASELINE)]))
        risks = {risk: sum(one["risk"] == risk for one in found["findings"]) for risk in "ABCDG"}
        bypassing = sum(one["rule"] in ("D-none", "D-stub") for one in found["findings"])
        expect(found["fleet"]["agents"] == AGENTS, f"{found['fleet']['agents']} agents were audited")
        expect(bypassing == 29 and risks["A"] == 0, f"unexpected findings: {risks}, {bypassing} bypass the base class")
        expect(accepted["findings"] == [], f"{len(accepted['findings'])} findings are not accepted")
        counts = "  ".join(f"{risk} {count or 'ok'}" for risk, count in risks.items())
        return f"{counts}  ({bypassing} of {AGENTS} bypass the base class), all accepted by the baseline"

    def restore_point(self) -> str:
        self.point = f"rp-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}"
        self.before = json.loads(self.fleet.state_file(DRILLED).read_text(encoding="utf-8"))
        options = {"root": "{{ continuity_root }}", "restore_point": self.point}
        self.tools.module("snapshot", "snapshot", json.dumps(options))
        said = self.tools.playbook("verify", "verify", "-e", json.dumps({"verify_snapshots": [self.point]}))
        scratch = FOLDER / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        self.restore("scratch", {"restore_target": str(scratch)})
        from demo_fleet import sound_states

        sound, broken = sound_states(scratch)
        expect(not broken, f"of the restored copies {len(broken)} are broken, the first: {broken[:1]}")
        expect(sound == AGENTS, f"the restored copy holds the states of {sound} agents")
        files = sum(int(number) for number in re.findall(r"(\d+) files,", said))
        shutil.rmtree(scratch)
        return f"{self.point}: {files} files verified, {sound}/{AGENTS} states read back"

    def restore(self, name: str, values: dict[str, object], *extra: str) -> None:
        self.tools.playbook(name, "restore", "-e", json.dumps({"restore_snapshot": self.point, **values}), *extra)

    def bad_release(self) -> str:
        self.start_load()
        self.roll_out("demo-2-bad", self.edited("demo-2-bad", SLIP), expected=2)
        answers = self.all_well_on("demo-1")
        activated = [
            f"{host}:{agent}"
            for host, entries in self.fleet.events("demo-2-bad", "activated").items()
            for entry in entries
            for agent in entry["agents"]
        ]
        expect(len(activated) == 1, f"the bad release reached {len(activated)} agents: {activated}")
        replaced = [name for name, answer in answers.items() if answer.pid != self.first[name].pid]
        expect(replaced == activated, f"other processes than the canary's are new: {replaced}")
        back = [entry for entries in self.fleet.events("demo-2-bad", "rolled_back").values() for entry in entries]
        expect(len(back) == 2 and all(entry["ok"] for entry in back), "the ledgers do not say that it was taken back")
        for host in ("MainPC", "PC2"):
            quarantined = [entry["release"] for entry in self.fleet.ledger(host) if entry["event"] == "quarantined"]
            expect(quarantined == ["demo-2-bad"], f"quarantined on {host}: {quarantined}")
        seconds = max(entry["seconds"] for entry in back)
        return f"canary {activated[0]} unhealthy, taken back in {seconds:.1f}s (objective 300s); {AGENTS - 1} untouched"

    def good_release(self) -> str:
        project = self.edited("demo-3", IMPROVEMENT)
        self.roll_out("demo-3", project)
        self.good = project
        answers = self.all_well_on("demo-3")
        kept = [name for name, answer in answers.items() if answer.pid == self.first[name].pid]
        expect(not kept, f"{len(kept)} agents were not replaced")
        waves = {entry["wave"] for entries in self.fleet.events("demo-3", "verified").values() for entry in entries}
        asked, failed = self.stop_load()
        expect(failed == 0, f"{failed} of {asked} requests were lost, see {FOLDER / 'demo-logs/load.log'}")
        return f"{AGENTS}/{AGENTS} on demo-3 in {len(waves)} waves; {failed} of {asked:,} requests lost since step 5"

    def second_run(self) -> str:
        said = self.roll_out("demo-3", self.good, log="demo-3-again")
        changed = [int(number) for number in re.findall(r"changed=(\d+)", said)]
        expect(len(changed) == 2 and sum(changed) == 0, f"the second run changed something: {changed}")
        answers = self.all_well_on("demo-3")
        return f"changed=0 on both hosts, {len(answers)} agents as they were"

    def restore_drill(self) -> str:
        file = self.fleet.state_file(DRILLED)
        file.write_bytes(b"\0" * file.stat().st_size)
        self.wait_for_status(DRILLED, "degraded")
        begun = time.monotonic()
        host = DRILLED.partition(":")[0]
        self.restore("restore", {"restore_include": [str(file)]}, "--limit", host)
        self.wait_for_status(DRILLED, "ok")
        seconds = time.monotonic() - begun
        after = json.loads(file.read_text(encoding="utf-8"))
        expect(after["beats"] >= self.before["beats"], f"the state was not restored: {after} after {self.before}")
        expect(after["beats"] < 60 + self.before["beats"], f"this is not the state of the restore point: {after}")
        return (
            f"state of {DRILLED} destroyed, restored, healthy after {seconds:.1f}s; it goes on at beat {after['beats']}"
        )

    def wait_for_status(self, agent: str, status: str) -> None:
        deadline = time.monotonic() + 20.0
        while (answer := self.fleet.ask(agent)).status != status:
            expect(time.monotonic() < deadline, f"{agent} is {answer.status}, not {status}")
            time.sleep(0.2)

    # Steady load from step 5 to step 6

    def start_load(self) -> None:
        targets = FOLDER / "targets"
        lines = [f"{agent.name}={agent.address}:{agent.port}\n" for agent in self.fleet.handed_over()]
        targets.write_text("".join(lines), encoding="utf-8")
        command = [
            sys.executable,
            str(CHECKOUT / "tests/benchmarks/load.py"),
            "--targets",
            str(targets),
            "--pace",
            "1.0",
        ]
        command += ["--result", str(FOLDER / "load.json")]
        self.load = self.tools.start(command, self.tools.logs / "load.log")

    def stop_load(self) -> tuple[int, int]:
        if self.load is None:
            return 0, 0
        self.load.send_signal(signal.SIGTERM)
        self.load.wait(30)
        self.load = None
        counted = json.loads((FOLDER / "load.json").read_text(encoding="utf-8"))
        return counted["requests"], counted["failed"]

    def end(self) -> None:
        if self.load is not None:
            self.load.terminate()
            self.load.wait(30)


STEPS: tuple[tuple[str, Callable[[Demo], str]], ...] = (
    ("fleet", Demo.start_fleet),
    ("audit", Demo.audit),
    ("restore point", Demo.restore_point),
    ("bad release", Demo.bad_release),
    ("good release", Demo.good_release),
    ("second run", Demo.second_run),
    ("restore drill", Demo.restore_drill),
)


def prepare(console: Console) -> Demo:
    """The environment, and no fleet of an earlier demo in the way."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    demo = Demo(console)
    demo.fleet.stop()
    for name in ("mainpc", "pc2", "demo-logs"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    demo.tools.logs.mkdir()
    taken = demo.fleet.taken_sockets()
    if taken:
        raise DemoFailed(
            f"{len(taken)} sockets of the fleet are taken, the first is {taken[0]}: does another demo run?"
        )
    return demo


def show_failure(console: Console, error: DemoFailed, tools: Tools | None = None) -> None:
    """Why, the end of the log, where it lies, and the command that wrote it."""
    log, command = error.log, error.command
    if tools is not None:
        log = log or max(tools.logs.glob("*.log"), key=lambda path: path.stat().st_mtime, default=None)
        command = command or tools.last_command
    console.failed(str(error))
    if log is not None and log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        console.say("\n".join(["", *(f"  | {line}" for line in lines[-LOG_LINES:]), "", f"  Log: {log}"]))
    if command:
        console.say(f"  Again, only this: {command}")


def finish(demo: Demo, passed: bool, keep: bool) -> None:
    console = demo.console
    stop = f"{sys.executable} {Path(__file__).resolve()} stop"
    demo.end()
    if keep:
        console.say(f"The fleet keeps running below {FOLDER}. Stop it: {stop}")
    else:
        demo.fleet.stop()
    where = os.path.relpath(FOLDER)
    verdict = f"DEMO PASSED {console.steps}/{console.steps}" if passed else "DEMO FAILED"
    minutes, seconds = divmod(round(console.elapsed), 60)
    state = "" if keep else " Everything is stopped."
    console.say(
        f"{verdict} in {minutes}m{seconds:02d}s.{state} Undo everything: {'stop it, then ' if keep else ''}rm -r {where}"
    )


def run(console: Console) -> int:
    try:
        demo = prepare(console)
    except DemoFailed as error:
        show_failure(console, error)
        return 1
    console.done(f"Python {sys.version_info.major}.{sys.version_info.minor} in {sys.prefix}")
    passed = False
    try:
        for name, step in STEPS:
            console.begin(name)
            console.done(step(demo))
        passed = True
    except DemoFailed as error:
        show_failure(console, error, demo.tools)
    except KeyboardInterrupt:
        console.failed("interrupted")
    finally:
        finish(demo, passed, keep=os.environ.get("KEEP") == "1")
    return 0 if passed else 1


def stop(console: Console) -> int:
    stopped = Demo(console).fleet.stop()
    console.done(f"{stopped} hosts stopped. Undo everything: rm -r {os.path.relpath(FOLDER)}")
    return 0


def main() -> int:
    if sys.argv[1:] not in ([], ["stop"]):  # a slip must not begin anew where a fleet was kept
        print(f"usage: demo.py [stop]\n\n{__doc__}")
        return 0 if set(sys.argv[1:]) & {"-h", "--help"} else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being ended is being interrupted: stop everything
    stopping = sys.argv[1:] == ["stop"]
    console = Console(1 if stopping else len(STEPS) + 1)
    console.begin("stop" if stopping else "tools")
    if not has_all():
        console.note("making an environment")
        FOLDER.mkdir(parents=True, exist_ok=True)
        try:
            python = make_environment(FOLDER)
        except DemoFailed as error:
            show_failure(console, error)
            return 1
        console.forget()
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])
    return stop(console) if stopping else run(console)


if __name__ == "__main__":
    sys.exit(main())
