# SPDX-FileCopyrightText: The fleetops.continuity developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot repository beside restic, borg, rsync, tar and an archive, on one corpus, interleaved in one run.

    repository.py --rounds 3                       the record: 1.7 GB, about 20,000 files
    repository.py --encrypted                      with encryption on, ours as well as theirs
    repository.py --scales 1,3,10                  how our cost grows with the number of files
    repository.py --scale 0.1 --rounds 1           a quick look

For each tool: a first snapshot, one without a change, one after 1 % has changed, verify of all data, a full
restore, one file; then ten rounds of changes for the size. Prints every run, then medians of wall and CPU
seconds and of peak memory, repository sizes, what the machine needs for the bare work, and our ratio to the
best of restic and borg beside its goal. The page cache is warm. Tools that are not installed are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Mapping, Sequence

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(CHECKOUT / "plugins/plugin_utils")]

import zipapp

import repository_corpus
import repository_limits
import repository_report as report
import repository_tools
from repository_report import Cost
from repository_tools import Place, Tool

OPERATIONS = ("first", "no change", "1 % change", "verify", "verify files", "restore", "one file")
SNAPSHOTS = OPERATIONS[:3]
CHANGES = 10
BULK = 0.1
"""The share of everything but small files at ``--scales 1``, so that ten times the files fit and end in time."""
LIMIT = "limit"


LAUNCHER = """\
import os, sys, time
begun = time.monotonic()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
unused, status, usage = os.wait4(process, 0)
wall = time.monotonic() - begun
with open(sys.argv[1], "w") as result:
    print(status, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000, file=result)
"""
"""A process of its own: peak memory counts from before the program is loaded, and ours is large."""


def held(process: int) -> float:
    """Memory (MB) of all descendants of a process, now."""
    total = 0.0
    for child in _read(f"/proc/{process}/task/{process}/children").split():
        pages = _read(f"/proc/{child}/statm").split()[1:2]
        total += sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE") / 1e6 + held(int(child))
    return total


def _read(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        # The process has just ended.
        return ""


def measure(argv: Sequence[object], environment: Mapping[str, str], cwd: Path) -> Cost:
    """Run a command to its end. Peak memory is that of its largest process, or, if that is more, of all its
    processes together at the worst of the moments that were looked at (20 a second)."""
    os.sync()
    words = [str(word) for word in argv]
    result, most = cwd.parent / "result", 0.0
    with open(cwd.parent / "said", "w+b") as said:
        launched = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", LAUNCHER, result, *words],
            env={**os.environ, **environment},
            cwd=cwd,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
        )
        while launched.poll() is None:
            most = max(most, held(launched.pid))
            time.sleep(0.05)
        said.seek(0)
        status, wall, cpu, largest = map(float, result.read_text().split())
        if status != 0:
            raise SystemExit(f"{' '.join(words)}: {said.read().decode(errors='replace')}")
    return Cost(wall, cpu, max(most, largest))


def size_of(folder: Path) -> int:
    """Bytes of all files, each counted once however many names it has."""
    files = (file.lstat() for file in folder.rglob("*") if not file.is_symlink() and file.is_file())
    return sum({status.st_ino: status.st_size for status in files}.values())


