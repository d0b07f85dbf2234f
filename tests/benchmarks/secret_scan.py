# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""How well and how fast the scan for credentials is, on trees of which everything is known.

    secret_scan.py [--seeds 5] [--megabytes 30] [--tree DIR]

Scores each set of ``tests/fixtures/secret_scan`` on values of several seeds, then scans a tree of that
size by one process and by two: programs of the standard library, with the sets among them (one file in
twenty). ``--tree`` measures a tree of your own instead.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / ".cache" / "collections")]

from secret_corpus import SETS, corpus, score

from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.process_scan import scan_processes
from ansible_collections.fleetops.continuity.plugins.module_utils.secrets.scanning import scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--tree")
    arguments = parser.parse_args()
    for name in sorted(path.stem for path in SETS.glob("*.txt")):
        scored(name, arguments.seeds)
    if arguments.tree:
        timed(arguments.tree)
    else:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), arguments.megabytes * 1e6)
            timed(folder)
    processes()


def scored(name: str, seeds: int) -> None:
    true = missed = wrong = 0
    for seed in range(1, seeds + 1):
        made = corpus(name, seed)
        with tempfile.TemporaryDirectory() as folder:
            found = scan(str(made.write(Path(folder))), processes=1)
        reached = score(made, [(one.file, one.line, one.class_) for one in found.findings])
        true, missed, wrong = true + reached.true, missed + len(reached.missed), wrong + len(reached.wrong)
    places = (true + missed) // seeds
    print(f"{name}: {places} places, recall {true / (true + missed):.1%}, precision {true / (true + wrong):.1%}")


def fill(folder: Path, size: float) -> None:
    made = [corpus(path.stem) for path in sorted(SETS.glob("*.txt"))]
    known = [text for one in made for path, text in one.files.items() if path.endswith(".py")]
    written, number = 0, 0
    library = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    while written < size:
        for path in library:
            if "site-packages" in path.parts or "test" in path.parts or "tests" in path.parts:
                continue
            content = known[number % len(known)].encode() if number % 20 == 0 else path.read_bytes()
            (folder / f"{number // 500}").mkdir(exist_ok=True)
            (folder / f"{number // 500}" / f"{number}_{path.name}").write_bytes(content)
            written, number = written + len(content), number + 1
            if written >= size:
                return


def timed(tree: str) -> None:
    for count in (1, 2):
        before, start = cpu(), time.monotonic()
        found = scan(tree, processes=count)
        seconds, wall = cpu() - before, time.monotonic() - start
        rate = found.bytes / 1e6 / (seconds / min(count, len(os.sched_getaffinity(0))))
        print(
            f"{count} process(es): {found.files} files, {found.bytes / 1e6:.1f} MB, {len(found.findings)} findings, "
            f"{seconds:.2f} s of CPU, {wall:.2f} s, {rate:.1f} MB/s by CPU, {found.bytes / 1e6 / wall:.1f} MB/s by the clock"
        )


def cpu() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def processes() -> None:
    scan_processes()
    before = time.process_time()
    found = scan_processes()
    spent = (time.process_time() - before) * 1000
    print(f"{found.processes} running processes: {spent:.1f} ms, {spent / found.processes * 100:.1f} ms per 100")


if __name__ == "__main__":
    main()
