# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What reading a fleet and resolving its dependencies costs, in seconds of CPU (best of five).

fleet.py            prints one line a measurement; exit status 1 when a bound is broken
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml
from conftest import CHECKOUT

from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.dependencies import resolve
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.model import Fleet
from ansible_collections.fleetops.continuity.plugins.module_utils.fleet.startup_config import load_fleet

REAL = [(host, str(CHECKOUT / f"tests/fixtures/fleet/{host}/startup_config.yaml")) for host in ("mainpc", "pc2")]
LARGE = 10_000


def best(work: Callable[[], object], rounds: int = 5) -> float:
    times = []
    for _turn in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def large_fleet(path: Path) -> Fleet:
    dice = random.Random(1)
    with path.open("w") as file:
        file.write("agent_groups:\n  all:\n")
        for number in range(LARGE):
            needs = ", ".join(f"A{dice.randrange(number)}" for times in range(4)) if number else ""
            file.write(
                f"    A{number}:\n      script_path: agents/a{number}.py\n      port: {5000 + number % 4000}\n"
                f"      health_check_port: {10000 + number}\n      required: true\n      dependencies: [{needs}]\n"
            )
    return load_fleet([("mainpc", str(path))])


def main() -> int:
    bounds = []

    def show(what: str, seconds: float, bound: float) -> None:
        bounds.append(seconds <= bound)
        print(f"{what:<58} {seconds:8.4f} s   (bound {bound:g} s)")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.yaml"
        if hasattr(yaml, "CSafeLoader"):
            show("77 agents read, C parser", best(lambda: load_fleet(REAL)), 0.1)
            fleet = large_fleet(path)
            show(f"{LARGE} agents read, C parser", best(lambda: load_fleet([("mainpc", str(path))]), 2), 10)
            del yaml.CSafeLoader
        else:
            fleet = large_fleet(path)
        show("77 agents read, pure Python parser", best(lambda: load_fleet(REAL)), 1)
        assert len(fleet) == LARGE and not fleet.problems
    graph = resolve(fleet)
    show(
        f"{LARGE} agents, {sum(map(len, graph.edges.values()))} dependencies resolved", best(lambda: resolve(fleet)), 1
    )
    show(f"{LARGE} blast radii", best(graph.blast_radii), 1)
    return 0 if all(bounds) else 1


if __name__ == "__main__":
    sys.exit(main())
