# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret that 30 agents use gets a new value while they are asked without pause: requests lost, and seconds.

    secret_rotation.py [--agents 30] [--parallel 4] [--threads 6] [--rotations 3]

Real agents under supervisord, in three layers of dependencies; each reads its password when it starts. At last comes a
value that they do not bear, and is taken back.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / ".cache" / "collections")]

from conftest import make_importable

make_importable()

from secret_site import Asking, Site, secret_site
from small_fleet import AGENTS

from ansible_collections.fleetops.continuity.plugins.module_utils.composition.secret_rotation import RotationError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=30)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--rotations", type=int, default=3)
    arguments = parser.parse_args()
    names = [f"Agent{number:02}" for number in range(arguments.agents)]
    AGENTS["mainpc"] = {
        name: (
            7300 + number,
            [names[number % 10]] if 10 <= number < 20 else [names[number - 10]] if number >= 20 else [],
        )
        for number, name in enumerate(names)
    }
    AGENTS["pc2"] = {"Sink": (7202, [])}
    with secret_site("good-0", names) as site:
        for number in range(1, arguments.rotations + 1):
            measured(site, f"good-{number}", arguments)
        measured(site, "bad", arguments)
        assert set(site.values()) == {f"good-{arguments.rotations}"}


def measured(site: Site, value: str, arguments: argparse.Namespace) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        asking = [stack.enter_context(Asking(site)) for _number in range(arguments.threads)]
        try:
            done = site.rotate({"database_password": value, "unused": "x"}, parallel=arguments.parallel)
            said = f"{len(done.replaced)} agents replaced in {done.seconds:.1f} s"
        except RotationError as error:
            said = str(error)[:70]
        seconds = time.monotonic() - began
    answered, lost = sum(one.answered for one in asking), sum(len(one.lost) for one in asking)
    print(f"{value}: {said}, {seconds:.1f} s in all; {answered} requests, {lost} lost", flush=True)


if __name__ == "__main__":
    main()
