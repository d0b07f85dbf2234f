# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a converge takes in which nothing has to change: ours beside ansible.builtin's loops.

Four systemd hosts: two that `fleetops.continuity.rollout` brought up, two that idiomatic/converge.yml
brought up with the same 77 agents. Then, in turns: ours, the loops, the loops under mitogen.
Prints every round, the medians, the ratios, and how busy the machine was meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any, Mapping

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "testbed")]

import hosts
from conftest import CHECKOUT, COLLECTIONS

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_host
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout import start_script
from ansible_collections.fleetops.continuity.plugins.module_utils.rollout.agent_rules import (
    AgentRules,
    probe_of,
)

BENCH = CHECKOUT / ".cache/bench"
ROOT = "/srv/plain"
CHANGED = re.compile(r"changed=(\d+)")
GOALS = {"loops": 50.0, "loops under mitogen": 5.0}


def plain_agents(name: str, variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every agent of a host as the templates of the idiomatic playbook want it."""
    address = variables["continuity_address"]
    config = load_host(name, variables["continuity_startup_config"])
    rules = AgentRules.parse(variables["continuity_agent_rules"])
    agents = []
    for agent in config.agents:
        environment = start_script.environment_of(agent, config, {}, address)
        probe = probe_of(agent, rules.of(agent), address)
        agents.append(
            {
                "name": agent.name,
                "script": agent.script_path,
                "environment": {
                    **{key: value.replace(start_script.CODE, f"{ROOT}/code") for key, value in environment.items()},
                    "AGENT_STATE_DIR": f"{ROOT}/state/{agent.name}",
                    "AGENT_LOG_FILE": f"{ROOT}/state/{agent.name}/log",
                    "AGENT_CONFIG": f"{ROOT}/code/config/{name.lower()}/startup_config.yaml",
                    "AGENT_RELEASE": "plain",
                },
                "kind": probe.kind,
                "target": probe.target,
                "path": probe.path,
            }
        )
    return agents


def project_archive(target: Path) -> Path:
    with tarfile.open(target, "w") as archive:
        for path in sorted(hosts.PROJECT.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.add(path, path.relative_to(hosts.PROJECT))
    return target


def made_hosts(kind: str) -> Path:
    """Two systemd hosts of their own; the folder of their inventory."""
    directory = BENCH / kind
    hosts.create(directory)
    return directory / "hosts.yml"


def idiomatic_variables(inventory: Path) -> Path:
    """The inventory of the idiomatic playbook: the same hosts, and the agents of each."""
    document = json.loads(inventory.read_text())
    fleet = document["all"]["children"]["fleet"]
    archive = project_archive(BENCH / "project.tar")
    for name, variables in fleet["hosts"].items():
        variables["idiomatic_agents"] = plain_agents(name, {**fleet["vars"], **variables})
    fleet["vars"].update(idiomatic_root=ROOT, idiomatic_archive=str(archive))
    inventory.write_text(json.dumps(document))
    return inventory


def play(inventory: Path, playbook: str, **environment: str) -> tuple[float, int]:
    """Wall seconds of one run, and how many changes it reports; ends the program when the run fails."""
    began = time.monotonic()
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={inventory}", playbook],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORKS": "10",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    if ended.returncode != 0:
        sys.exit(f"{playbook} ended with {ended.returncode}:\n{ended.stdout[-3000:]}\n{ended.stderr[-2000:]}")
    return seconds, sum(int(number) for number in CHANGED.findall(ended.stdout))


def mitogen() -> dict[str, str]:
    import ansible_mitogen

    return {
        "ANSIBLE_STRATEGY_PLUGINS": str(Path(ansible_mitogen.__file__).parent / "plugins/strategy"),
        "ANSIBLE_STRATEGY": "mitogen_linear",
        # Mitogen does not read the host key settings of ansible_ssh_common_args, and these hosts are ours.
        "ANSIBLE_HOST_KEY_CHECKING": "False",
    }


def busy_seconds() -> float:
    """CPU seconds that all cores have spent on anything but idling."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    lacking = hosts.lacking_for_systemd()
    if lacking:
        sys.exit(f"the comparison needs systemd hosts: {lacking}")

    ours, theirs = made_hosts("ours"), idiomatic_variables(made_hosts("theirs"))
    rollout, loops = "fleetops.continuity.rollout", str(HERE / "idiomatic/converge.yml")
    ways: dict[str, tuple[Path, str, dict[str, str]]] = {
        "ours": (ours, rollout, {}),
        "loops": (theirs, loops, {}),
        "loops under mitogen": (theirs, loops, mitogen()),
    }
    try:
        print(f"first converge, ours: {play(ours, rollout)[0]:.1f} s", flush=True)
        print(f"first converge, loops: {play(theirs, loops)[0]:.1f} s", flush=True)
        took: dict[str, list[float]] = {way: [] for way in ways}
        began, busy = time.monotonic(), busy_seconds()
        for number in range(1, rounds + 1):
            for way, (inventory, playbook, environment) in ways.items():
                seconds, changed = play(inventory, playbook, **environment)
                if changed:
                    sys.exit(f"{way} reports changed={changed} although nothing had to change")
                took[way].append(seconds)
                print(f"round {number}, {way}: {seconds:.2f} s, changed=0", flush=True)
        share = (busy_seconds() - busy) / (time.monotonic() - began) / (os.cpu_count() or 1)
    finally:
        for kind in ("ours", "theirs"):
            hosts.destroy(BENCH / kind)
    median = {way: statistics.median(seconds) for way, seconds in took.items()}
    print(f"\nthe machine's {os.cpu_count()} cores were busy {share:.0%} of the time, load {os.getloadavg()[0]:.1f}")
    print("median seconds: " + ", ".join(f"{way} {seconds:.2f}" for way, seconds in median.items()))
    missed = 0
    for way, goal in GOALS.items():
        ratio = median[way] / median["ours"]
        missed += ratio < goal
        print(f"ours is {ratio:.1f} times as fast as {way} (goal {goal:g})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