class Run:
    """One comparison: what is measured is printed at once and kept in ``records``."""

    def __init__(self, folder: Path, tools: Sequence[Tool]) -> None:
        self.folder, self.tools = folder, tools
        self.costs: dict[tuple[str, str], list[Cost]] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        self.records: list[dict[str, object]] = []
        self.program = folder / "continuity.pyz"

    def round(self, turn: int, files: float, bulk: float, changes: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        tree = self.folder / "tree"
        tree.mkdir(parents=True)
        self.program.write_bytes(zipapp.build(bytecode=True))
        begun = time.monotonic()
        repository_corpus.make(tree, files, bulk)
        count, size = sum(1 for file in tree.rglob("*") if file.is_file()), size_of(tree)
        print(f"round {turn + 1}: {count} files, {size / 1e6:.0f} MB made in {time.monotonic() - begun:.1f} s")
        taking_part = [tool for tool in self.tools if tool.turns is None or turn < tool.turns]
        shift = turn % len(taking_part)
        places = [(tool, self._place(tool, tree)) for tool in taking_part[shift:] + taking_part[:shift]]
        for operation in OPERATIONS:
            if operation == "1 % change":
                repository_corpus.change(tree, 1)
            for tool, place in places:
                if operation not in (*SNAPSHOTS, *tool.operations):
                    continue
                self._operation(turn, operation, tool, place)
                if operation == "first":
                    self.sizes[tool.name, "first"] = size_of(place.repository)
            for what in repository_limits.LIMITS if operation == "first" else ():
                self._limit(turn, what, tree)
        deduplicating = [(tool, place) for tool, place in places if tool.ten]
        for tool, place in deduplicating if changes else ():
            self.sizes[tool.name, "one change"] = size_of(place.repository)
        for generation in range(2, changes + 1):
            repository_corpus.change(tree, generation)
            for tool, place in deduplicating:
                self._operation(turn, "1 % change", tool, place)
        for tool, place in deduplicating if changes else ():
            # The goal is for ten; with fewer it is another figure.
            moment = "ten changes" if changes == CHANGES else f"{changes} changes"
            self.sizes[tool.name, moment] = size_of(place.repository)
        shutil.rmtree(self.folder)

    def _place(self, tool: Tool, tree: Path) -> Place:
        own = self.folder / tool.name.replace("|", "-").replace(" ", "-")
        own.mkdir()
        place = Place(tree, own / "repository", own / "target", own, self.program)
        for argv in tool.prepare(place):
            measure(argv, tool.environment(place), own)
        return place

    def _operation(self, turn: int, operation: str, tool: Tool, place: Place) -> None:
        place.target.mkdir()
        cost = measure(tool.argv(operation, place), tool.environment(place), place.target)
        place.taken += operation in SNAPSHOTS
        if operation == "restore":
            wrong = repository_tools.same(tool, place)
            if wrong:
                raise SystemExit(f"{tool.name} did not bring everything back: {wrong}")
        self._note(turn, operation, tool.name, cost)
        self._put_away(place.target)

    def _put_away(self, target: Path) -> None:
        """Deleted with everything else at the end of the round: ext4 is slow to make files where some have just been
        deleted, and the next one would pay. Nor shall it pay for writing these out."""
        if any(target.iterdir()):
            target.rename(target.with_name(f"{target.name}-{len(self.records)}"))
        else:
            target.rmdir()
        os.sync()

    def _limit(self, turn: int, what: str, tree: Path) -> None:
        target = self.folder / "limit"
        target.mkdir()
        argv = [sys.executable, HERE / "repository_limits.py", what, tree, target]
        self._note(turn, what, LIMIT, measure(argv, {}, target))
        self._put_away(target)

    def _note(self, turn: int, operation: str, name: str, cost: Cost) -> None:
        self.costs.setdefault((name, operation), []).append(cost)
        self.records.append({"round": turn + 1, "tool": name, "operation": operation, **asdict(cost)})
        print(f"  {operation:<23}{name:<11}{cost.wall:8.2f} s {cost.cpu:8.2f} s CPU {cost.memory:6.0f} MB", flush=True)


def machine() -> dict[str, object]:
    """Where the figures come from."""

    def git(*words: str) -> str:
        ended = subprocess.run(["git", "-C", CHECKOUT, *words], capture_output=True, text=True, check=False)
        return ended.stdout.strip()

    models = [line.partition(": ")[2] for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return {
        "commit": git("rev-parse", "--short", "HEAD") or "unknown",
        "changed since": git("diff", "--name-only", "HEAD", "--", "plugins").split(),
        "processor": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": [name for name in ("zstandard", "cryptography") if importlib.util.find_spec(name)],
        "load at start": round(os.getloadavg()[0], 2),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def summary(run: Run, document: dict[str, object], rounds: int) -> None:
    names = [tool.name for tool in run.tools]
    peers = [tool.name for tool in run.tools if tool.peer]
    found = report.goals(run.costs, run.sizes, peers, [name for name in names if name.split()[0] in ("restic", "borg")])
    limits = {what: cost for (name, what), cost in run.costs.items() if name == LIMIT}
    document.update(
        goals=found,
        sizes={f"{name}: {moment}": size for (name, moment), size in run.sizes.items()},
        runs=run.records,
    )
    print(f"\nMedians of {rounds} rounds. Memory: the processes of one run together.\n")
    print(report.costs_table(run.costs, names, OPERATIONS), end="\n\n")
    print(report.sizes_table(run.sizes, names), end="\n\n")
    print(report.costs_table(run.costs, [LIMIT], list(limits)), end="\n\n")
    print(report.goals_table(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--scales", help="such as 1,3,10: our growth with the number of files, nothing else")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, default=CHANGES, help="rounds of 1 %% change for the size")
    parser.add_argument("--tools", help="only these, with commas")
    parser.add_argument("--encrypted", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/continuity-bench"))
    parser.add_argument("--result", type=Path, help="write every figure as JSON to this file too")
    arguments = parser.parse_args()
    wanted = repository_tools.compared(arguments.encrypted)
    if arguments.tools or arguments.scales:
        chosen = (arguments.tools or report.OURS).split(",")
        wanted = [tool for tool in wanted if tool.name in chosen]
    tools = [tool for tool in wanted if tool.installed()]
    document: dict[str, object] = {"machine": machine(), "encrypted": arguments.encrypted}
    document["versions"] = {tool.name: tool.says() for tool in tools}
    print(json.dumps({**document, "not installed": [tool.name for tool in wanted if tool not in tools]}, indent=1))
    begun = time.monotonic()
    if arguments.scales:
        grown: dict[float, report.Costs] = {}
        for scale in map(float, arguments.scales.split(",")):
            run = Run(arguments.folder, tools)
            for turn in range(arguments.rounds):
                run.round(turn, scale * arguments.scale, scale * arguments.scale * BULK, 0)
            grown[scale] = run.costs
            document[f"runs at {scale:g}"] = run.records
        for tool in tools:
            print(f"\n{report.growth_table(grown, OPERATIONS, tool.name)}")
    else:
        run = Run(arguments.folder, tools)
        for turn in range(arguments.rounds):
            run.round(turn, arguments.scale, arguments.scale, arguments.changes if turn == 0 else 0)
        summary(run, document, arguments.rounds)
    print(f"\n{time.monotonic() - begun:.0f} s in all; load now {os.getloadavg()[0]:.1f}")
    if arguments.result:
        arguments.result.write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
